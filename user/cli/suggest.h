// SPDX-License-Identifier: GPL-2.0
// "Did you mean": the known option nearest to an unknown one.
#pragma once

#include <optional>
#include <string>

namespace pathtrace {

std::optional<std::string> nearest_option(const std::string& unknown);

}  // namespace pathtrace
