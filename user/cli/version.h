// SPDX-License-Identifier: GPL-2.0
#pragma once

namespace pathtrace {

// "0.1.0", from CMakeLists.txt.
const char* version();

}  // namespace pathtrace
