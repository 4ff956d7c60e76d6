// SPDX-License-Identifier: GPL-2.0
// SIGINT, SIGTERM and, unless it was ignored, SIGHUP: the first asks for a clean end, a second one ends the
// process at once, wherever it is (in a write to a pipe that nobody reads, while programs are attached).
#pragma once

#include <array>
#include <csignal>

#include "support/fd.h"
#include "support/result.h"

namespace pathtrace {

// At most one at a time.
class StopSignals {
 public:
  static Result<StopSignals> take();
  StopSignals(StopSignals&&) noexcept = default;
  StopSignals& operator=(StopSignals&&) = delete;
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals();  // what the signals did before

  // Readable once an end was asked for.
  [[nodiscard]] int fd() const { return asked_.get(); }

 private:
  explicit StopSignals(Fd asked) : asked_(std::move(asked)) {}
  Fd asked_;
  std::array<struct sigaction, 3> before_{};
};

}  // namespace pathtrace
