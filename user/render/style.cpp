// SPDX-License-Identifier: GPL-2.0
#include "render/style.h"

#include <algorithm>

#include "render/utf8.h"

namespace pathtrace {
namespace {

const char* code(Tone tone) {
  switch (tone) {
    case Tone::good:
      return "\x1b[32m";
    case Tone::bad:
      return "\x1b[31m";
    case Tone::open:
      return "\x1b[33m";
    case Tone::plain:
      break;
  }
  return "";
}

}  // namespace

std::string Style::paint(const std::string& text, Tone tone) const {
  if (!options_.color || tone == Tone::plain || text.empty()) return text;
  return code(tone) + text + "\x1b[0m";
}

std::string Style::shorten(const std::string& text, std::size_t width) const {
  if (columns(text) <= width) return text;
  const std::string ellipsis = options_.utf8 ? "…" : "...";
  const std::size_t room = width - std::min(width, columns(ellipsis));
  std::string_view rest = text;
  for (std::size_t i = 0; i < room; ++i)
    rest.remove_prefix(std::max<std::size_t>(first_char(rest).length, 1));
  return text.substr(0, text.size() - rest.size()) + ellipsis;
}

std::string pad(const std::string& text, std::size_t width) {
  return text + std::string(width - std::min(width, columns(text)), ' ');
}

}  // namespace pathtrace
