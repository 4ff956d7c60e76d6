// SPDX-License-Identifier: GPL-2.0
// Quoting as xtables_save_string() of iptables does it: a string with anything but letters,
// digits, '_' and '-' stands in double quotes, with a backslash before '"', '\' and '\''.
#include "ruleset/save_text.h"

namespace pathtrace {
namespace {

// Takes one line off `text`; a line end within double quotes does not end it.
std::string_view take_line(std::string_view& text) {
  bool quoted = false;
  std::size_t i = 0;
  for (; i < text.size(); ++i) {
    if (quoted && text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      quoted = !quoted;
    else if (text[i] == '\n' && !quoted)
      break;
  }
  const std::string_view line = text.substr(0, i);
  text.remove_prefix(i < text.size() ? i + 1 : text.size());
  return line;
}

// "-A CHAIN rest"
void add_rule(SavedTable& table, std::string_view line) {
  line.remove_prefix(3);
  const std::size_t space = line.find(' ');
  const std::string_view chain = line.substr(0, space);
  std::string_view rule = space == std::string_view::npos ? std::string_view{} : line.substr(space + 1);
  while (!rule.empty() && rule.back() == ' ') rule.remove_suffix(1);
  table.rules[std::string(chain)].emplace_back(rule);
}

}  // namespace

std::optional<SavedTable> parse_save(std::string_view text, std::string_view name) {
  SavedTable table;
  bool inside = false;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (line.starts_with('*')) {
      inside = line.substr(1) == name;
    } else if (!inside) {
      continue;
    } else if (line == "COMMIT" || line.starts_with("# Completed")) {  // arptables-nft-save has no COMMIT
      return table;
    } else if (line.starts_with(':')) {
      table.rules[std::string(line.substr(1, line.find(' ') - 1))];
    } else if (line.starts_with("-A ")) {
      add_rule(table, line);
    }
  }
  return std::nullopt;
}

std::vector<SavedWord> split_rule(std::string_view rule) {
  std::vector<SavedWord> words;
  bool quoted = false;
  bool in_word = false;
  for (std::size_t i = 0; i < rule.size(); ++i) {
    const char c = rule[i];
    if (c == ' ' && !quoted) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    SavedWord& word = words.back();
    if (c == '"') {
      quoted = !quoted;
      word.quoted = true;
    } else if (quoted && c == '\\' && i + 1 < rule.size()) {
      word.text += rule[++i];
    } else {
      word.text += c;
    }
  }
  return words;
}

namespace {

std::optional<std::string> argument(std::string_view rule, std::string_view option, std::string_view other) {
  std::optional<std::string> found;
  const std::vector<SavedWord> words = split_rule(rule);
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    if (!words[i].quoted && (words[i].text == option || words[i].text == other)) found = words[i + 1].text;
  return found;
}

}  // namespace

std::optional<std::string> saved_target(std::string_view rule) { return argument(rule, "-j", "-g"); }
std::optional<std::string> saved_comment(std::string_view rule) {
  return argument(rule, "--comment", "--comment");
}

}  // namespace pathtrace
