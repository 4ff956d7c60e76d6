// SPDX-License-Identifier: GPL-2.0
// Puts observations back in the order in which things happened. Each CPU's events arrive in
// order of their end, so a walk arrives after what happened inside it, and the CPUs' streams
// are interleaved as the reader finds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "timeline/observation.h"

namespace pathtrace {

class ReorderBuffer {
 public:
  void push(Observation observation);
  // The earliest observation, if it is earlier than `before_ns`. Equal times come in an order that
  // depends on their contents, not on their arrival.
  std::optional<Observation> pop(std::int64_t before_ns);
  [[nodiscard]] std::int64_t newest_ns() const { return newest_ns_; }
  [[nodiscard]] std::optional<std::int64_t> earliest_ns() const;

 private:
  // Observations are large: they lie still, and what is sorted is where they are.
  struct Entry {
    std::int64_t ts_ns;
    std::size_t place;  // in waiting_
  };
  [[nodiscard]] bool comes_later(const Entry& a, const Entry& b) const;

  std::vector<Entry> heap_;
  std::deque<Observation> waiting_;
  std::vector<std::size_t> free_;  // places in waiting_
  std::int64_t newest_ns_ = INT64_MIN;
};

}  // namespace pathtrace
