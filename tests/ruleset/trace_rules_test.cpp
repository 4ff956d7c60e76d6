// SPDX-License-Identifier: GPL-2.0
#include "ruleset/trace_rules.h"

#include <gmock/gmock.h>

#include "blob_builder.h"
#include "ruleset/legacy_text.h"

namespace pathtrace {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TraceRule trace_rule(Backend backend, Family family, const std::string& table, const std::string& chain,
                     int number) {
  TraceRule rule;
  rule.backend = backend;
  rule.family = family;
  rule.table = table;
  rule.chain = chain;
  rule.number = number;
  return rule;
}

TraceRule in_raw(const std::string& chain) {
  TraceRule rule = trace_rule(Backend::iptables_legacy, Family::ip, "raw", chain, 1);
  rule.netns.inode = 7;
  rule.netns.name = "h";
  return rule;
}

legacy::Snapshot snapshot(const legacy::BlobBuilder& builder, const std::string& name) {
  legacy::Snapshot snapshot;
  snapshot.table = builder.table(name);
  for (const legacy::Entry& entry : snapshot.table.entries)
    snapshot.text.push_back(entry.kind == legacy::EntryKind::rule ? rule_text(snapshot.table, entry) : "");
  return snapshot;
}

TEST(TraceRules, OfALegacyTable) {
  legacy::BlobBuilder builder(Family::ip6);
  builder.base(0, {{"ACCEPT"}, {"TRACE"}})
      .base(3, {{"probe"}})
      .chain("probe", {{"LOG"}, {"RETURN"}, {"TRACE"}});
  const auto rules = trace_rules(snapshot(builder, "raw"));
  ASSERT_EQ(rules.size(), 2U);
  EXPECT_EQ(rules[0], (TraceRule{{},
                                 Backend::iptables_legacy,
                                 Family::ip6,
                                 "raw",
                                 "PREROUTING",
                                 2,
                                 std::nullopt,
                                 "-s a00::/8 -j TRACE"}));
  EXPECT_EQ(rules[1].chain, "probe");
  EXPECT_EQ(rules[1].number, 3);
}

TEST(TraceRules, AChainOfThatNameIsNone) {
  legacy::BlobBuilder builder;
  builder.base(0, {{"TRACE"}}).chain("TRACE", {});
  EXPECT_THAT(trace_rules(snapshot(builder, "raw")), IsEmpty());
}

std::vector<TraceRule> of_nft_rule(nft::Rule rule, Backend backend = Backend::nftables) {
  rule.handle = 5;
  rule.number = 1;
  nft::Table table;
  table.family = Family::inet;
  table.name = "guard";
  table.backend = backend;
  table.chains.push_back({9, "input", std::nullopt, {std::move(rule)}});
  nft::Ruleset ruleset;
  ruleset.tables.push_back(std::move(table));
  return trace_rules(ruleset);
}

nft::Rule with_text(std::string text) {
  nft::Rule rule;
  rule.text = std::move(text);
  return rule;
}

TEST(TraceRules, OfNftables) {
  const auto rules = of_nft_rule(with_text("tcp dport 80 meta nftrace set 1"));
  ASSERT_EQ(rules.size(), 1U);
  EXPECT_EQ(
      rules[0],
      (TraceRule{
          {}, Backend::nftables, Family::inet, "guard", "input", 1, 5, "tcp dport 80 meta nftrace set 1"}));
  EXPECT_EQ(of_nft_rule(with_text("-p tcp -j TRACE"), Backend::iptables_nft).size(), 1U);
  nft::Rule compat;
  compat.target = "TRACE";
  EXPECT_EQ(of_nft_rule(compat).size(), 1U);
}

TEST(TraceRules, WhatOnlyLooksLikeOne) {
  EXPECT_THAT(of_nft_rule(with_text("accept comment \"meta nftrace set 1\"")), IsEmpty());
  EXPECT_THAT(of_nft_rule(with_text(R"(-m comment --comment "a \" -j TRACE")")), IsEmpty());
  EXPECT_THAT(of_nft_rule(with_text("meta nftrace 1 accept")), IsEmpty());
  EXPECT_THAT(of_nft_rule(with_text("-j TRACES")), IsEmpty());
  EXPECT_THAT(of_nft_rule(nft::Rule{}), IsEmpty());
}

TEST(TraceRules, Warning) {
  EXPECT_EQ(
      warning_of(in_raw("PREROUTING")),
      "a TRACE rule is active in raw/PREROUTING rule 1 (network namespace h, iptables-legacy): it logs every "
      "packet that it matches; remove it with iptables-legacy -t raw -D PREROUTING 1 when no longer wanted");
}

TEST(TraceRules, WarningOfIp6tables) {
  TraceRule rule = trace_rule(Backend::iptables_legacy, Family::ip6, "raw", "PREROUTING", 1);
  rule.netns.inode = 4026531840;
  EXPECT_THAT(warning_of(rule), HasSubstr("network namespace with inode 4026531840, "));
  EXPECT_THAT(warning_of(rule), HasSubstr("ip6tables-legacy -t raw -D PREROUTING 1 "));
  rule.backend = Backend::iptables_nft;
  EXPECT_THAT(warning_of(rule), HasSubstr("ip6tables-nft -t raw -D PREROUTING 1 "));
}

TEST(TraceRules, WarningOfNftables) {
  TraceRule rule = trace_rule(Backend::nftables, Family::inet, "guard", "input", 3);
  rule.handle = 5;
  EXPECT_THAT(warning_of(rule), HasSubstr("a \"meta nftrace set 1\" rule is active in guard/input rule 3"));
  EXPECT_THAT(warning_of(rule), HasSubstr("remove it with nft delete rule inet guard input handle 5 when"));
}

// The command is there to be pasted, and the name is the host's.
TEST(TraceRules, ANameIsOneWordOfTheCommand) {
  const TraceRule rule = in_raw("a;b 'c");
  EXPECT_THAT(warning_of(rule), HasSubstr(R"(-D 'a;b '\''c' 1 when)"));
}

}  // namespace
}  // namespace pathtrace
