// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include "random_record.h"
#include "render/output.h"
#include "render/utf8.h"

namespace pathtrace {
namespace {

struct Case {
  const char* name;
  std::string raw, shown;
};

const Case cases[] = {
    {"plain", "nginx: worker", "nginx: worker"},
    {"empty", "", ""},
    {"nul", std::string("a\0b", 3), "a\\x00b"},
    {"colour", "\x1b[31mred", "\\x1b[31mred"},
    {"clipboard", "\x1b]52;c;cm0=\x07", "\\x1b]52;c;cm0=\\x07"},
    {"carriage return", "good\rbad", "good\\x0dbad"},
    {"newline and tab", "a\n\tb", "a\\x0a\\x09b"},
    {"delete", "\x7f", "\\x7f"},
    {"C1 CSI", "\xc2\x9b\x33\x31m", "\\xc2\\x9b31m"},
    {"C1 first and last", "\xc2\x80\xc2\x9f\xc2\xa0", "\\xc2\\x80\\xc2\\x9f\xc2\xa0"},
    {"bidi override", "\xe2\x80\xae\x74xt", "\\xe2\\x80\\xaetxt"},
    {"bidi embedding, first", "\xe2\x80\xaa", "\\xe2\\x80\\xaa"},
    {"bidi isolates", "\xe2\x81\xa6\xe2\x81\xa9", "\\xe2\\x81\\xa6\\xe2\\x81\\xa9"},
    {"next to bidi", "\xe2\x80\xa9\xe2\x81\xa5\xe2\x81\xaa", "\xe2\x80\xa9\xe2\x81\xa5\xe2\x81\xaa"},
    {"lone byte", "\xff\xfe", "\\xff\\xfe"},
    {"lone continuation", "a\x80z", "a\\x80z"},
    {"cut off", "\xe2\x86", "\\xe2\\x86"},
    {"overlong slash", "\xc0\xaf", "\\xc0\\xaf"},
    {"overlong escape", "\xc0\x9b[31m", "\\xc0\\x9b[31m"},
    {"overlong, three bytes", "\xe0\x80\x9b", "\\xe0\\x80\\x9b"},
    {"surrogate", "\xed\xa0\x80", "\\xed\\xa0\\x80"},
    {"above U+10FFFF", "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
    {"UTF-8 stays", "é→日本\xf0\x9f\x94\xa5", "é→日本\xf0\x9f\x94\xa5"},
    {"backslash stays", "\\x1b", "\\x1b"},
};

TEST(Sanitise, Table) {
  for (const auto& c : cases) EXPECT_EQ(sanitise(c.raw), c.shown) << c.name;
}

TEST(Sanitise, NoControlIsLeftAndASecondTimeChangesNothing) {
  test::RandomRecord random(5);
  for (int i = 0; i < 20000; ++i) {
    std::string raw;
    for (std::size_t n = random.below(40); n > 0; --n) raw += static_cast<char>(random.below(256));
    const std::string shown = sanitise(raw);
    EXPECT_EQ(sanitise(shown), shown);
    for (std::string_view rest = shown; !rest.empty();) {
      const Utf8Char c = first_char(rest);
      ASSERT_GT(c.length, 0U);
      ASSERT_FALSE(is_control(c.code));
      rest.remove_prefix(c.length);
    }
    // What a capture keeps of a name reads the same on a terminal as the name itself.
    EXPECT_EQ(sanitise(escape_invalid(raw)), shown);
  }
}

TEST(Sanitise, Columns) {
  EXPECT_EQ(columns("→ web"), 5U);
  EXPECT_EQ(columns(""), 0U);
}

}  // namespace
}  // namespace pathtrace
