// SPDX-License-Identifier: GPL-2.0
// The listing, as libnftables 0.9 to 1.1 writes it with handles:
//
//   table ip filter { # handle 1
//   <tab>chain INPUT { # handle 1
//   <tab><tab>type filter hook input priority filter; policy accept;
//   <tab><tab>tcp dport 80 accept comment "web" # handle 5
//   <tab>}
//   }
#include "ruleset/nft_text.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "ruleset/save_text.h"

namespace pathtrace::nft {
namespace {

constexpr std::string_view kHandle = " # handle ";

struct Line {
  std::string_view text;                // without the handle
  std::optional<std::uint64_t> handle;  // of "... # handle N" at its end
};

Line split_handle(std::string_view line) {
  const std::size_t at = line.rfind(kHandle);
  if (at == std::string_view::npos) return {line, std::nullopt};
  const std::string_view digits = line.substr(at + kHandle.size());
  std::uint64_t handle = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), handle);
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty())
    return {line, std::nullopt};
  return {line.substr(0, at), handle};
}

std::string_view next_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

using Listed = std::vector<std::pair<std::uint64_t, std::string>>;  // rule handle, text

// (table handle, chain handle) → its rules
std::map<std::pair<std::uint64_t, std::uint64_t>, Listed> parse(std::string_view listing) {
  std::map<std::pair<std::uint64_t, std::uint64_t>, Listed> chains;
  std::optional<std::uint64_t> table;
  Listed* chain = nullptr;
  std::string rule;  // a rule of several lines, so far
  while (!listing.empty()) {
    const std::string_view raw = next_line(listing);
    const Line line = split_handle(raw);
    if (raw.starts_with("table ")) {
      table = line.handle;
      chain = nullptr;
    } else if (raw.starts_with("\tchain ") && table && line.handle) {
      chain = &chains[{*table, *line.handle}];
      rule.clear();
    } else if (raw == "\t}" || raw == "}") {
      chain = nullptr;
    } else if (chain != nullptr) {
      // The chain's own lines (type, policy, comment) have no handle either; they stand
      // before the rules.
      const std::string_view text =
          line.text.substr(std::min(line.text.find_first_not_of("\t "), line.text.size()));
      if (!rule.empty()) rule += ' ';
      rule += text;
      const bool header = chain->empty() && (text.starts_with("type ") || text.starts_with("policy ") ||
                                             text.starts_with("comment ") || text.starts_with("flags "));
      if (line.handle) chain->emplace_back(*line.handle, rule);
      if (line.handle || header) rule.clear();
    }
  }
  return chains;
}

bool same_handles(const Chain& chain, const Listed& listed) {
  return std::equal(chain.rules.begin(), chain.rules.end(), listed.begin(), listed.end(),
                    [](const Rule& rule, const auto& line) { return rule.handle == line.first; });
}

bool fits(const Chain& chain, const std::vector<std::string>& lines) {
  if (lines.size() != chain.rules.size()) return false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Rule& rule = chain.rules[i];
    if (rule.verdict && saved_target(lines[i]) != rule.verdict) return false;
  }
  return true;
}

}  // namespace

void add_text(Ruleset& ruleset, std::string_view listing) {
  const auto listed = parse(listing);
  for (Table& table : ruleset.tables) {
    for (Chain& chain : table.chains) {
      const auto it = listed.find({table.handle, chain.handle});
      if (it == listed.end() || !same_handles(chain, it->second)) continue;
      for (std::size_t i = 0; i < chain.rules.size(); ++i) chain.rules[i].text = it->second[i].second;
    }
  }
}

bool add_saved_text(Table& table, std::string_view saved) {
  const auto lines = parse_save(saved, table.name);
  if (!lines) return false;
  static const std::vector<std::string> none;
  const auto of = [&](const Chain& chain) -> const std::vector<std::string>& {
    const auto it = lines->rules.find(chain.name);
    return it == lines->rules.end() ? none : it->second;
  };
  if (!std::all_of(table.chains.begin(), table.chains.end(),
                   [&](const Chain& chain) { return fits(chain, of(chain)); }))
    return false;
  for (Chain& chain : table.chains) {
    for (std::size_t i = 0; i < chain.rules.size(); ++i) {
      Rule& rule = chain.rules[i];
      rule.text = of(chain)[i];
      // Some targets are native expressions (NFLOG, newer REJECT): only their text has a name.
      if (!rule.target && !rule.verdict) rule.target = saved_target(*rule.text);
    }
  }
  return true;
}

}  // namespace pathtrace::nft
