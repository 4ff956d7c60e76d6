// SPDX-License-Identifier: GPL-2.0
// Walk events → rules. Keeps snapshots of the rulesets by namespace, table and generation,
// read-only, and never uses one for a table that has changed since.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel/generations.h"
#include "kernel/table_indexes.h"
#include "pathtrace/event.h"
#include "ruleset/nft_walk.h"
#include "ruleset/trace_rules.h"
#include "timeline/observation.h"

namespace pathtrace {

class Resolver {
 public:
  // `indexes`, if any, gets one of each large legacy table, once it is known which table of the kernel it is.
  explicit Resolver(Generations& generations, TableIndexes* indexes = nullptr);
  ~Resolver();
  Resolver(Resolver&&) noexcept;
  Resolver& operator=(Resolver&&) noexcept;

  // Reads the rulesets of every namespace now, and forgets what was read before, so that a rule removed later
  // can still be named. Failures are not errors: a ruleset that can't be read is read when needed. To be
  // called once `generations` counts, not before: a change that nobody counted would make
  // what was read pass for what packets go through.
  void preload();

  // The rules a packet matched, checked before they are believed: for legacy tables the
  // matched set must be a legal walk from the hook's entry that ends in the verdict the
  // function returned. What can't be tied to a rule for certain names no rule and says why
  // in Step::missing.
  [[nodiscard]] WalkObservation resolve(const pt_legacy_walk& walk);
  [[nodiscard]] WalkObservation resolve(const pt_nft_walk& walk);

  // What of nftables is watched without the trace key; asked for by every walk seen that way.
  void set_watched(nft::Watched watched);

  // Whether the kernel may have left out a program at some time: asked where what was not seen is evidence.
  void set_left_out(nft::LeftOut left_out);

  // Which backends were seen in use in any namespace by preload() (for the readiness notice).
  [[nodiscard]] std::vector<Backend> backends() const;

  // The rules that make the kernel trace packets, in the last reading of every ruleset that was read so far.
  // Cheap to ask for again: a list is made only after something was read.
  [[nodiscard]] const std::vector<TraceRule>& trace_rules();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pathtrace
