// SPDX-License-Identifier: GPL-2.0
// The capture file: the JSON Lines stream itself.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "render/output.h"
#include "support/result.h"

namespace pathtrace {

// Creates `path` ("-" = stdout); refuses to follow a symlink in a world-writable sticky
// directory is the kernel's matter. ExitStatus::output_failed with the reason if it can't.
Result<std::unique_ptr<Sink>> create_capture(const std::string& path);

// Reads `path` ("-" = stdin) record by record. The last line of a capture that was cut off (kill,
// full disk) is reported in `truncated`, not as an error. ExitStatus::input_failed names file and line.
struct ReplayResult {
  bool truncated = false;
  bool has_end = false;
};
Result<ReplayResult> replay(const std::string& path, const std::function<Result<void>(const Record&)>& take);

}  // namespace pathtrace
