// SPDX-License-Identifier: GPL-2.0
#include "cli/suggest.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/options.h"

namespace pathtrace {
namespace {

// What iptables and tcpdump call it.
constexpr std::pair<std::string_view, std::string_view> other_words[] = {
    {"--source", "--src"},
    {"--destination", "--dst"},
    {"--source-port", "--sport"},
    {"--destination-port", "--dport"},
    {"--in-interface", "--interface"},
    {"--out-interface", "--interface"},
    {"-o", "--interface"},
    {"--timeout", "--duration"},
    {"--output", "--write"},
    {"--namespace", "--netns"},
    {"--replay", "--read"},
    {"--no-nft", "--no-trace-key"},
};

// Edits (insert, delete, replace, swap two neighbours) from one word to the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const std::size_t replace = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::optional<std::string> nearest_option(const std::string& unknown) {
  for (const auto& [theirs, ours] : other_words)
    if (unknown == theirs) return std::string(ours);
  if (unknown.size() < 4 || !unknown.starts_with("--")) return std::nullopt;
  std::optional<std::string> best;
  std::size_t best_distance = std::min<std::size_t>(3, unknown.size() - 3);  // farther is no typing error
  for (const std::string_view name : option_names()) {
    if (!name.starts_with("--")) continue;
    if (name.starts_with(unknown) || unknown.starts_with(name)) return std::string(name);
    const std::size_t edits = distance(unknown, name);
    if (edits < best_distance) {
      best = std::string(name);
      best_distance = edits;
    }
  }
  return best;
}

}  // namespace pathtrace
