// SPDX-License-Identifier: GPL-2.0
#include "cli/version.h"

namespace pathtrace {

const char* version() { return PATHTRACE_VERSION; }

}  // namespace pathtrace
