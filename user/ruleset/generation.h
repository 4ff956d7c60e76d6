// SPDX-License-Identifier: GPL-2.0
// When a ruleset was read, and whether it is the one a walk went through. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "pathtrace/event.h"

namespace pathtrace {

// The time a reading took, CLOCK_MONOTONIC nanoseconds, and the number of changes before it
// if it was the same after it. (Of a legacy table read before its first walk the counter's
// key, struct xt_table *, is not known: then there is no number.)
struct ReadTime {
  std::uint64_t begin_ns = 0;
  std::uint64_t end_ns = 0;
  std::optional<std::uint32_t> number;
};

constexpr std::uint64_t kChanging = ~std::uint64_t{0};

// Nobody counts changes (the probe could not be attached): the counter says "changing", and
// never was anything else.
inline bool uncounted(const pt_generation& now) { return now.changed_ns == kChanging && now.number == 0; }

// Up to its first rule that matches, also where ten thousand don't. (A task that is held up for longer before
// that rule, by others or as its virtual CPU is not running, can't be told.)
constexpr std::uint64_t kLongestToFirstMatch = 30'000'000;

// The trace key tells of an nftables walk, and of its generation, with its first rule that matches. A change
// that was over shortly before may have come when the walk was on its way there already.
inline bool may_be_older(std::uint64_t first_match_ns, const pt_generation& walk) {
  return walk.changed_ns != 0 && walk.changed_ns != kChanging &&
         first_match_ns < walk.changed_ns + kLongestToFirstMatch;
}

// Whether what was read at `read` is what a walk that began at `walk_ns` in generation `walk`
// went through. `now` is the generation at this moment.
inline bool is_tied(const ReadTime& read, std::uint64_t walk_ns, const pt_generation& walk,
                    const pt_generation& now) {
  if (uncounted(now) || walk.changed_ns == kChanging) return false;
  // The last change the walk knows of was not over when the reading began.
  if (walk.changed_ns >= read.begin_ns) return false;
  if (read.number && *read.number != walk.number) return false;
  // Read before the walk: no change in between, or the walk would know of it.
  if (read.end_ns <= walk_ns) return true;
  // Read after it: there must have been no change up to the end of the reading.
  if (read.number) return true;
  return now.changed_ns != kChanging && now.number == walk.number;
}

}  // namespace pathtrace
