// SPDX-License-Identifier: GPL-2.0
// The renderer is compared with iptables-save on real tables (see dump/); here: what it
// can't render it names.
#include "ruleset/legacy_text.h"

#include <gtest/gtest.h>

#include "blob_builder.h"

namespace pathtrace::legacy {
namespace {

std::string first_rule(const RuleSpec& rule, Family family = Family::ip) {
  BlobBuilder builder(family);
  builder.base(1, {rule}).chain("web", {});
  const Table table = builder.table();
  return rule_text(table, table.entries[0]);
}

TEST(LegacyText, AddressesAndTargets) {
  EXPECT_EQ(first_rule({"DROP"}), "-s 10.0.0.0/8 -j DROP");
  EXPECT_EQ(first_rule({"web", true}), "-s 10.0.0.0/8 -g web");
  EXPECT_EQ(first_rule({"web"}), "-s 10.0.0.0/8 -j web");
  EXPECT_EQ(first_rule({.target = "", .conditional = false}), "");
  EXPECT_EQ(first_rule({"RETURN"}, Family::ip6), "-s a00::/8 -j RETURN");
  EXPECT_EQ(first_rule({"ACCEPT"}, Family::arp), "-s 10.0.0.0/8 -j ACCEPT");
}

TEST(LegacyText, Comments) {
  EXPECT_EQ(first_rule({.target = "DROP", .conditional = false, .comment = "plain_1-2"}),
            "-m comment --comment plain_1-2 -j DROP");
  EXPECT_EQ(first_rule({.target = "DROP", .conditional = false, .comment = R"(it's "q")"}),
            R"(-m comment --comment "it\'s \"q\"" -j DROP)");
}

TEST(LegacyText, Reject) {
  EXPECT_EQ(first_rule({.target = "REJECT", .conditional = false, .target_data = {7, 0, 0, 0}}),
            "-j REJECT --reject-with tcp-reset");
  EXPECT_EQ(first_rule({.target = "REJECT", .conditional = false, .target_data = {6, 0, 0, 0}}, Family::ip6),
            "-j REJECT --reject-with tcp-reset");
  EXPECT_EQ(first_rule({.target = "REJECT", .conditional = false, .target_data = {99, 0, 0, 0}}),
            "-j REJECT [target REJECT]");
}

TEST(LegacyText, WithoutDataThereAreNoOptions) {
  EXPECT_EQ(first_rule({"TRACE"}), "-s 10.0.0.0/8 -j TRACE");
  EXPECT_EQ(first_rule({"TRACE"}, Family::ip6), "-s a00::/8 -j TRACE");
  EXPECT_EQ(first_rule({.target = "REJECT", .conditional = false}), "-j REJECT [target REJECT]");
}

TEST(LegacyText, WhatItCanNotRenderItNames) {
  EXPECT_EQ(
      first_rule({.target = "FROB", .conditional = false, .matches = {"bpf"}, .target_data = {1, 0, 0, 0}}),
      "[match bpf] -j FROB [target FROB]");
  // Less data than the revision has.
  EXPECT_EQ(first_rule({.target = "DROP", .conditional = false, .matches = {"tcp"}}), "[match tcp] -j DROP");
}

}  // namespace
}  // namespace pathtrace::legacy
