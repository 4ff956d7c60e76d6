// SPDX-License-Identifier: GPL-2.0
// No rule that a packet can match may be in a block that the index leaves out, whatever the table.
#include "ruleset/legacy_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <random>
#include <set>
#include <string>

#include "blob_builder.h"

namespace pathtrace::legacy {
namespace {

struct Header {
  std::array<std::uint8_t, 16> source{}, destination{};
  std::uint8_t protocol = 0;
};

struct Layout {
  std::size_t address, protocol, invert;
};
Layout layout(const Table& table) {
  return table.family == Family::ip ? Layout{4, 80, 83} : Layout{16, 128, 132};
}

bool address_matches(const std::uint8_t* header, std::size_t size, const std::uint8_t* packet,
                     bool inverted) {
  bool same = true;
  for (std::size_t i = 0; i < size; ++i) same = same && (packet[i] & header[2 * size + i]) == header[i];
  return same != inverted;
}

// ip_packet_match(), but for interfaces; of IPv6 the addresses only.
bool may_match(const Table& table, const Entry& entry, const Header& packet) {
  const Layout at = layout(table);
  const std::uint8_t* header = table.bytes.data() + entry.offset;
  const std::uint8_t flags = header[at.invert];
  if (!address_matches(header, at.address, packet.source.data(), (flags & 8) != 0)) return false;
  if (!address_matches(header + at.address, at.address, packet.destination.data(), (flags & 16) != 0))
    return false;
  const std::uint8_t protocol = header[at.protocol];
  if (table.family == Family::ip6 || protocol == 0) return true;
  return (packet.protocol == protocol) != ((flags & 64) != 0);
}

std::set<std::uint32_t> countable(const Table& table, std::uint32_t hook, const Header& packet) {
  std::set<std::uint32_t> entries, chains;
  std::vector<std::uint32_t> ahead{table.entries[*table.index_at(table.info.hook_entry.at(hook))].chain};
  while (!ahead.empty()) {
    const std::uint32_t chain = ahead.back();
    ahead.pop_back();
    if (!chains.insert(chain).second) continue;
    for (std::uint32_t i = table.chains[chain].first; i <= table.chains[chain].last; ++i) {
      const Entry& entry = table.entries[i];
      if (!may_match(table, entry, packet)) continue;
      entries.insert(i);
      if (entry.target.kind == TargetKind::jump || entry.target.kind == TargetKind::go_to)
        ahead.push_back(table.entries[entry.target.to].chain);
    }
  }
  return entries;
}

void intersect(pt_block_set& set, const pt_block_set& with) {
  for (std::size_t i = 0; i < PT_BLOCK_WORDS; ++i) set.word[i] &= with.word[i];
}

bool has_prefix(const pt_index_key& key, const std::array<std::uint8_t, 16>& address) {
  for (unsigned bit = 0; bit < key.prefix_length - PT_INDEX_KEY_BITS; ++bit)
    if (((key.address[bit / 8] ^ address.at(bit / 8)) >> (7 - bit % 8) & 1) != 0) return false;
  return true;
}

// As bpf/lib/legacy_index.h does it.
pt_block_set touched(const TableIndex& index, const Table& table, std::uint32_t hook, const Header& packet) {
  pt_block_set set = index.head.by_hook[hook];
  if (table.family == Family::ip)
    intersect(set, index.head.by_protocol[packet.protocol == 6    ? PT_PROTOCOL_TCP
                                          : packet.protocol == 17 ? PT_PROTOCOL_UDP
                                          : packet.protocol == 1  ? PT_PROTOCOL_ICMP
                                                                  : PT_PROTOCOL_OTHER]);
  for (const auto side : {PT_INDEX_SOURCE, PT_INDEX_DESTINATION}) {
    const IndexPrefix* longest = nullptr;
    for (const IndexPrefix& prefix : index.prefixes)
      if (prefix.key.side == side &&
          has_prefix(prefix.key, side == PT_INDEX_SOURCE ? packet.source : packet.destination) &&
          (longest == nullptr || prefix.key.prefix_length > longest->key.prefix_length))
        longest = &prefix;
    EXPECT_NE(longest, nullptr);
    if (longest != nullptr) intersect(set, longest->blocks);
  }
  return set;
}

bool has(const pt_block_set& set, std::uint32_t entry) {
  const std::uint32_t block = entry / PT_COUNTERS_PER_BLOCK;
  return (set.word[block / 64] >> block % 64 & 1) != 0;
}

std::size_t blocks(const pt_block_set& set) {
  std::size_t count = 0;
  for (const std::uint64_t word : set.word) count += static_cast<std::size_t>(std::popcount(word));
  return count;
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  unsigned below(unsigned n) { return std::uniform_int_distribution<unsigned>(0, n - 1)(engine_); }

  // Few bits differ, so that prefixes lie inside each other and packets hit them.
  std::array<std::uint8_t, 16> address() {
    std::array<std::uint8_t, 16> made{};
    made[0] = 10;
    for (std::size_t i = 1; i < made.size(); ++i)
      made.at(i) = static_cast<std::uint8_t>(below(3) == 0 ? below(4) << 6 : 0);
    return made;
  }
  std::uint8_t protocol() { return std::array<std::uint8_t, 5>{0, 6, 17, 1, 50}.at(below(5)); }

  void write_header(Table& table, const Entry& entry) {
    const Layout at = layout(table);
    std::uint8_t* header = table.bytes.data() + entry.offset;
    for (const std::size_t side : {std::size_t{0}, at.address}) {
      const unsigned length = below(3) == 0 ? below(static_cast<unsigned>(at.address * 8 + 1)) : 0;
      const auto made = address();
      for (unsigned bit = 0; bit < length; ++bit) {
        if (below(400) == 0) continue;  // a mask with a hole
        header[2 * at.address + side + bit / 8] |= static_cast<std::uint8_t>(0x80 >> bit % 8);
        header[side + bit / 8] |= static_cast<std::uint8_t>(made.at(bit / 8) & (0x80 >> bit % 8));
      }
    }
    header[at.protocol] = below(2) == 0 ? 0 : protocol();
    header[at.invert] = static_cast<std::uint8_t>(below(6) == 0 ? below(256) & (8 | 16 | 64) : 0);
  }

  Table table(Family family) {
    BlobBuilder builder(family);
    const unsigned user_chains = 12;
    const auto chain_rules = [&](unsigned first_target) {
      std::vector<RuleSpec> rules;
      for (unsigned i = below(120); i-- > 0;) {
        const unsigned to = first_target + below(4);
        const bool jump = below(8) == 0 && to < user_chains;
        rules.push_back(
            {jump ? "user" + std::to_string(to) : std::array{"ACCEPT", "RETURN", "", "LOG"}.at(below(4)),
             jump && below(4) == 0, false});
      }
      return rules;
    };
    for (const unsigned hook : {1U, 2U, 3U}) builder.base(hook, chain_rules(0));
    for (unsigned i = 0; i < user_chains; ++i) builder.chain("user" + std::to_string(i), chain_rules(i + 1));
    Table made = builder.table();
    for (const Entry& entry : made.entries)
      if (entry.kind == EntryKind::rule) write_header(made, entry);
    return made;
  }

 private:
  std::mt19937 engine_;
};

TEST(LegacyIndex, LeavesOutNoRuleThatCanMatch) {
  Random random(7);
  std::size_t left_out = 0;
  for (int round = 0; round < 60; ++round) {
    const Table table = random.table(round % 2 == 0 ? Family::ip : Family::ip6);
    const auto index = make_index(table);
    ASSERT_TRUE(index);
    for (int i = 0; i < 100; ++i) {
      const Header packet{random.address(), random.address(), random.protocol()};
      const std::uint32_t hook = 1 + random.below(3);
      const pt_block_set set = touched(*index, table, hook, packet);
      for (const std::uint32_t entry : countable(table, hook, packet)) ASSERT_TRUE(has(set, entry)) << entry;
      left_out += (table.entries.size() + PT_COUNTERS_PER_BLOCK - 1) / PT_COUNTERS_PER_BLOCK - blocks(set);
    }
  }
  EXPECT_GT(left_out, 1000U);
}

// Other people's addresses before the one rule that accepts.
TEST(LegacyIndex, ALongListOfOtherAddressesIsLeftOut) {
  std::vector<RuleSpec> rules(5000, RuleSpec{"DROP"});
  rules.push_back({"ACCEPT", false, false});
  Table table = BlobBuilder().base(1, rules).base(3, {}).table();
  for (std::uint32_t i = 0; i < 5000; ++i) {
    std::uint8_t* header = table.bytes.data() + table.entries[i].offset;
    const std::uint8_t address[4] = {198, 18, static_cast<std::uint8_t>(i >> 8),
                                     static_cast<std::uint8_t>(i)};
    std::copy_n(address, 4, header);
    std::fill_n(header + 8, 4, std::uint8_t{255});
  }
  const auto index = make_index(table);
  ASSERT_TRUE(index);
  EXPECT_EQ(index->prefixes.size(), 5002U);
  EXPECT_EQ(blocks(touched(*index, table, 1, {{127, 0, 0, 1}, {127, 0, 0, 1}, 6})), 1U);
  EXPECT_EQ(blocks(touched(*index, table, 1, {{198, 18, 0, 3}, {127, 0, 0, 1}, 6})), 2U);
  EXPECT_EQ(blocks(touched(*index, table, 3, {{198, 18, 0, 3}, {127, 0, 0, 1}, 6})), 1U);
}

// A chain that only one address is sent to: its rules need not name it.
TEST(LegacyIndex, AChainInheritsTheAddressesThatAreSentToIt) {
  Table table = BlobBuilder()
                    .base(1, {{"svc"}})
                    .chain("svc", std::vector<RuleSpec>(600, RuleSpec{"LOG", false, false}))
                    .table();
  const auto index = make_index(table);
  ASSERT_TRUE(index);
  EXPECT_EQ(blocks(touched(*index, table, 1, {{10, 1, 1, 1}, {}, 6})), 3U);
  EXPECT_EQ(blocks(touched(*index, table, 1, {{11, 1, 1, 1}, {}, 6})), 1U);
}

TEST(LegacyIndex, NoneWhereATargetMayChangeTheAddresses) {
  EXPECT_TRUE(make_index(BlobBuilder().base(1, {{"TTL"}, {"DNAT"}, {"LOG"}}).table()));
  EXPECT_FALSE(make_index(BlobBuilder().base(1, {{"RAWDNAT"}}).table()));
  EXPECT_FALSE(make_index(BlobBuilder(Family::arp).base(1, {{"ACCEPT"}}).table()));
}

}  // namespace
}  // namespace pathtrace::legacy
