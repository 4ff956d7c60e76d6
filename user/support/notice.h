// SPDX-License-Identifier: GPL-2.0
// What is said on stderr. It never fails: where stderr is closed or full there is nobody to tell, and
// whatever was going on goes on.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <utility>

namespace pathtrace {

inline void to_stderr(const std::string& text) {
  (void)std::fwrite(text.data(), 1, text.size(), stderr);  // unbuffered: one write(2)
}

// One line, "pathtrace: ...". Foreign strings must have been sanitised.
template <typename... Arguments>
void notice(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  to_stderr("pathtrace: " + fmt::format(format, std::forward<Arguments>(arguments)...) + "\n");
}

}  // namespace pathtrace
