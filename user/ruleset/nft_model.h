// SPDX-License-Identifier: GPL-2.0
// The nftables ruleset of one network namespace as rules in chains in tables, each by its
// handle. Pure data.
//
// Handles: a table's is unique in its namespace, a chain's or rule's in its table (one
// counter, nf_tables_alloc_handle()). None is ever given out twice, and a replaced rule gets
// a new one: a handle that is found names the very rule it named before.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ruleset/nft_elements.h"
#include "timeline/words.h"

namespace pathtrace::nft {

struct Rule {
  std::uint64_t handle = 0;
  int number = 0;  // from 1 in its chain
  std::optional<std::string> text;
  std::optional<std::string> comment;

  // From its expressions.
  std::optional<std::string> target;   // an xtables target: "REJECT", "LOG", ...
  std::optional<std::string> verdict;  // of its `immediate`: "ACCEPT", "DROP", "RETURN", or a chain's name
  std::vector<std::string> ends;       // expressions that may end a walk or lead it elsewhere
  std::vector<Lookup> lookups;         // a packet that matches has found an element by each
  std::vector<std::string> updates;    // sets that it adds to or takes from
  bool changes_looked_up = false;      // writes into an address or port
  bool rejects = false;                // its last expression rejects, and no other can end the walk
  bool compat = false;                 // has an xtables match or target (module nft_compat)
  bool iptables_like = false;          // only expressions that iptables-nft writes, its counter among them
};

struct Hooked {
  std::uint32_t number = 0;  // NF_INET_*, NF_ARP_* or NF_NETDEV_*
  std::int32_t priority = 0;
  std::string type;                     // "filter", "nat", "route"
  std::optional<std::uint32_t> policy;  // NF_ACCEPT or NF_DROP

  bool operator==(const Hooked&) const = default;
};

struct Chain {
  std::uint64_t handle = 0;
  std::string name;
  std::optional<Hooked> hook;  // of a base chain
  std::vector<Rule> rules;

  [[nodiscard]] const Rule* find(std::uint64_t rule) const;
};

struct Table {
  std::uint64_t handle = 0;
  Family family = Family::ip;
  std::string name;
  Backend backend = Backend::nftables;
  std::vector<Chain> chains;
  std::vector<Set> sets;  // those whose element may be told

  [[nodiscard]] const Chain* find(std::uint64_t chain) const;
  [[nodiscard]] const Set* find_set(const std::string& set) const;
};

// The analyzer does not see into the std::variant of a Result.
struct Ruleset {         // NOLINT(clang-analyzer-core.uninitialized.Assign)
  std::uint32_t id = 0;  // NFTA_GEN_ID
  std::vector<Table> tables;

  [[nodiscard]] const Table* find(std::uint64_t table) const;
};

// iptables_nft or nftables. iptables-nft is taken as the maker of a table if iptables-nft
// itself would take it for its own (nft_is_table_compatible() of iptables):
//   - family ip or ip6, name raw, mangle, nat, filter or security; family arp, name filter;
//   - every base chain has the name, type, hook and priority that iptables gives it;
//   - every rule consists of expressions that iptables-nft writes, with its counter.
Backend maker(const Table& table);

// The hook as the output contract names it, by family.
std::optional<Hook> hook_word(Family family, std::uint32_t hook);
// NFPROTO_* → Family.
std::optional<Family> family_of(std::uint32_t nfproto);

}  // namespace pathtrace::nft
