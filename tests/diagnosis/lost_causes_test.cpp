// SPDX-License-Identifier: GPL-2.0
// Packets that are lost outside netfilter, and those that netfilter drops without a rule.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "diagnosis/hosts.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)
using ::testing::Contains;
using ::testing::HasSubstr;

Skb to_another_host() { return tcp(client, {"198.51.100.4", 80}, tcp_syn, isn).from("eth0"); }

Skb syn6() { return tcp(client6, server6, tcp_syn, isn).from("eth0"); }

TEST(NoRoute, AnsweredWithAnIcmpError) {
  const Connection c =
      diagnosed({icmp_answer(to_another_host(), 0, 3, 0),
                 lost_at_route(to_another_host(), 5, "ip_error", ENETUNREACH, "IP_INNOROUTES")});
  EXPECT_EQ(c.outcome, ConnectionOutcome::unreachable);
  EXPECT_EQ(c.error, "ENETUNREACH");
  EXPECT_EQ(c.cause.kind, CauseKind::no_route);
  EXPECT_EQ(c.cause.summary, "there is no route to 198.51.100.4");
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(NoRoute, OfTypeProhibit) {
  const Connection c = diagnosed(
      {icmp_answer(to_another_host(), 0, 3, 13), lost_at_route(to_another_host(), 5, "ip_error", EACCES)});
  EXPECT_EQ(c.error, "EHOSTUNREACH");
  EXPECT_EQ(c.cause.summary, "the route to 198.51.100.4 is of type prohibit");
}

TEST(NoRoute, TheIcmpErrorIsHeldBackByARateLimit) {
  const Connection c = diagnosed({icmp_answer(to_another_host(), 0, 3, 1, false),
                                  lost_at_route(to_another_host(), 5, "ip_error", EHOSTUNREACH)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.error, "ETIMEDOUT");
  EXPECT_EQ(c.cause.summary, "the kernel drops the SYN: the route to 198.51.100.4 is of type unreachable");
}

TEST(NoRoute, ABlackholeSaysNothing) {
  const Connection c = diagnosed({lost_at_route(to_another_host(), 5, "ip_error", EINVAL)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.kind, CauseKind::no_route);
  EXPECT_THAT(c.cause.summary, HasSubstr("is a blackhole"));
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(NoRoute, TheIcmpErrorIsDroppedOnItsWayOut) {
  const Skb error =
      icmp_about(to_another_host(), 3, 0).at(0x9900).to("eth0").made_by(Origin::stack, to_another_host());
  const Connection c =
      diagnosed({icmp_answer(to_another_host(), 0, 3, 0),
                 walk(error, 2, Hook::output, {rule("OUTPUT", 1, Verdict::drop)}),
                 lost_at_route(to_another_host(), 5, "ip_error", ENETUNREACH, "IP_INNOROUTES")});
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
}

TEST(NoRoute, AnErrorForAnUnknownReasonIsPartial) {
  const Connection c = diagnosed({accepted(syn(), 0, Hook::input), icmp_answer(syn(), 5, 3, 2)});
  EXPECT_EQ(c.cause.kind, CauseKind::stack_drop);
  EXPECT_EQ(c.error, "ENOPROTOOPT");
  EXPECT_EQ(c.confidence, Confidence::partial);
}

TEST(NoRoute, FragmentationNeededIsNoAnswer) {
  const Connection c = diagnosed({accepted(syn().to("eth1"), 0, Hook::forward), icmp_answer(syn(), 5, 3, 4)});
  EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
}

TEST(ForwardingOff, Ipv4) {
  const Connection c = diagnosed({lost_at_route(syn(), 2, "ip_error", EHOSTUNREACH, "IP_INADDRERRORS")});
  EXPECT_EQ(c.cause.kind, CauseKind::forwarding_off);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
}

TEST(ForwardingOff, Ipv6) {
  Observation o = dropped(syn6(), 2, "IP_INADDRERRORS", "ip6_forward");
  EXPECT_EQ(diagnosed({o}).cause.kind, CauseKind::stack_drop);
  std::get<DropObservation>(o.detail).not_forwarding = true;
  EXPECT_EQ(diagnosed({o}).cause.kind, CauseKind::forwarding_off);
}

TEST(Neighbour, ToldByTheFunctionWhereThereIsNoReason) {
  const Connection c =
      diagnosed({accepted(syn6().to("eth1"), 0, Hook::forward), icmp_answer(syn6(), 3000, 1, 3),
                 dropped(syn6(), 3001, "NOT_SPECIFIED", "ndisc_error_report")});
  EXPECT_EQ(c.cause.kind, CauseKind::neighbour_failed);
  EXPECT_EQ(c.error, "EHOSTUNREACH");
}

const Skb forwarded = syn().to("eth1");

// It has passed every rule, and is not gone.
TEST(Neighbour, WhatWaitsForItHasNotLeft) {
  auto traces = run({accepted(forwarded, 0, Hook::forward), neighbour(forwarded, 4, "10.0.0.1")});
  ASSERT_EQ(traces.size(), 1U);
  diagnose(traces[0], {});
  const Connection& c = traces[0].connection;
  EXPECT_EQ(c.cause.kind, CauseKind::neighbour_failed);
  EXPECT_EQ(c.outcome, ConnectionOutcome::in_progress);
  EXPECT_EQ(c.error, std::nullopt);
  EXPECT_EQ(c.confidence, Confidence::exact);
  EXPECT_EQ(c.cause.summary,
            "the SYN waits to leave through eth1: the next hop, 10.0.0.1, has not answered ARP so far");
  const Packet& packet = traces[0].packets.at(0);
  EXPECT_EQ(packet.outcome, PacketOutcome::queued);
  EXPECT_NE(packet.steps.back().kind, StepKind::transmit);
}

TEST(Neighbour, OnceItHasAnsweredThePacketLeaves) {
  auto traces = run({accepted(forwarded, 0, Hook::forward), neighbour(forwarded, 4, "10.0.0.1"),
                     neighbour(forwarded, 700, "")});
  ASSERT_EQ(traces.size(), 1U);
  diagnose(traces[0], {});
  EXPECT_EQ(traces[0].connection.cause.kind, CauseKind::no_reply);
  const Packet& packet = traces[0].packets.at(0);
  EXPECT_EQ(packet.outcome, PacketOutcome::forwarded);
  EXPECT_EQ(packet.steps.back().kind, StepKind::transmit);
  EXPECT_EQ(packet.steps.back().offset_ns, 700 * us);
}

TEST(Neighbour, WhereNoRuleSeesThePacket) {
  const Skb sent = syn().made_locally().to("eth0");
  const Events waits{socket(client, server, -9, state(7, 2)), neighbour(sent, 4, "10.0.0.254")};
  EXPECT_EQ(diagnosed(waits).cause.kind, CauseKind::neighbour_failed);
  Events left = waits;
  append(left, {neighbour(sent, 700, "")});
  EXPECT_NE(diagnosed(left).cause.kind, CauseKind::neighbour_failed);
}

TEST(Neighbour, WhatIsFreedDoesNotWait) {
  const Connection c = diagnosed({accepted(forwarded, 0, Hook::forward), neighbour(forwarded, 4, "10.0.0.1"),
                                  dropped(forwarded, 1'200'000, "NEIGH_QUEUEFULL", "__neigh_event_send")});
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.reason, "NEIGH_QUEUEFULL");
}

TEST(Neighbour, OneSentAgainDecides) {
  const Skb again = forwarded.with_id(2).at(0x7700);
  EXPECT_EQ(diagnosed({accepted(forwarded, 0, Hook::forward), neighbour(forwarded, 4, "10.0.0.1"),
                       accepted(again, 1'000'000, Hook::forward)})
                .cause.kind,
            CauseKind::no_reply);
}

TEST(Neighbour, OfTheClientKeepsTheSynAck) {
  const Skb answer = syn_ack().to("eth0");
  const Connection c = diagnosed({accepted(syn(), 0, Hook::input), at_listener(syn(), 5),
                                  accepted(answer, 20, Hook::output), neighbour(answer, 22, "fe80::9")});
  EXPECT_EQ(c.cause.kind, CauseKind::neighbour_failed);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.summary,
            "the SYN-ACK waits to leave through eth0: the next hop, fe80::9, has not answered neighbour "
            "discovery so far");
}

TEST(Neighbour, ThatTheClientWaitedForNoLonger) {
  const Connection c =
      last_diagnosis({socket(client, server, -9, state(7, 2)), accepted(forwarded, 0, Hook::forward),
                      neighbour(forwarded, 4, "10.0.0.1"), socket(client, server, 800'000, state(2, 7))});
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.kind, CauseKind::neighbour_failed);
}

TEST(Sources, ReversePathFilter) {
  const Connection c = diagnosed(
      {accepted(syn(), 0, Hook::prerouting), dropped(syn(), 2, "IP_RPFILTER", "ip_rcv_finish_core")});
  EXPECT_EQ(c.cause.kind, CauseKind::rp_filter);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.reason, "IP_RPFILTER");
  EXPECT_EQ(c.confidence, Confidence::exact);
  EXPECT_THAT(c.cause.summary, HasSubstr("no route back to 10.0.0.9 by eth0"));
}

TEST(Sources, Martian) {
  const Connection c =
      diagnosed({lost_by(syn(), 2, PT_LOSS_MARTIAN_SOURCE, "NOT_SPECIFIED", "ip_rcv_finish_core")});
  EXPECT_EQ(c.cause.kind, CauseKind::martian);
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(Sources, LoopbackFromOutside) {
  const Skb packet = tcp(client, {"127.0.0.1", 80}, tcp_syn, isn).from("eth0");
  EXPECT_EQ(diagnosed({dropped(packet, 2, "NOT_SPECIFIED", "ip_rcv_finish_core")}).cause.kind,
            CauseKind::martian);
  EXPECT_EQ(diagnosed({dropped(packet, 2, "NOT_SPECIFIED", "elsewhere")}).cause.kind, CauseKind::stack_drop);
}

TEST(Sources, AnErrorOfRoutingWithoutEvidenceIsNotCalledMartian) {
  const Connection c = diagnosed({dropped(syn(), 2, "NOT_SPECIFIED", "ip_rcv_finish_core")});
  EXPECT_EQ(c.cause.kind, CauseKind::stack_drop);
  EXPECT_EQ(c.confidence, Confidence::partial);
}

TEST(Conntrack, TableFull) {
  const Connection c = diagnosed({lost_by(syn(), 2, PT_LOSS_CONNTRACK_FULL, "NETFILTER_DROP")});
  EXPECT_EQ(c.cause.kind, CauseKind::conntrack_full);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.confidence, Confidence::exact);
  EXPECT_THAT(c.cause.evidence, Contains(HasSubstr("__nf_conntrack_alloc")));
}

TEST(Conntrack, Clash) {
  const Connection c = diagnosed(
      {accepted(syn(), 0, Hook::input), lost_by(syn(), 2, PT_LOSS_CONNTRACK_CLASH, "NETFILTER_DROP")});
  EXPECT_EQ(c.cause.kind, CauseKind::conntrack_clash);
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(Conntrack, InvalidByTheRulesText) {
  const auto kind = [](const std::string& text) {
    return diagnosed({walk(syn(), 0, Hook::input, {rule("INPUT", 1, Verdict::drop, text)})}).cause.kind;
  };
  EXPECT_EQ(kind("-m conntrack --ctstate INVALID -j DROP"), CauseKind::conntrack_invalid);
  EXPECT_EQ(kind("-m conntrack ! --ctstate INVALID -j DROP"), CauseKind::firewall_drop);
  EXPECT_EQ(kind("-m conntrack --ctstate INVALID,NEW -j DROP"), CauseKind::firewall_drop);
  EXPECT_EQ(kind("ct state invalid drop"), CauseKind::conntrack_invalid);
  EXPECT_EQ(kind("ct state != invalid drop"), CauseKind::firewall_drop);
  EXPECT_EQ(kind("ct state vmap { invalid : drop, established : accept }"), CauseKind::conntrack_invalid);
  EXPECT_EQ(kind("ct state vmap { invalid : drop, new : drop }"), CauseKind::firewall_drop);
}

TEST(Conntrack, InvalidForWantOfASyn) {
  const Step invalid = rule("FORWARD", 2, Verdict::drop, "-m conntrack --ctstate INVALID -j DROP");
  const Connection c = diagnosed({walk(syn_ack().from("eth1").to("eth0"), 0, Hook::forward, {invalid})});
  EXPECT_EQ(c.cause.kind, CauseKind::conntrack_invalid);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_THAT(c.cause.summary, HasSubstr("asymmetric routing?"));
  ASSERT_TRUE(c.cause.rule);
}

TEST(PathMtu, TheMessageIsDroppedByARule) {
  Events events = handshake();
  const Skb data = tcp(server, client, tcp_ack, server_isn + 1, isn + 1).from("eth1").at(0x5500);
  append(events, {accepted(data, 900, Hook::forward), icmp_answer(data, 901, 3, 4),
                  walk(icmp_about(data, 3, 4).to("eth1"), 902, Hook::output,
                       {rule("OUTPUT", 1, Verdict::drop, "-p icmp -j DROP")}),
                  dropped(data, 903, "PKT_TOO_BIG", "ip_forward")});
  const Connection c = last_diagnosis(events);
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_THAT(c.cause.summary, HasSubstr("path MTU discovery"));
}

TEST(Conntrack, ARuleThatDroppedItComesFirst) {
  const Connection c = diagnosed({walk(syn(), 0, Hook::input, {rule("INPUT", 1, Verdict::drop)}),
                                  lost_by(syn(), 2, PT_LOSS_CONNTRACK_FULL, "NETFILTER_DROP")});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
}

TEST(ListenQueue, TheAnswerHasNoRoute) {
  ListenerSynObservation fact{0, 128, true};
  fact.no_route = true;
  const Connection c = diagnosed({at_listener(syn(), 1, fact)}, listening({nginx()}));
  EXPECT_EQ(c.cause.kind, CauseKind::no_route);
  EXPECT_THAT(c.cause.summary, HasSubstr("no route back to 10.0.0.9"));
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(ListenQueue, SynQueueFullWithoutCookies) {
  ListenerSynObservation fact{0, 4, true};
  fact.syn_queue = 4;
  fact.max_syn_backlog = 128;
  fact.syncookies = 0;
  const Connection c = diagnosed({at_listener(syn(), 1, fact)});
  EXPECT_EQ(c.cause.kind, CauseKind::listen_queue_full);
  EXPECT_THAT(c.cause.summary, HasSubstr("SYN queue is full (4/4)"));
  fact.syncookies = 1;
  EXPECT_EQ(diagnosed({at_listener(syn(), 1, fact)}).cause.kind, CauseKind::stack_drop);
}

TEST(NoReply, NotClaimedOfATranslatedConnection) {
  Step masquerade = rule("POSTROUTING", 1, Verdict::accept, "-j MASQUERADE");
  masquerade.table = "nat";
  masquerade.target = "MASQUERADE";
  const Skb packet = syn().to("eth1");
  const Connection c =
      diagnosed({accepted(packet, 0, Hook::forward), walk(packet, 5, Hook::postrouting, {masquerade})});
  EXPECT_EQ(c.cause.kind, CauseKind::unknown);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.cause.summary, HasSubstr("translates its addresses"));
}

TEST(NoReply, NotClaimedWhereTheClientGoesOn) {
  const Connection c = diagnosed(
      {accepted(syn().to("eth1"), 0, Hook::forward), accepted(ack().to("eth1"), 900, Hook::forward)});
  EXPECT_NE(c.cause.kind, CauseKind::no_reply);
  EXPECT_NE(c.outcome, ConnectionOutcome::timed_out);
}

TEST(NoReply, TheSynAckWasNotAnswered) {
  const Connection c = diagnosed({accepted(syn(), 0, Hook::input), at_listener(syn(), 5),
                                  accepted(syn_ack().to("eth0"), 20, Hook::output)});
  EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.summary, "the SYN-ACK left through eth0 and no ACK came back");
}

}  // namespace
}  // namespace pathtrace
