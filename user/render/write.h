// SPDX-License-Identifier: GPL-2.0
// Writing to a stream, with the errors a Sink promises.
#pragma once

#include <cstdio>
#include <string>

#include "support/result.h"

namespace pathtrace {

// ExitStatus::output_failed with the system's reason; EPIPE, the reader having gone away, is
// ExitStatus::success: nothing is wrong, and nothing more is to be done. SIGPIPE must be ignored.
Result<void> write_text(std::FILE* out, const std::string& text);
Result<void> flush_text(std::FILE* out);

}  // namespace pathtrace
