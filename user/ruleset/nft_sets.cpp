// SPDX-License-Identifier: GPL-2.0
#include "ruleset/nft_sets.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>

namespace pathtrace::nft {
namespace {

// A ruleset is read again after each change: what takes longer than the rest of it is left out.
constexpr std::size_t kMostSets = 512;
constexpr std::size_t kMostElements = 16384;

std::uint8_t number_of(Family family) {
  for (std::uint8_t number = 0; number < 16; ++number)
    if (family_of(number) == family) return number;
  return 0;
}

// The sets of a table whose element might be told.
std::set<std::string> looked_up(const Table& table) {
  std::set<std::string> names;
  for (const Chain& chain : table.chains)
    for (const Rule& rule : chain.rules)
      for (const Lookup& lookup : rule.lookups)
        if (!lookup.key.empty()) names.insert(lookup.set);
  return names;
}

bool is_updated(const Table& table, const std::string& set) {
  for (const Chain& chain : table.chains)
    for (const Rule& rule : chain.rules)
      if (std::find(rule.updates.begin(), rule.updates.end(), set) != rule.updates.end()) return true;
  return false;
}

Set described(const Attributes& attributes) {
  const std::uint32_t flags = attributes.u32(NFTA_SET_FLAGS).value_or(0);
  Set set;
  set.name = attributes.string(NFTA_SET_NAME);
  set.anonymous = (flags & NFT_SET_ANONYMOUS) != 0;
  set.interval = (flags & NFT_SET_INTERVAL) != 0;
  set.changes = (flags & (NFT_SET_TIMEOUT | NFT_SET_EVAL)) != 0;
  set.key_length = attributes.u32(NFTA_SET_KEY_LEN).value_or(0);
  return set;
}

std::string value(const Attributes& element, unsigned type) {
  return Attributes(element.get(type)).bytes(NFTA_DATA_VALUE);
}

void add_elements(Set& set, const nlmsghdr* message) {
  constexpr std::uint32_t catch_all = 2;  // NFT_SET_ELEM_CATCHALL, since 5.13
  each_nested(Attributes(message).get(NFTA_SET_ELEM_LIST_ELEMENTS), [&set](const nlattr* nest) {
    const Attributes attributes(nest);
    const std::uint32_t flags = attributes.u32(NFTA_SET_ELEM_FLAGS).value_or(0);
    Element element;
    element.key = value(attributes, NFTA_SET_ELEM_KEY);
    element.key_end = value(attributes, NFTA_SET_ELEM_KEY_END);
    element.ends = (flags & NFT_SET_ELEM_INTERVAL_END) != 0;
    element.catch_all = (flags & catch_all) != 0;
    set.elements.push_back(std::move(element));
  });
}

// On a socket of its own, which is given up in the middle of what is too much.
bool read_elements(const Table& table, Set& set, std::size_t most) {
  Socket socket;
  if (!socket) return false;
  const bool all =
      socket.ask({.message = NFT_MSG_GETSETELEM,
                  .dump = true,
                  .family = number_of(table.family),
                  .names = {{NFTA_SET_ELEM_LIST_TABLE, table.name}, {NFTA_SET_ELEM_LIST_SET, set.name}}},
                 [&](const nlmsghdr* message) {
                   add_elements(set, message);
                   if (set.elements.size() > most) socket.give_up();
                 });
  set.whole = all;
  if (all || errno == E2BIG) return true;
  if (errno == ENOENT) errno = EINTR;  // it is gone meanwhile
  return false;
}

}  // namespace

bool read_sets(Socket& socket, Ruleset& ruleset) {
  std::size_t sets = 0;
  std::size_t elements = 0;
  for (Table& table : ruleset.tables) {
    const auto wanted = looked_up(table);
    if (wanted.empty()) continue;
    const bool known = socket.ask({.message = NFT_MSG_GETSET,
                                   .dump = true,
                                   .family = number_of(table.family),
                                   .names = {{NFTA_SET_TABLE, table.name}}},
                                  [&](const nlmsghdr* message) {
                                    Set set = described(Attributes(message));
                                    set.changes = set.changes || is_updated(table, set.name);
                                    if (wanted.count(set.name) != 0) table.sets.push_back(std::move(set));
                                  });
    if (!known) {
      if (errno == ENOENT) errno = EINTR;
      return false;
    }
    for (Set& set : table.sets) {
      if (set.changes || ++sets > kMostSets) continue;
      if (!read_elements(table, set, kMostElements - std::min(kMostElements, elements))) return false;
      elements += set.elements.size();
      if (!set.whole) set.elements.clear();
    }
  }
  return true;
}

}  // namespace pathtrace::nft
