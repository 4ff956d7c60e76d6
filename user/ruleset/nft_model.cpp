// SPDX-License-Identifier: GPL-2.0
#include "ruleset/nft_model.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "ruleset/legacy_blob.h"

namespace pathtrace::nft {
namespace {

struct BuiltinChain {
  std::string_view table;
  std::string_view chain;
  std::string_view type;
  std::uint32_t hook;  // NF_INET_*
  std::int32_t priority;
};

// xtables_ipv4[] of iptables/nft.c.
constexpr auto kIptables = std::to_array<BuiltinChain>({
    {"raw", "PREROUTING", "filter", 0, -300},
    {"raw", "OUTPUT", "filter", 3, -300},
    {"mangle", "PREROUTING", "filter", 0, -150},
    {"mangle", "INPUT", "filter", 1, -150},
    {"mangle", "FORWARD", "filter", 2, -150},
    {"mangle", "OUTPUT", "route", 3, -150},
    {"mangle", "POSTROUTING", "filter", 4, -150},
    {"filter", "INPUT", "filter", 1, 0},
    {"filter", "FORWARD", "filter", 2, 0},
    {"filter", "OUTPUT", "filter", 3, 0},
    {"security", "INPUT", "filter", 1, 150},
    {"security", "FORWARD", "filter", 2, 150},
    {"security", "OUTPUT", "filter", 3, 150},
    {"nat", "PREROUTING", "nat", 0, -100},
    {"nat", "INPUT", "nat", 1, 100},
    {"nat", "OUTPUT", "nat", 3, -100},
    {"nat", "POSTROUTING", "nat", 4, 100},
});

// xtables_arp[]; the hooks are NF_ARP_IN and NF_ARP_OUT.
constexpr auto kArptables = std::to_array<BuiltinChain>({
    {"filter", "INPUT", "filter", 0, 0},
    {"filter", "OUTPUT", "filter", 1, 0},
});

template <std::size_t N>
bool is_table(const std::array<BuiltinChain, N>& chains, const Table& table) {
  return std::any_of(chains.begin(), chains.end(),
                     [&](const BuiltinChain& builtin) { return builtin.table == table.name; });
}

template <std::size_t N>
bool is_chain(const std::array<BuiltinChain, N>& chains, const Table& table, const Chain& chain) {
  return std::any_of(chains.begin(), chains.end(), [&](const BuiltinChain& builtin) {
    return builtin.table == table.name && builtin.chain == chain.name && builtin.type == chain.hook->type &&
           builtin.hook == chain.hook->number && builtin.priority == chain.hook->priority;
  });
}

bool is_iptables_chain(const Table& table, const Chain& chain) {
  if (!std::all_of(chain.rules.begin(), chain.rules.end(),
                   [](const Rule& rule) { return rule.iptables_like; }))
    return false;
  if (!chain.hook) return true;
  return table.family == Family::arp ? is_chain(kArptables, table, chain) : is_chain(kIptables, table, chain);
}

}  // namespace

const Rule* Chain::find(std::uint64_t rule) const {
  const auto it =
      std::find_if(rules.begin(), rules.end(), [rule](const Rule& r) { return r.handle == rule; });
  return it == rules.end() ? nullptr : &*it;
}

const Chain* Table::find(std::uint64_t chain) const {
  const auto it =
      std::find_if(chains.begin(), chains.end(), [chain](const Chain& c) { return c.handle == chain; });
  return it == chains.end() ? nullptr : &*it;
}

const Set* Table::find_set(const std::string& set) const {
  const auto it = std::find_if(sets.begin(), sets.end(), [&set](const Set& s) { return s.name == set; });
  return it == sets.end() ? nullptr : &*it;
}

const Table* Ruleset::find(std::uint64_t table) const {
  const auto it =
      std::find_if(tables.begin(), tables.end(), [table](const Table& t) { return t.handle == table; });
  return it == tables.end() ? nullptr : &*it;
}

Backend maker(const Table& table) {
  const bool named = table.family == Family::arp                                 ? is_table(kArptables, table)
                     : table.family == Family::ip || table.family == Family::ip6 ? is_table(kIptables, table)
                                                                                 : false;
  const bool made = named && std::all_of(table.chains.begin(), table.chains.end(),
                                         [&](const Chain& chain) { return is_iptables_chain(table, chain); });
  return made ? Backend::iptables_nft : Backend::nftables;
}

std::optional<Hook> hook_word(Family family, std::uint32_t hook) {
  if (family == Family::netdev)  // NF_NETDEV_INGRESS, NF_NETDEV_EGRESS
    return hook == 0 ? std::optional(Hook::ingress) : hook == 1 ? std::optional(Hook::egress) : std::nullopt;
  // NF_INET_INGRESS; nft_do_chain_inet_ingress() says which of the two families a packet is of
  if ((family == Family::inet || family == Family::ip || family == Family::ip6) && hook == 5)
    return Hook::ingress;
  // NF_BR_* have the numbers of NF_INET_*; NF_BR_BROUTING (5) is nobody's here.
  return legacy::hook_word(family, hook);
}

std::optional<Family> family_of(std::uint32_t nfproto) {
  switch (nfproto) {
    case 1:
      return Family::inet;  // NFPROTO_INET
    case 2:
      return Family::ip;  // NFPROTO_IPV4
    case 3:
      return Family::arp;  // NFPROTO_ARP
    case 5:
      return Family::netdev;  // NFPROTO_NETDEV
    case 7:
      return Family::bridge;  // NFPROTO_BRIDGE
    case 10:
      return Family::ip6;  // NFPROTO_IPV6
    default:
      return std::nullopt;
  }
}

}  // namespace pathtrace::nft
