// SPDX-License-Identifier: GPL-2.0
// Which events are one packet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "timeline/stream.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)
using ::testing::ElementsAre;

std::vector<StepKind> kinds(const Packet& packet) {
  std::vector<StepKind> all;
  all.reserve(packet.steps.size());
  for (const Step& step : packet.steps) all.push_back(step.kind);
  return all;
}

TEST(Packets, OneAcrossHooksOfANamespace) {
  const Skb p = syn().to("eth1");
  const ConnectionTrace t = only({accepted(syn(), 0, Hook::prerouting), accepted(p, 5, Hook::forward),
                                  accepted(p, 9, Hook::postrouting)});
  ASSERT_EQ(t.packets.size(), 1U);
  EXPECT_EQ(t.packets[0].iif, "eth0");
  EXPECT_EQ(t.packets[0].oif, "eth1");
  EXPECT_THAT(kinds(t.packets[0]), ElementsAre(StepKind::receive, StepKind::policy, StepKind::policy,
                                               StepKind::policy, StepKind::transmit));
  EXPECT_EQ(t.packets[0].steps.back().interface, "eth1");
}

TEST(Packets, TablesOfOneHookInTheOrderOfTime) {
  const ConnectionTrace t = only({walk(syn(), 9, Hook::input, {policy("INPUT", Verdict::accept, "filter")}),
                                  walk(syn(), 3, Hook::input, {policy("INPUT", Verdict::accept, "mangle")})});
  ASSERT_EQ(t.packets.size(), 1U);
  EXPECT_EQ(t.packets[0].steps[1].table, "mangle");
  EXPECT_EQ(t.packets[0].steps[2].table, "filter");
  EXPECT_EQ(t.packets[0].steps[2].offset_ns, 6 * us);
}

TEST(Packets, ThroughLoopbackItIsStillOne) {
  const Skb out = syn().from("lo").to("lo");
  Skb sent = out.made_locally();
  sent.o.iif.reset();
  const ConnectionTrace t = only({accepted(sent, 0, Hook::output), accepted(sent, 2, Hook::postrouting),
                                  accepted(out, 8, Hook::prerouting), accepted(out, 9, Hook::input)});
  ASSERT_EQ(t.packets.size(), 1U);
  EXPECT_EQ(t.packets[0].origin, Origin::local);
  EXPECT_THAT(kinds(t.packets[0]), ElementsAre(StepKind::policy, StepKind::policy, StepKind::transmit,
                                               StepKind::receive, StepKind::policy, StepKind::policy));
}

TEST(Packets, AnotherNamespaceIsAnotherRecordOfTheSameConnection) {
  const ConnectionTrace t = only({accepted(syn().in(client_ns).made_locally().to("veth0"), 0, Hook::output),
                                  accepted(syn().in(router).from("veth1"), 6, Hook::forward),
                                  accepted(syn().in(server_ns).from("veth2"), 9, Hook::input)});
  ASSERT_EQ(t.packets.size(), 3U);
  EXPECT_EQ(t.packets[0].netns, client_ns);
  EXPECT_EQ(t.packets[1].netns, router);
  EXPECT_EQ(t.packets[2].netns, server_ns);
  EXPECT_EQ(t.connection.netns, server_ns);
}

TEST(Packets, RetransmissionAtTheSameAddressIsAnother) {
  const ConnectionTrace t =
      only({accepted(syn().with_id(1), 0, Hook::input), accepted(syn().with_id(2), 1'000'000, Hook::input)});
  EXPECT_EQ(t.packets.size(), 2U);
  EXPECT_EQ(t.retransmissions, 1U);
}

TEST(Packets, RetransmissionIsAnotherEvenWithEqualHeaders) {  // IPv6 has no identification
  const ConnectionTrace t = only({accepted(syn(), 0, Hook::input), accepted(syn(), 1'000'000, Hook::input)});
  EXPECT_EQ(t.packets.size(), 2U);
}

TEST(Packets, HooksThatBeginAgainAreAnother) {
  const ConnectionTrace t =
      only({accepted(syn(), 0, Hook::prerouting), accepted(syn(), 5, Hook::input),
            accepted(syn(), 300'000, Hook::prerouting), accepted(syn(), 300'005, Hook::input)});
  EXPECT_EQ(t.packets.size(), 2U);
}

