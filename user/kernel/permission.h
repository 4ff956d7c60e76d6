// SPDX-License-Identifier: GPL-2.0
// May this process trace, and if not, what exactly is missing.
#pragma once

#include "support/result.h"

namespace pathtrace {

// ExitStatus::no_permission names the capability that is missing and how to get it.
Result<void> check_permission();

}  // namespace pathtrace
