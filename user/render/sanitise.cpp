// SPDX-License-Identifier: GPL-2.0
// The boundary between what a host can name and what a terminal acts upon. An interface, a rule
// comment or a process may be named by somebody else than the reader: "\e]52;c;…" in a comment must
// be seen, never obeyed. The result is stable: sanitising it again changes nothing, which is why a
// replayed capture shows what the live view showed.
#include <algorithm>

#include "render/output.h"
#include "render/utf8.h"

namespace pathtrace {
namespace {

struct Range {
  char32_t first, last;
};
// By length of the sequence: the code points that need that many bytes.
constexpr Range by_length[] = {{0, 0}, {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xffff}, {0x10000, 0x10ffff}};

std::size_t sequence_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if ((lead & 0xe0) == 0xc0) return 2;
  if ((lead & 0xf0) == 0xe0) return 3;
  if ((lead & 0xf8) == 0xf0) return 4;
  return 0;
}

void append_bytes(std::string& out, std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += "\\x";
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
}

// Most text of most hosts.
bool is_printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

std::string escape(std::string_view text, bool controls_too) {
  if (is_printable_ascii(text)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = first_char(text);
    const std::string_view bytes = text.substr(0, c.length == 0 ? 1 : c.length);
    if (c.length == 0 || (controls_too && is_control(c.code)))
      append_bytes(out, bytes);
    else
      out += bytes;
    text.remove_prefix(bytes.size());
  }
  return out;
}

}  // namespace

Utf8Char first_char(std::string_view text) {
  if (text.empty()) return {};
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = sequence_length(lead);
  if (length == 1) return {lead, 1};
  if (length == 0 || text.size() < length) return {};
  char32_t code = lead & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xc0) != 0x80) return {};
    code = code << 6 | (byte & 0x3fU);
  }
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (surrogate || code < by_length[length].first || code > by_length[length].last) return {};
  return {code, length};
}

bool is_control(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0x202a && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

std::string escape_invalid(std::string_view text) { return escape(text, false); }

std::string sanitise(const std::string& text) { return escape(text, true); }

std::size_t columns(std::string_view text) {
  if (is_printable_ascii(text)) return text.size();
  std::size_t count = 0;
  while (!text.empty()) {
    const Utf8Char c = first_char(text);
    text.remove_prefix(c.length == 0 ? 1 : c.length);
    ++count;
  }
  return count;
}

}  // namespace pathtrace
