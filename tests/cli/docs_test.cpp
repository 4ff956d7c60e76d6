// SPDX-License-Identifier: GPL-2.0
// The man page and the completion know the options that the program knows, and no others.
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "cli/options.h"

namespace pathtrace {
namespace {

std::string content(const std::string& name) {
  std::ifstream in(std::string(SOURCE_ROOT) + "/docs/" + name);
  EXPECT_TRUE(in) << name;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::set<std::string> known() {
  std::set<std::string> out;
  for (const auto name : option_names()) out.emplace(name);
  return out;
}

// The words of `text` that are options.
std::set<std::string> options_in(const std::string& text) {
  static const std::regex option("(^|[\\s,|'\"])(--?[A-Za-z0-9][A-Za-z0-9-]*)");
  std::set<std::string> out;
  for (auto found = std::sregex_iterator(text.begin(), text.end(), option); found != std::sregex_iterator();
       ++found)
    out.insert((*found)[2]);
  return out;
}

TEST(Docs, TheManPageHasEveryOptionAndNoOther) {
  std::istringstream page(content("pathtrace.1"));
  // The lines that introduce an option, after .TP.
  std::set<std::string> documented;
  bool introduces = false;
  for (std::string line; std::getline(page, line);) {
    if (introduces) {
      std::string plain;
      for (const char c : line)
        if (c != '\\') plain += c;
      documented.merge(options_in(plain));
    }
    introduces = line == ".TP";
  }
  EXPECT_EQ(documented, known());
}

TEST(Docs, TheManPageHasEveryExitStatus) {
  const std::string page = content("pathtrace.1");
  const std::string statuses = page.substr(page.find(".SH EXIT STATUS"), page.find(".SH ENVIRONMENT"));
  for (int i = 0; i <= static_cast<int>(ExitStatus::command_failed); ++i)
    EXPECT_NE(statuses.find("\n.B " + std::to_string(i) + "\n"), std::string::npos) << i;
}

TEST(Docs, TheCompletionOffersEveryOptionAndNoOther) {
  const std::string script = content("completions/pathtrace.bash");
  const std::size_t offered = script.rfind("compgen -W");
  const std::string list =
      script.substr(script.find('\'', offered), script.find("' --", offered) - script.find('\'', offered));
  EXPECT_EQ(options_in(list), known());
}

}  // namespace
}  // namespace pathtrace
