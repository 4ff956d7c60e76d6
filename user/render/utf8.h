// SPDX-License-Identifier: GPL-2.0
// Strict UTF-8, shared by the sanitiser and the JSON writer so that both mean the same by "invalid".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pathtrace {

struct Utf8Char {
  char32_t code = 0;
  std::size_t length = 0;  // bytes; 0 = `text` doesn't begin with a valid sequence
};

// The first character of `text`. Overlong forms, surrogates and what is above U+10FFFF are invalid.
Utf8Char first_char(std::string_view text);

// Controls that a terminal acts upon: C0, DEL, C1, bidi embeddings, overrides and isolates.
bool is_control(char32_t code);

// `text` with each byte that isn't part of valid UTF-8 written as \xNN, all else untouched.
std::string escape_invalid(std::string_view text);

// Columns that sanitised text takes: one a character.
std::size_t columns(std::string_view text);

}  // namespace pathtrace
