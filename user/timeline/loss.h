// SPDX-License-Identifier: GPL-2.0
// Events that were lost: how many of which kind, for the stream, and when, for the connections that may lack
// them. Pure, like the timeline.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "pathtrace/event.h"
#include "timeline/model.h"

namespace pathtrace {

// Events lost since the start, by kind (enum pt_event_kind); [0]: those that came but could not be read.
using LostCounts = std::array<std::uint64_t, PT_LOST_KINDS>;

class LossLog {
 public:
  LossLog() = default;
  // Nothing was lost before `start_ns`.
  explicit LossLog(std::int64_t start_ns) : looked_ns_(start_ns) {}

  // The counts as they were read in [begin_ns, end_ns]: a record for every kind of which some were lost since
  // they were read before.
  std::vector<LostRecord> note(const LostCounts& counts, std::int64_t begin_ns, std::int64_t end_ns);
  // How many may have been lost in [from_ns, to_ns]: all that were noticed to be lost in a time that
  // overlaps.
  [[nodiscard]] std::uint64_t within(std::int64_t from_ns, std::int64_t to_ns) const;
  // Since the start.
  [[nodiscard]] std::uint64_t total() const;

 private:
  struct Interval {
    std::int64_t since_ns = 0;
    std::int64_t until_ns = 0;
    std::uint64_t count = 0;
  };
  void remember(const Interval& loss);

  LostCounts noted_{};
  std::int64_t looked_ns_ = 0;      // when they were read last
  std::deque<Interval> intervals_;  // in order of time
};

}  // namespace pathtrace
