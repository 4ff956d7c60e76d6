// SPDX-License-Identifier: GPL-2.0
#include "render/json_writer.h"

#include <algorithm>

#include "render/utf8.h"

namespace pathtrace {
namespace {

constexpr char hex_digits[] = "0123456789abcdef";

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\';
}

void append_escaped(std::string& out, char32_t code) {
  switch (code) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4) out += hex_digits[code >> shift & 15];
  }
}

// JSON leaves DEL, C1 and bidi controls as they are, but a terminal acts upon them; \uNNNN means the same.
void append_rest(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = first_char(text);
    if (c.length == 0) {
      const auto byte = static_cast<unsigned char>(text[0]);
      out += "\\\\x";
      out += hex_digits[byte >> 4];
      out += hex_digits[byte & 15];
    } else if (is_control(c.code) || c.code == '"' || c.code == '\\') {
      append_escaped(out, c.code);
    } else {
      out += text.substr(0, c.length);
    }
    text.remove_prefix(c.length == 0 ? 1 : c.length);
  }
}

}  // namespace

void JsonWriter::text(std::string_view value) {
  separate();
  out_ += '"';
  const auto special = std::find_if_not(value.begin(), value.end(), is_plain);
  out_.append(value.begin(), special);
  append_rest(out_, value.substr(static_cast<std::size_t>(special - value.begin())));
  out_ += '"';
}

}  // namespace pathtrace
