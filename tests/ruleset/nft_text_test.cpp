// SPDX-License-Identifier: GPL-2.0
#include "ruleset/nft_text.h"

#include <gtest/gtest.h>

namespace pathtrace::nft {
namespace {

// As libnftables 1.0.6 prints it.
constexpr const char* kListing = R"(table inet fw { # handle 7
	comment "my table"
	set bad { # handle 4
		type ipv4_addr
	}

	chain web { # handle 1
		comment "chain comment # handle 3"
		counter accept comment "hi there" # handle 6
		ip saddr @bad drop # handle 9
	}

	chain in { # handle 3
		type filter hook input priority filter; policy drop;
		tcp dport { 22, 23 } jump web # handle 15
		reject comment "c # handle 7" # handle 16
	}
}
# Warning: table ip filter is managed by iptables-nft, do not touch!
table ip filter { # handle 8
	chain web { # handle 1
		return # handle 6
	}
}
)";

Rule rule(std::uint64_t handle) {
  Rule r;
  r.handle = handle;
  return r;
}

Ruleset sample() {
  Ruleset ruleset;
  Table fw{7, Family::inet, "fw", Backend::nftables, {}};
  fw.chains.push_back({1, "web", {}, {rule(6), rule(9)}});
  fw.chains.push_back({3, "in", Hooked{1, 0, "filter", 0}, {rule(15), rule(16)}});
  Table filter{8, Family::ip, "filter", Backend::nftables, {}};
  filter.chains.push_back({1, "web", {}, {rule(6)}});
  ruleset.tables = {fw, filter};
  return ruleset;
}

TEST(NftText, RulesByHandleWithinTableAndChain) {
  Ruleset ruleset = sample();
  add_text(ruleset, kListing);
  EXPECT_EQ(ruleset.tables[0].chains[0].rules[0].text, "counter accept comment \"hi there\"");
  EXPECT_EQ(ruleset.tables[0].chains[0].rules[1].text, "ip saddr @bad drop");
  EXPECT_EQ(ruleset.tables[0].chains[1].rules[0].text, "tcp dport { 22, 23 } jump web");
  EXPECT_EQ(ruleset.tables[0].chains[1].rules[1].text, "reject comment \"c # handle 7\"");
  EXPECT_EQ(ruleset.tables[1].chains[0].rules[0].text, "return");
}

TEST(NftText, AChainWithOtherHandlesGetsNoText) {
  Ruleset ruleset = sample();
  ruleset.tables[0].chains[1].rules.pop_back();
  add_text(ruleset, kListing);
  EXPECT_EQ(ruleset.tables[0].chains[1].rules[0].text, std::nullopt);
  EXPECT_TRUE(ruleset.tables[0].chains[0].rules[0].text);
}

TEST(NftText, ACommentCanNotInjectARule) {
  Ruleset ruleset = sample();
  add_text(ruleset,
           "table inet fw { # handle 7\n\tchain web { # handle 1\n"
           "\t\taccept comment \"x\" # handle 6\n\t\taccept # handle 9\n\t\t\" # handle 6\n"
           "\t\tdrop # handle 9\n\t}\n}\n");
  EXPECT_EQ(ruleset.tables[0].chains[0].rules[0].text, std::nullopt);
  EXPECT_EQ(ruleset.tables[0].chains[0].rules[1].text, std::nullopt);
}

TEST(NftText, ARuleOfSeveralLines) {
  Ruleset ruleset = sample();
  add_text(ruleset,
           "table inet fw { # handle 7\n\tchain web { # handle 1\n"
           "\t\ttcp dport { 1,\n\t\t\t     2 } accept # handle 6\n\t\tdrop # handle 9\n\t}\n}\n");
  EXPECT_EQ(ruleset.tables[0].chains[0].rules[0].text, "tcp dport { 1, 2 } accept");
}

// Their rules are listed inside the rule that jumps there, without handles.
TEST(NftText, AChainWithoutAName) {
  Ruleset ruleset = sample();
  Table& table = ruleset.tables[0];
  table.chains.push_back({20, "__chain0", {}, {rule(21), rule(22)}});
  add_text(ruleset,
           "table inet fw { # handle 7\n\tchain web { # handle 1\n\t\ttcp dport 80 jump {\n"
           "\t\t\tip saddr 10.0.0.1 accept\n\t\t\tdrop\n\t\t} comment \"x\" # handle 6\n\t\tdrop # handle "
           "9\n\t}\n}\n");
  EXPECT_EQ(table.chains[0].rules[0].text,
            "tcp dport 80 jump { ip saddr 10.0.0.1 accept drop } comment \"x\"");
  EXPECT_EQ(table.chains[0].rules[1].text, "drop");
  EXPECT_EQ(table.chains[2].rules[0].text, std::nullopt);
}

