// SPDX-License-Identifier: GPL-2.0
#include "capture/decode.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <variant>

namespace pathtrace {
namespace {

constexpr std::int64_t offset_ns = 1'700'000'000'000'000'000;

Names names() {
  Names n;
  n.netns = [](std::uint32_t inode) { return inode == 7 ? std::optional<std::string>("web") : std::nullopt; };
  n.interface = [](std::uint32_t, std::uint32_t index) {
    return index == 2 ? std::optional<std::string>("eth0") : std::nullopt;
  };
  n.drop_reason = [](std::uint32_t reason) {
    return reason == 6 ? std::optional<std::string>("NETFILTER_DROP")
                       : std::optional<std::string>("NOT_SPECIFIED");
  };
  n.reset_reason = [](std::uint32_t) { return std::optional<std::string>("NO_SOCKET"); };
  n.symbol = [](std::uint64_t address) {
    return address == 1 ? std::optional<std::string>("tcp_rcv_state_process") : std::nullopt;
  };
  n.legacy_walk = [](const pt_legacy_walk& walk) {
    WalkObservation seen;
    seen.table = walk.table_name;
    return seen;
  };
  n.nft_walk = [](const pt_nft_walk&) { return WalkObservation{}; };
  return n;
}

template <typename Event>
Event event_of(pt_event_kind kind) {
  Event event{};
  auto& e = reinterpret_cast<pt_event&>(event);
  e.kind = kind;
  e.size = sizeof(Event);
  e.ts_ns = 5;
  e.netns = 7;
  e.iif = 2;
  e.oif = 9;
  e.hook = PT_HOOK_NONE;
  return event;
}

std::optional<Observation> decode(const pt_event& event) { return Decoder(names(), offset_ns).decode(event); }

TEST(Decode, TheHeaderBecomesNamesAndRealTime) {
  auto reject = event_of<pt_reject>(PT_EVENT_REJECT);
  reject.with = PT_REJECT_ICMP6;
  reject.code = 1;
  reject.e.hook = 1;
  reject.e.origin = PT_ORIGIN_WIRE;
  reject.e.flags = PT_FLAG_REVERSED;
  const auto o = decode(reject.e);
  ASSERT_TRUE(o);
  EXPECT_EQ(o->ts_ns, offset_ns + 5);
  EXPECT_EQ(o->netns, (Netns{7, "web"}));
  EXPECT_EQ(o->iif, "eth0");
  EXPECT_EQ(o->oif, std::nullopt);
  EXPECT_EQ(o->hook, Hook::input);
  EXPECT_EQ(o->origin, Origin::wire);
  EXPECT_TRUE(o->reversed);
  EXPECT_FALSE(o->icmp_error);
  EXPECT_EQ(std::get<RejectObservation>(o->detail).with, "icmp6-adm-prohibited");
}

// NF_NETDEV_INGRESS and NF_NETDEV_EGRESS have the numbers of NF_INET_PRE_ROUTING and NF_INET_LOCAL_IN.
TEST(Decode, TheHooksOfADevice) {
  auto reject = event_of<pt_reject>(PT_EVENT_REJECT);
  reject.with = PT_REJECT_ICMP;
  reject.e.pf = 5;
  const auto hook = [&reject](std::uint8_t number) {
    reject.e.hook = number;
    return decode(reject.e)->hook;
  };
  EXPECT_EQ(hook(0), Hook::ingress);
  EXPECT_EQ(hook(1), Hook::egress);
  EXPECT_EQ(hook(2), std::nullopt);
}

TEST(Decode, WhoSentAnIcmpError) {
  auto drop = event_of<pt_drop>(PT_EVENT_DROP);
  drop.e.flow.family = AF_INET;
  inet_pton(AF_INET, "10.0.0.254", drop.e.icmp_source);
  EXPECT_EQ(decode(drop.e)->icmp_source, std::nullopt);
  drop.e.flags = PT_FLAG_ICMP_ERROR;
  EXPECT_EQ(decode(drop.e)->icmp_source, "10.0.0.254");
}

// tcp_rcv_state_process() frees ACKs that it has processed; where no function has a name, that is not told
// from a loss.
TEST(Decode, AnAckThatMayHaveBeenProcessedIsNoDrop) {
  auto drop = event_of<pt_drop>(PT_EVENT_DROP);
  drop.e.flow.family = AF_INET;
  drop.e.flow.protocol = IPPROTO_TCP;
  drop.e.flow.tcp_flags = 0x10;  // ACK
  drop.reason = 2;               // NOT_SPECIFIED
  drop.location = 1;             // tcp_rcv_state_process
  EXPECT_FALSE(decode(drop.e));
  drop.location = 0xdead;  // no name
  EXPECT_FALSE(decode(drop.e));
  drop.route_error = 22;
  EXPECT_TRUE(decode(drop.e));
  drop.route_error = 0;
  drop.reason = 6;  // NETFILTER_DROP
  EXPECT_TRUE(decode(drop.e));
  drop.reason = 2;
  drop.e.flow.tcp_flags = 0x2;  // SYN
  EXPECT_TRUE(decode(drop.e));
}

TEST(Decode, WhatAListenerIsBoundTo) {
  auto syn = event_of<pt_listener_syn>(PT_EVENT_LISTENER_SYN);
  syn.port = 80;
  syn.family = AF_INET;
  inet_pton(AF_INET, "10.0.0.1", syn.address);
  EXPECT_EQ(std::get<ListenerSynObservation>(decode(syn.e)->detail).bound_to, "10.0.0.1:80");
  syn.family = AF_INET6;
  std::memset(syn.address, 0, sizeof(syn.address));
  EXPECT_EQ(std::get<ListenerSynObservation>(decode(syn.e)->detail).bound_to, "[::]:80");
}

TEST(Decode, WhichNextHopIsWaitedFor) {
  auto neighbour = event_of<pt_neighbour>(PT_EVENT_NEIGHBOUR);
  neighbour.e.flow.family = AF_INET;
  neighbour.family = AF_INET6;
  neighbour.waits = 1;
  inet_pton(AF_INET6, "fe80::1", neighbour.next_hop);
  auto decoded = std::get<NeighbourObservation>(decode(neighbour.e)->detail);
  EXPECT_TRUE(decoded.waits);
  EXPECT_EQ(decoded.next_hop, "fe80::1");
  neighbour.waits = 0;
  decoded = std::get<NeighbourObservation>(decode(neighbour.e)->detail);
  EXPECT_FALSE(decoded.waits);
  EXPECT_EQ(decoded.next_hop, "");
  neighbour.e.size = sizeof(pt_event);
  EXPECT_EQ(checked_event(&neighbour, sizeof(neighbour)), nullptr);
}

TEST(Decode, AReasonThatTheKernelDoesNotGiveIsAbsent) {
  auto reset = event_of<pt_stack_reset>(PT_EVENT_STACK_RESET);
  reset.reason = ~0U;
  EXPECT_EQ(std::get<StackResetObservation>(decode(reset.e)->detail).reason, std::nullopt);
  reset.reason = 3;
  EXPECT_EQ(std::get<StackResetObservation>(decode(reset.e)->detail).reason, "NO_SOCKET");
  auto drop = event_of<pt_drop>(PT_EVENT_DROP);
  drop.reason = ~0U;
  EXPECT_EQ(std::get<DropObservation>(decode(drop.e)->detail).reason, std::nullopt);
  drop.reason = 6;
  EXPECT_EQ(std::get<DropObservation>(decode(drop.e)->detail).reason, "NETFILTER_DROP");
}

TEST(Decode, AnAckThatTcpHasProcessedIsNoLoss) {
  auto drop = event_of<pt_drop>(PT_EVENT_DROP);
  drop.location = 1;
  drop.reason = 2;
  EXPECT_FALSE(decode(drop.e));
  drop.reason = 6;  // there for another reason: a loss
  EXPECT_TRUE(decode(drop.e));
}

TEST(Decode, EventsShorterThanTheyClaimAreRefused) {
  auto walk = event_of<pt_legacy_walk>(PT_EVENT_LEGACY_WALK);
  EXPECT_NE(checked_event(&walk, sizeof(walk)), nullptr);
  EXPECT_EQ(checked_event(&walk, sizeof(walk) - 1), nullptr);
  EXPECT_EQ(checked_event(&walk, 4), nullptr);
  walk.n_matched = 1;  // would lie beyond the event
  EXPECT_EQ(checked_event(&walk, sizeof(walk)), nullptr);
}

}  // namespace
}  // namespace pathtrace
