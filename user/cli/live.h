// SPDX-License-Identifier: GPL-2.0
// A live trace: kernel → capture → timeline → diagnosis → sinks, until it is told to end.
#pragma once

#include "cli/options.h"
#include "render/output.h"
#include "support/result.h"

namespace pathtrace {

// Blocks. Ends cleanly on SIGINT and SIGTERM (twice: at once), after --count, --duration or the
// command, or when the reader of the output has gone away. Detaches before it returns.
Result<void> trace_live(const Options& options, Sink& output);

}  // namespace pathtrace
