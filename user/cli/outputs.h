// SPDX-License-Identifier: GPL-2.0
// All that a run writes its records to.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "render/output.h"

namespace pathtrace {

// An output whose reader has gone away (EPIPE) is left out from then on, and `say` is told in words; the
// others go on. Fails with ExitStatus::success when none is left, at once with another error of any.
class Outputs final : public Sink {
 public:
  using Say = std::function<void(const std::string&)>;

  // `sinks`: each with its name in such a message.
  Outputs(std::vector<std::pair<std::string, std::unique_ptr<Sink>>> sinks, Say say)
      : sinks_(std::move(sinks)), say_(std::move(say)) {}

  Result<void> write(const Record& record) override {
    return each([&record](Sink& sink) { return sink.write(record); });
  }
  Result<void> flush() override {
    return each([](Sink& sink) { return sink.flush(); });
  }
  Result<void> finish() override {
    return each([](Sink& sink) { return sink.finish(); });
  }

 private:
  Result<void> each(const std::function<Result<void>(Sink&)>& act);

  std::vector<std::pair<std::string, std::unique_ptr<Sink>>> sinks_;
  Say say_;
};

}  // namespace pathtrace
