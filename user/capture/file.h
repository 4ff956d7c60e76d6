// SPDX-License-Identifier: GPL-2.0
// The capture file: the JSON Lines stream itself.
#pragma once

#include <cstddef>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "render/output.h"
#include "support/result.h"

namespace pathtrace {

// Creates `path` ("-" = stdout); refuses to follow a symlink in a world-writable sticky
// directory is the kernel's matter. ExitStatus::output_failed with the reason if it can't. Where nothing
// is written to it, an old file stays as it was, and a new one goes with the Sink.
Result<std::unique_ptr<Sink>> create_capture(const std::string& path);

// Reads `path` ("-" = stdin) record by record. That a capture was cut off (kill, full disk) is reported in
// the result, not as an error. ExitStatus::input_failed names file and line.
struct ReplayResult {
  bool has_end = false;
  bool truncated = false;  // within its last line
  std::size_t lines = 0;   // whole ones
};
Result<ReplayResult> replay(const std::string& path, const std::function<Result<void>(const Record&)>& take);

}  // namespace pathtrace
