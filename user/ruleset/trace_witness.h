// SPDX-License-Identifier: GPL-2.0
// The kernel's own iptables TRACE as a second witness. Where a TRACE rule is active, the kernel reports
// every rule that a marked packet matches by chain and number (trace_packet in ip_tables.c); what the
// counters say is held against that. Two witnesses that disagree name no rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pathtrace/event.h"
#include "ruleset/trace_rules.h"
#include "timeline/observation.h"

namespace pathtrace {

class TraceWitness {
 public:
  // `lost`: whether records may have been lost in [begin_ns, end_ns] of CLOCK_MONOTONIC; asked where some
  // seem to be missing.
  using Lost = std::function<bool(std::uint64_t begin_ns, std::uint64_t end_ns)>;
  explicit TraceWitness(Lost lost = {}) : lost_(std::move(lost)) {}
  void add(const pt_trace_log& record);
  // Compares the kernel's records of this walk, if there are any, with `seen`, and takes the rules out
  // of `seen` where they disagree.
  void check(const pt_legacy_walk& walk, WalkObservation& seen);
  // Tells the user of each of these rules, hit or not, once.
  void warn_of(const std::vector<TraceRule>& rules);
  // What the user should know, each thing once: that a TRACE rule is there, that the kernel mislabels a rule,
  // that TRACE floods the log.
  [[nodiscard]] std::vector<std::string> take_notices();
  [[nodiscard]] std::uint64_t agreed() const { return agreed_; }
  // What came of it all, for the end of the trace; empty where TRACE recorded nothing that was compared.
  [[nodiscard]] std::string conclusion() const;

 private:
  void watch_rate(std::uint64_t ts_ns);
  void tell(std::string text);
  // The same text only once.
  void note(const std::string& text);

  Lost lost_;
  std::uint64_t forgotten_ns_ = 0;    // the newest record that was let go of for want of room
  std::deque<pt_trace_log> records_;  // newest last
  std::uint64_t agreed_ = 0;
  std::uint64_t disagreed_ = 0;
  std::uint64_t second_began_ns_ = 0;
  std::uint64_t in_this_second_ = 0;
  bool flooded_ = false;
  std::vector<TraceRule> present_;        // as it was told last
  std::map<std::string, int> warned_of_;  // how many that are alike but for their number
  std::size_t told_ = 0;
  std::set<std::string> said_;
  std::vector<std::string> notices_;
};

}  // namespace pathtrace
