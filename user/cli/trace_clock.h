// SPDX-License-Identifier: GPL-2.0
// The one clock of a trace. It runs as that of the kernel's events does (CLOCK_MONOTONIC, which nobody sets
// and which stands still during a suspend) and tells the time as CLOCK_REALTIME did when the trace began: if
// it is set meanwhile, no deadline comes too early.
#pragma once

#include <cstdint>
#include <ctime>

namespace pathtrace {

class TraceClock {
 public:
  TraceClock() : offset_ns_(read(CLOCK_REALTIME) - monotonic_ns()) {}

  [[nodiscard]] std::int64_t now_ns() const { return monotonic_ns() + offset_ns_; }
  // What to add to the time of an event.
  [[nodiscard]] std::int64_t offset_ns() const { return offset_ns_; }
  [[nodiscard]] static std::int64_t monotonic_ns() { return read(CLOCK_MONOTONIC); }

 private:
  static std::int64_t read(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
  }
  std::int64_t offset_ns_;
};

}  // namespace pathtrace
