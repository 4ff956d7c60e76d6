// SPDX-License-Identifier: GPL-2.0
#include "cli/outputs.h"

namespace pathtrace {

Result<void> Outputs::each(const std::function<Result<void>(Sink&)>& act) {
  for (auto sink = sinks_.begin(); sink != sinks_.end();) {
    auto result = act(*sink->second);
    if (result) {
      ++sink;
      continue;
    }
    if (result.error().status != ExitStatus::success || sinks_.size() == 1) return result;
    const std::string name = sink->first;
    sink = sinks_.erase(sink);
    say_("the reader of " + name + " has gone away; " + sinks_.front().first + " goes on");
  }
  return {};
}

}  // namespace pathtrace
