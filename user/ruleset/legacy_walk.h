// SPDX-License-Identifier: GPL-2.0
// From "these rules' counters went up" to "this is the way the packet took". The counters
// say which entries matched and how often, not in which order; the order follows from the
// table, as ipt_do_table must have gone through it. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pathtrace/event.h"
#include "ruleset/legacy_blob.h"
#include "timeline/model.h"

namespace pathtrace::legacy {

struct WalkInput {
  std::uint32_t hook = 0;  // as in the table's Info: NF_INET_* or NF_ARP_*
  std::span<const pt_match> matched;
  std::uint32_t verdict = 0;  // as the function returned it
};

enum class WalkEnd {
  verdict,            // the last entry's target ended it
  hotdrop,            // a match of a rule after the last entry dropped the packet
  target_or_hotdrop,  // dropped by the last entry's target, or by a match after it
  stack_overflow,     // the last entry is a jump that found the jump stack full
};

struct WalkEntry {
  std::uint32_t index = 0;
  std::vector<PathElement> path;

  bool operator==(const WalkEntry&) const = default;
};

struct Walk {
  std::vector<WalkEntry> entries;  // in the order in which they matched
  WalkEnd end = WalkEnd::verdict;
  std::string missing;  // why no walk can be named; then `entries` is empty

  [[nodiscard]] bool known() const { return missing.empty(); }
};

// The only walk that explains the counts and the verdict, if there is exactly one.
Walk reconstruct(const Table& table, const WalkInput& input);

// What is known of a target extension by its name.
enum class Ends { never, always, maybe };
Ends target_ends(const std::string& name);

}  // namespace pathtrace::legacy
