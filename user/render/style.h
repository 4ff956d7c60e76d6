// SPDX-License-Identifier: GPL-2.0
// How the text view looks: colours and the few signs that plain ASCII lacks.
#pragma once

#include <string>
#include <string_view>

#include "render/output.h"

namespace pathtrace {

enum class Tone { plain, good, bad, open };

class Style {
 public:
  explicit Style(TextOptions options) : options_(options) {}

  [[nodiscard]] std::string paint(const std::string& text, Tone tone) const;
  [[nodiscard]] std::string arrow() const { return options_.utf8 ? "→" : "->"; }
  // `text`, cut to `width` columns with an ellipsis where it is longer.
  [[nodiscard]] std::string shorten(const std::string& text, std::size_t width) const;
  [[nodiscard]] int width() const { return options_.width; }

 private:
  TextOptions options_;
};

// `text` and as many blanks as it lacks to `width` columns.
std::string pad(const std::string& text, std::size_t width);

}  // namespace pathtrace
