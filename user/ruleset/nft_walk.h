// SPDX-License-Identifier: GPL-2.0
// From the records of an nftables traversal to the rules the packet matched. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pathtrace/event.h"
#include "ruleset/nft_model.h"
#include "timeline/observation.h"

namespace pathtrace::nft {

// Expressions whose verdicts are watched without the trace key ("immediate", "reject inet"), and since when,
// in CLOCK_MONOTONIC nanoseconds.
using Watched = std::map<std::string, std::uint64_t, std::less<>>;

// Whether the kernel may have left out one of the programs in [begin_ns, end_ns] of CLOCK_MONOTONIC.
using LeftOut = std::function<bool(std::uint64_t begin_ns, std::uint64_t end_ns)>;

struct Evidence {
  // The ruleset the walk ran through, if it is known to be that one: then rules have
  // numbers.
  const Ruleset* tied = nullptr;
  // Rulesets of the same namespace from other times, newest first: handles are never given
  // out twice, so a rule found in one is that rule, though its number may have been another.
  std::vector<const Ruleset*> others;
  const Watched* watched = nullptr;
  const LeftOut* left_out = nullptr;
  // Where a change came so shortly before the walk that it may have gone through the ruleset before: that
  // one, if it is known. What both have under one number has that number.
  bool just_changed = false;
  const Ruleset* before = nullptr;
  bool read_since = false;  // one of them was read after the walk
  std::string failure;      // why the last reading failed, if it did
};

// `walk` must be whole in memory, its n_records records behind it.
WalkObservation observe(const pt_nft_walk& walk, const Evidence& evidence);

// What keeps a walk from being conclusive, in words; "" if nothing does.
std::string doubt_words(std::uint32_t doubt);

}  // namespace pathtrace::nft