TEST(Packets, SeveralBaseChainsOfATableOnOneHookAreOnePass) {
  const ConnectionTrace t = only({walk(syn(), 0, Hook::input, {nft_rule("early", 1, 4, Verdict::accept)}),
                                  walk(syn(), 2, Hook::input, {nft_rule("late", 1, 9, Verdict::drop)})});
  ASSERT_EQ(t.packets.size(), 1U);
  EXPECT_EQ(t.packets[0].steps.back().verdict, Verdict::drop);
}

// A bridge has hooks of its own: a packet for the host goes through INPUT twice.
TEST(Packets, ThroughABridgeAndTheHostBehindItIsOnePacket) {
  const auto on_bridge = [](std::int64_t micros, Hook hook) {
    Step step = nft_rule("b", 1, 4, Verdict::accept);
    step.family = Family::bridge;
    step.table = "br";
    return walk(syn(), micros, hook, {step});
  };
  const ConnectionTrace t =
      only({on_bridge(0, Hook::prerouting), on_bridge(2, Hook::input), accepted(syn(), 4, Hook::prerouting),
            accepted(syn(), 6, Hook::input), on_bridge(300'000, Hook::prerouting)});
  ASSERT_EQ(t.packets.size(), 2U);
  EXPECT_EQ(t.packets[0].steps.size(), 5U);  // and how it came in
}

TEST(Packets, SeveralUnnamedBaseChainsOnOneHookAreOnePass) {
  const ConnectionTrace t =
      only({walk(syn(), 0, Hook::input, {unnamed("lost")}), walk(syn(), 2, Hook::input, {unnamed("lost")})});
  // the first walk's verdict is drop, as nothing else is known: what follows is another packet
  EXPECT_EQ(t.packets.size(), 2U);
}

TEST(Packets, AfterADropTheAddressIsFree) {
  const ConnectionTrace t =
      only({walk(syn(), 0, Hook::prerouting, {policy("PREROUTING", Verdict::drop, "raw")}),
            dropped(syn(), 1, "NETFILTER_DROP"), accepted(syn(), 1'000'000, Hook::input)});
  ASSERT_EQ(t.packets.size(), 2U);
  ASSERT_EQ(t.drops.size(), 1U);
  EXPECT_EQ(t.drops[0].packet, t.packets[0].id);
}

TEST(Packets, HeadTellsWhereTheCloneDiffers) {
  Skb clone = syn();
  clone.o.skb += 0x500;
  const ConnectionTrace t = only({accepted(syn(), 0, Hook::prerouting), accepted(clone, 5, Hook::input)});
  EXPECT_EQ(t.packets.size(), 1U);
}

TEST(Packets, SkbTellsWhereTheHeadWasReallocated) {
  Skb grown = syn().to("eth1");  // ip_forward() makes room for a larger link header
  grown.o.head += 0x500;
  const ConnectionTrace t = only({accepted(syn(), 0, Hook::prerouting), accepted(grown, 5, Hook::forward),
                                  accepted(grown, 6, Hook::postrouting)});
  EXPECT_EQ(t.packets.size(), 1U);
}

TEST(Packets, AnotherPacketAtTheSameAddressIsAnother) {
  const Skb other = tcp({"10.0.0.7", 40000}, server, tcp_syn, 77).from("eth0").at(syn().o.skb);
  const auto traces = run(
      {accepted(syn(), 0, Hook::prerouting), walk(other, 5, Hook::input, {rule("INPUT", 1, Verdict::drop)})});
  ASSERT_EQ(traces.size(), 2U);
  EXPECT_EQ(traces[0].packets.size(), 1U);
  EXPECT_EQ(traces[0].packets[0].steps.size(), 2U);
}

TEST(Packets, ATcpPacketWithoutFlagsSaysSo) {
  const ConnectionTrace t = only({accepted(tcp(client, server, 0, 7).from("eth0"), 0, Hook::input)});
  EXPECT_EQ(t.packets.at(0).flags, "none");
}

TEST(Packets, KnownOnlyByAnAnswerOrAListener) {
  const ConnectionTrace t = only({at_listener(syn(), 0)});
  ASSERT_EQ(t.packets.size(), 1U);
  EXPECT_THAT(kinds(t.packets[0]), ElementsAre(StepKind::receive, StepKind::deliver));
  EXPECT_FALSE(t.packets[0].length);  // headers are cut off by then
}

TEST(Packets, AResetThatWasNotSeenIsNotInvented) {
  const ConnectionTrace t = only({stack_reset(syn(), 0)});
  EXPECT_EQ(t.packets.size(), 1U);
  ASSERT_EQ(t.answers.size(), 1U);
  EXPECT_FALSE(t.answers[0].answer_packet);
}

TEST(Packets, NoResetIsAnsweredWithAReset) {
  const Skb rst = tcp(client, server, tcp_rst, isn + 1).from("eth0");
  const ConnectionTrace t = only({accepted(rst, 0, Hook::input), stack_reset(rst, 10)});
  EXPECT_TRUE(t.answers.empty());
}

TEST(Packets, AResetMadeByARejectTellsOfALostRejectCall) {
  const Skb rst = rst_to(syn(), Origin::reject).to("eth0");
  const ConnectionTrace t = only(
      {walk(syn(), 0, Hook::input, {rule("INPUT", 1, Verdict::reject)}), accepted(rst, 5, Hook::output)});
  ASSERT_EQ(t.answers.size(), 1U);
  EXPECT_EQ(std::get<RejectObservation>(t.answers[0].what).with, "tcp-reset");
  EXPECT_EQ(t.answers[0].answer_packet, t.packets[1].id);
}

TEST(Packets, IcmpErrorIsAReplyToTheQuotedPacket) {
  const Skb error = icmp_about(syn(), 3, 3).made_by(Origin::reject, syn()).to("eth0");
  const ConnectionTrace t =
      only({walk(syn(), 0, Hook::input, {rule("INPUT", 1, Verdict::reject)}),
            rejected(syn(), 3, "icmp-port-unreachable"), accepted(error, 5, Hook::output)});
  ASSERT_EQ(t.packets.size(), 2U);
  EXPECT_EQ(t.packets[1].protocol, "icmp");
  EXPECT_EQ(t.packets[1].direction, Direction::reply);
  EXPECT_EQ(t.packets[1].destination.address, "10.0.0.9");
  EXPECT_EQ(t.packets[1].source.address, "10.0.0.1");  // the packet was for this host
  EXPECT_FALSE(t.packets[1].flags);
  EXPECT_EQ(t.answers[0].answer_packet, t.packets[1].id);
}

TEST(Packets, AWalkThatDropsWithoutARuleSaysSo) {
  Observation o = walk(syn(), 0, Hook::input, {rule("INPUT", 1, Verdict::continue_)});
  std::get<WalkObservation>(o.detail).verdict = Verdict::drop;
  const ConnectionTrace t = only({o});
  const Step& last = t.packets[0].steps.back();
  EXPECT_EQ(last.verdict, Verdict::drop);
  EXPECT_TRUE(last.missing);
  EXPECT_EQ(last.table, "filter");
}

TEST(Packets, AnEmptyWalkSaysSo) {
  const ConnectionTrace t = only({walk(syn(), 0, Hook::input, {})});
  EXPECT_TRUE(t.packets[0].steps.back().missing);
}

TEST(Packets, QueuedPacketsDoNotLeave) {
  Observation o = walk(syn().to("eth1"), 0, Hook::forward, {rule("FORWARD", 1, Verdict::queue)});
  const ConnectionTrace t = only({o});
  EXPECT_EQ(t.packets[0].steps.back().kind, StepKind::rule);
}

TEST(Packets, ResumesAfterAQueue) {
  const ConnectionTrace t =
      only({walk(syn(), 0, Hook::input, {rule("INPUT", 1, Verdict::queue)}),
            walk(syn(), 2'000'000, Hook::input, {policy("INPUT", Verdict::accept, "security")})});
  EXPECT_EQ(t.packets.size(), 1U);
}

}  // namespace
}  // namespace pathtrace
