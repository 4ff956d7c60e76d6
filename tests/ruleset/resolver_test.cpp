// SPDX-License-Identifier: GPL-2.0
// What the resolver says where there is nothing to read: the readings themselves are tested
// on real kernels.
#include "ruleset/resolver.h"

#include <gmock/gmock.h>

#include <cstring>

#include "kernel/netns.h"

namespace pathtrace {
namespace {

using testing::HasSubstr;
using testing::Optional;

constexpr std::uint32_t kNoSuchNamespace = 1;

class FakeGenerations : public Generations {
 public:
  pt_generation legacy(std::uint64_t) override { return now; }
  pt_generation nftables(std::uint32_t) override { return now; }
  pt_generation now{};
};

pt_legacy_walk walk() {
  pt_legacy_walk w{};
  w.e.pf = 2;
  w.e.hook = 1;
  w.e.netns = kNoSuchNamespace;
  w.e.ts_ns = 1;
  std::memcpy(w.table_name, "filter", 6);
  w.end_ns = 9;
  return w;
}

TEST(Resolver, ANamespaceThatIsGone) {
  FakeGenerations generations;
  Resolver resolver(generations);
  const WalkObservation out = resolver.resolve(walk());
  EXPECT_EQ(out.table, "filter");
  EXPECT_EQ(out.backend, Backend::iptables_legacy);
  EXPECT_EQ(out.family, Family::ip);
  EXPECT_EQ(out.hook, Hook::input);
  EXPECT_EQ(out.verdict, Verdict::drop);
  EXPECT_EQ(out.end_ns, 9);
  ASSERT_EQ(out.steps.size(), 1U);
  EXPECT_EQ(out.steps[0].rule, std::nullopt);
  EXPECT_THAT(out.steps[0].missing, Optional(HasSubstr("gone")));
}

TEST(Resolver, ItsNatTableSeesFirstPacketsOnly) {
  FakeGenerations generations;
  Resolver resolver(generations);
  EXPECT_TRUE(resolver.resolve(walk()).every_packet);
  pt_legacy_walk nat = walk();
  std::memcpy(nat.table_name, "nat\0\0", 6);
  EXPECT_FALSE(resolver.resolve(nat).every_packet);
}

TEST(Resolver, ATableThatHasChangedSince) {
  FakeGenerations generations;
  generations.now = {5, 1, 0};
  Resolver resolver(generations);
  EXPECT_EQ(resolver.resolve(walk()).steps.at(0).missing,
            "table filter was replaced before it could be read");
}

TEST(Resolver, NobodyCountsChanges) {
  FakeGenerations generations;
  generations.now = {~0ULL, 0, 0};
  Resolver resolver(generations);
  EXPECT_THAT(resolver.resolve(walk()).steps.at(0).missing, Optional(HasSubstr("not watched")));
}

TEST(Resolver, ADoubtIsFinal) {
  FakeGenerations generations;
  Resolver resolver(generations);
  pt_legacy_walk w = walk();
  w.doubt = PT_DOUBT_MIGRATED;
  EXPECT_THAT(resolver.resolve(w).steps.at(0).missing, Optional(HasSubstr("another CPU")));
}

TEST(Resolver, FamiliesAndVerdicts) {
  FakeGenerations generations;
  Resolver resolver(generations);
  pt_legacy_walk w = walk();
  w.e.pf = 3;
  w.e.hook = 1;
  w.verdict = 1;
  const WalkObservation arp = resolver.resolve(w);
  EXPECT_EQ(arp.family, Family::arp);
  EXPECT_EQ(arp.hook, Hook::output);
  EXPECT_EQ(arp.verdict, Verdict::accept);
  w.e.pf = 10;
  EXPECT_EQ(resolver.resolve(w).family, Family::ip6);
  w.e.pf = 77;
  EXPECT_THAT(resolver.resolve(w).steps.at(0).missing, Optional(HasSubstr("77")));
  std::memcpy(w.table_name, "security", 8);  // no room for a NUL
  EXPECT_EQ(resolver.resolve(w).table, "security");
}

TEST(Netns, OneCanAlwaysEnterOnesOwn) {
  const std::uint32_t inode = own_netns();
  ASSERT_NE(inode, 0U);
  bool ran = false;
  EXPECT_TRUE(in_netns(inode, [&] { ran = own_netns() == inode; }));
  EXPECT_TRUE(ran);
  EXPECT_EQ(all_netns().at(0).inode, inode);
  const auto self = find_netns("self");
  ASSERT_TRUE(self);
  EXPECT_EQ(self->inode, inode);
  EXPECT_TRUE(open_netns(inode));
}

TEST(Netns, WhatIsNone) {
  EXPECT_FALSE(in_netns(kNoSuchNamespace, [] {}));
  EXPECT_FALSE(open_netns(kNoSuchNamespace));
  for (const char* arg : {"no-such-name", "/etc/passwd", "/proc/self/ns/mnt", "4194399", ""}) {
    const auto found = find_netns(arg);
    ASSERT_FALSE(found) << arg;
    EXPECT_EQ(found.error().status, ExitStatus::no_such_namespace);
  }
}

TEST(Netns, WhatTheWorkThrowsComesBack) {
  EXPECT_THROW(in_netns(own_netns(), [] { throw 42; }), int);
}

}  // namespace
}  // namespace pathtrace
