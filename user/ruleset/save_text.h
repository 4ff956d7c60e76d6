// SPDX-License-Identifier: GPL-2.0
// What iptables-save and its kin print, taken apart: the rules of each chain in order. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pathtrace {

struct SavedTable {
  // By chain name; each rule without its "-A CHAIN ".
  std::map<std::string, std::vector<std::string>, std::less<>> rules;
};

// The table `name` of a save's output. Quoted strings may hold anything, line ends and
// "-A INPUT" included. nullopt: it isn't there, or not whole (without its end).
std::optional<SavedTable> parse_save(std::string_view text, std::string_view name);

// The words of a rule, quotes and escapes removed. A quoted word is never an option, so that a
// comment can't pass for one.
struct SavedWord {
  std::string text;
  bool quoted = false;
};
std::vector<SavedWord> split_rule(std::string_view rule);

// The argument of the last -j or -g, and of --comment. nullopt: there is none.
std::optional<std::string> saved_target(std::string_view rule);
std::optional<std::string> saved_comment(std::string_view rule);

}  // namespace pathtrace