TEST(NftText, GarbageIsNoText) {
  for (const char* text :
       {"", "\n\n", "table", "table x { # handle", "\tchain a { # handle 1\n\t\tx # handle 6\n",
        "table a { # handle 99999999999999999999999\n\tchain x { # handle 1\n\t\tdrop # handle 6\n"}) {
    Ruleset ruleset = sample();
    add_text(ruleset, text);
    EXPECT_EQ(ruleset.tables[0].chains[0].rules[0].text, std::nullopt);
  }
}

TEST(NftText, SavedTextOfIptablesNft) {
  Table filter{8, Family::ip, "filter", Backend::iptables_nft, {}};
  filter.chains.push_back({1, "INPUT", {}, {rule(6), rule(7)}});
  filter.chains[0].rules[1].verdict = "DROP";
  const char* save =
      "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j NFLOG\n-A INPUT -s 10.0.0.1/32 -j DROP\nCOMMIT\n";
  EXPECT_TRUE(add_saved_text(filter, save));
  EXPECT_EQ(filter.chains[0].rules[0].text, "-j NFLOG");
  EXPECT_EQ(filter.chains[0].rules[0].target, "NFLOG");
  EXPECT_EQ(filter.chains[0].rules[1].text, "-s 10.0.0.1/32 -j DROP");
  EXPECT_EQ(filter.chains[0].rules[1].target, std::nullopt);
}

TEST(NftText, SavedTextThatDoesNotFit) {
  Table filter{8, Family::ip, "filter", Backend::iptables_nft, {}};
  filter.chains.push_back({1, "INPUT", {}, {rule(6)}});
  EXPECT_FALSE(add_saved_text(filter, "*filter\n-A INPUT -j A\n-A INPUT -j B\nCOMMIT\n"));
  filter.chains[0].rules[0].verdict = "ACCEPT";
  EXPECT_FALSE(add_saved_text(filter, "*filter\n-A INPUT -j DROP\nCOMMIT\n"));
  EXPECT_EQ(filter.chains[0].rules[0].text, std::nullopt);
}

TEST(NftModel, WhoMadeATable) {
  Rule plain;
  plain.iptables_like = true;
  Table table{1, Family::ip, "filter", Backend::nftables, {}};
  table.chains.push_back({1, "INPUT", Hooked{1, 0, "filter", 1}, {plain}});
  table.chains.push_back({2, "web", {}, {plain}});
  EXPECT_EQ(maker(table), Backend::iptables_nft);
  table.chains[1].rules[0].iptables_like = false;
  EXPECT_EQ(maker(table), Backend::nftables) << "a rule iptables does not write";
  table.chains[1].rules[0].iptables_like = true;
  table.chains[0].hook->priority = 1;
  EXPECT_EQ(maker(table), Backend::nftables) << "a priority iptables does not use";
  table.chains[0].hook->priority = 0;
  table.chains[0].name = "input";
  EXPECT_EQ(maker(table), Backend::nftables) << "a name iptables does not use";
  table.chains[0].name = "INPUT";
  table.name = "my";
  EXPECT_EQ(maker(table), Backend::nftables);
  table.name = "filter";
  table.family = Family::inet;
  EXPECT_EQ(maker(table), Backend::nftables);
}

TEST(NftModel, HooksByFamily) {
  EXPECT_EQ(hook_word(Family::ip, 3), Hook::output);
  EXPECT_EQ(hook_word(Family::arp, 0), Hook::input);
  EXPECT_EQ(hook_word(Family::netdev, 0), Hook::ingress);
  EXPECT_EQ(hook_word(Family::netdev, 1), Hook::egress);
  EXPECT_EQ(hook_word(Family::inet, 5), Hook::ingress);
  EXPECT_EQ(hook_word(Family::ip, 5), Hook::ingress);
  EXPECT_EQ(hook_word(Family::ip6, 5), Hook::ingress);
  EXPECT_EQ(hook_word(Family::ip, 9), std::nullopt);
}

}  // namespace
}  // namespace pathtrace::nft
