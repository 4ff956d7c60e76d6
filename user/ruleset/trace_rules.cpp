// SPDX-License-Identifier: GPL-2.0
#include "ruleset/trace_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string_view>

namespace pathtrace {

namespace {

// A rule's text with what stands in quotes left out: a comment says what it likes.
std::string without_quoted(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted) {
      out += text[i];
    }
  }
  return out;
}

bool traces(const nft::Rule& rule) {
  if (rule.target == "TRACE") return true;
  if (!rule.text) return false;
  const std::string text = without_quoted(*rule.text);
  return text.find("meta nftrace set 1") != std::string::npos || text.ends_with("-j TRACE");
}

// As a shell takes it: names are the host's, and the command is there to be pasted.
std::string shell_word(const std::string& name) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("_-.:+,@%").find(static_cast<char>(c)) != std::string::npos;
  });
  if (plain) return name;
  std::string word = "'";
  for (const char c : name) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

std::string_view tool_of(const TraceRule& rule) {
  const bool legacy = rule.backend == Backend::iptables_legacy;
  if (rule.family == Family::ip6) return legacy ? "ip6tables-legacy" : "ip6tables-nft";
  if (rule.family == Family::arp) return legacy ? "arptables-legacy" : "arptables-nft";
  return legacy ? "iptables-legacy" : "iptables-nft";
}

std::string removal_of(const TraceRule& rule) {
  if (rule.backend != Backend::nftables)
    return fmt::format("{} -t {} -D {} {}", tool_of(rule), shell_word(rule.table), shell_word(rule.chain),
                       rule.number);
  return fmt::format("nft delete rule {} {} {} handle {}", word(rule.family), shell_word(rule.table),
                     shell_word(rule.chain), rule.handle.value_or(0));
}

}  // namespace

std::vector<TraceRule> trace_rules(const legacy::Snapshot& snapshot) {
  const legacy::Table& table = snapshot.table;
  std::vector<TraceRule> rules;
  for (std::size_t i = 0; i < table.entries.size(); ++i) {
    const legacy::Entry& entry = table.entries[i];
    const legacy::Target& target = entry.target;
    if (entry.kind != legacy::EntryKind::rule || target.kind != legacy::TargetKind::extension ||
        target.extension.name != "TRACE")
      continue;
    TraceRule rule;
    rule.backend = Backend::iptables_legacy;
    rule.family = table.family;
    rule.table = table.name;
    rule.chain = table.chain_of(entry).name;
    rule.number = entry.number;
    rule.text = snapshot.text[i];
    rules.push_back(std::move(rule));
  }
  return rules;
}

std::vector<TraceRule> trace_rules(const nft::Ruleset& ruleset) {
  std::vector<TraceRule> rules;
  for (const nft::Table& table : ruleset.tables) {
    for (const nft::Chain& chain : table.chains) {
      for (const nft::Rule& found : chain.rules) {
        if (!traces(found)) continue;
        TraceRule rule;
        rule.backend = table.backend;
        rule.family = table.family;
        rule.table = table.name;
        rule.chain = chain.name;
        rule.number = found.number;
        rule.handle = found.handle;
        rule.text = found.text.value_or("");
        rules.push_back(std::move(rule));
      }
    }
  }
  return rules;
}

std::string warning_of(const TraceRule& rule) {
  const bool legacy = rule.backend == Backend::iptables_legacy;
  const std::string netns =
      rule.netns.name ? *rule.netns.name : fmt::format("with inode {}", rule.netns.inode);
  return fmt::format(
      "a {} rule is active in {}/{} rule {} (network namespace {}, {}): {}; "
      "remove it with {} when no longer wanted",
      rule.backend == Backend::nftables ? "\"meta nftrace set 1\"" : "TRACE", rule.table, rule.chain,
      rule.number, netns, word(rule.backend),
      legacy ? "it logs every packet that it matches" : "the kernel traces every packet that it matches",
      removal_of(rule));
}

}  // namespace pathtrace
