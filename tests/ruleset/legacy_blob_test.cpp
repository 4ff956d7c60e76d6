// SPDX-License-Identifier: GPL-2.0
#include "ruleset/legacy_blob.h"

#include <gmock/gmock.h>

#include <random>

#include "blob_builder.h"
#include "ruleset/legacy_text.h"
#include "ruleset/legacy_walk.h"

namespace pathtrace::legacy {
namespace {

BlobBuilder web() {
  BlobBuilder builder;
  builder.base(1, {{"web"}, {"LOG"}, {"DROP"}}, "DROP")
      .base(2, {})
      .base(3, {{"RETURN"}})
      .chain("web", {{.target = "", .conditional = false, .comment = "count me"}, {"REJECT"}, {"deep", true}})
      .chain("deep", {});
  return builder;
}

Result<Table> parse(BlobBuilder::Built built, Family family = Family::ip) {
  return parse_table(family, "filter", built.info, std::move(built.bytes));
}

TEST(LegacyBlob, NumbersRulesWithinTheirChain) {
  const Table table = web().table();
  ASSERT_EQ(table.chains.size(), 5U);
  EXPECT_EQ(table.chains[0].name, "INPUT");
  EXPECT_EQ(table.chains[0].rules, 3);
  EXPECT_EQ(table.chains[1].name, "FORWARD");
  EXPECT_EQ(table.chains[1].rules, 0);
  EXPECT_EQ(table.chains[3].name, "web");
  EXPECT_EQ(table.chains[3].rules, 3);
  // INPUT 3 + policy, FORWARD policy, OUTPUT 1 + policy, head of web
  EXPECT_EQ(index_of(table, "web", 1), 8U);
  EXPECT_EQ(table.entries[7].kind, EntryKind::chain_head);
  EXPECT_EQ(table.entries[3].kind, EntryKind::policy);
  EXPECT_EQ(table.entries[11].kind, EntryKind::chain_end);
  EXPECT_EQ(table.entries.back().kind, EntryKind::table_end);
}

TEST(LegacyBlob, ReadsTargets) {
  const Table table = web().table();
  EXPECT_EQ(table.entries[0].target.kind, TargetKind::jump);
  EXPECT_EQ(table.entries[0].target.to, index_of(table, "web", 1));
  EXPECT_EQ(table.entries[1].target.kind, TargetKind::extension);
  EXPECT_EQ(table.entries[1].target.extension.name, "LOG");
  EXPECT_EQ(table.entries[2].target.kind, TargetKind::verdict);
  EXPECT_EQ(table.entries[2].target.verdict, 0U);
  EXPECT_EQ(table.entries[index_of(table, "web", 1)].target.kind, TargetKind::fall_through);
  EXPECT_EQ(table.entries[index_of(table, "web", 3)].target.kind, TargetKind::go_to);
  EXPECT_EQ(table.entries[index_of(table, "OUTPUT", 1)].target.kind, TargetKind::return_);
}

TEST(LegacyBlob, KnowsWhatMatchesEveryPacket) {
  const Table table = web().table();
  EXPECT_TRUE(table.entries[0].conditional);
  const Entry& commented = table.entries[index_of(table, "web", 1)];
  EXPECT_FALSE(commented.conditional) << "xt_comment matches always";
  EXPECT_EQ(comment(table, commented), "count me");
  EXPECT_EQ(table.next_unconditional[0], 3U);
}

TEST(LegacyBlob, CountersMakeNoDifference) {
  BlobBuilder::Built one = web().build();
  BlobBuilder::Built other = one;
  other.bytes[112 - 16] = 1;
  EXPECT_EQ(parse(one)->bytes, parse(other)->bytes);
}

TEST(LegacyBlob, ReadsTheOtherFamilies) {
  for (const Family family : {Family::ip6, Family::arp}) {
    BlobBuilder builder(family);
    builder.base(0, {{"web"}, {"ACCEPT"}}).base(1, {}).chain("web", {{"DROP"}});
    const Table table = builder.table();
    EXPECT_EQ(table.chains[0].name, family == Family::arp ? "INPUT" : "PREROUTING");
    EXPECT_EQ(table.chains[2].name, "web");
    EXPECT_EQ(table.entries[index_of(table, "web", 1)].target.verdict, 0U);
  }
}

TEST(LegacyBlob, RefusesWhatIptablesDoesNotWrite) {
  BlobBuilder::Built built = web().build();
  built.info.entries += 1;
  EXPECT_FALSE(parse(built));
  built = web().build();
  built.info.hook_entry[1] += 8;
  EXPECT_FALSE(parse(built));
  built = web().build();
  built.info.underflow[1] = built.info.hook_entry[1];
  EXPECT_FALSE(parse(built)) << "a policy with conditions";
  built = web().build();
  built.bytes.pop_back();
  EXPECT_FALSE(parse(built));
  EXPECT_FALSE(parse({}));
}

TEST(LegacyBlob, EveryTruncationIsRefused) {
  const BlobBuilder::Built whole = web().build();
  for (std::size_t size = 0; size < whole.bytes.size(); ++size) {
    BlobBuilder::Built part = whole;
    part.bytes.resize(size);
    part.info.size = static_cast<std::uint32_t>(size);
    EXPECT_FALSE(parse(part)) << size;
  }
}

// Whatever parses must also be safe to put into words and to search.
void use(const Table& table, std::mt19937& random) {
  for (const Entry& entry : table.entries) {
    (void)rule_text(table, entry);
    (void)comment(table, entry);
  }
  std::vector<pt_match> matched;
  for (std::uint32_t i = 0; i < table.entries.size() + 2; ++i)
    if (random() % 2 == 0) matched.push_back({i, static_cast<std::uint32_t>(random() % 3)});
  for (std::uint32_t hook = 0; hook < 6; ++hook) (void)reconstruct(table, {hook, matched, 0});
}

TEST(LegacyBlob, SurvivesGarbage) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  int parsed = 0;
  for (int round = 0; round < 5000; ++round) {
    const Family family = std::array{Family::ip, Family::ip6, Family::arp}.at(random() % 3);
    BlobBuilder builder(family);
    builder.base(0, {{"web"}, {"LOG"}, {"web", true}, {.target = "ACCEPT", .matches = {"tcp", "set"}}})
        .base(1, {{"RETURN"}})
        .chain("web", {{"REJECT"}, {"MARK"}, {"other"}})
        .chain("other", {{""}, {"DNAT"}});
    BlobBuilder::Built built = builder.build();
    const unsigned flips = 1 + static_cast<unsigned>(random() % 4);
    for (unsigned i = 0; i < flips; ++i)
      built.bytes[random() % built.bytes.size()] = static_cast<std::uint8_t>(random());
    if (random() % 4 == 0)
      built.info.hook_entry.at(random() % 5) = static_cast<std::uint32_t>(random() % 2000);
    if (random() % 4 == 0) built.info.valid_hooks = static_cast<std::uint32_t>(random());
    if (const auto table = parse(built, family)) {
      ++parsed;
      use(*table, random);
    }
  }
  RecordProperty("seed", std::to_string(seed));
  EXPECT_GT(parsed, 25) << "seed " << seed;
}

}  // namespace
}  // namespace pathtrace::legacy
