// SPDX-License-Identifier: GPL-2.0
// When a connection is reported, and how often.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "timeline/stream.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)

struct Reporting : testing::Test {
  Timeline timeline;

  void feed(const Events& events) {
    for (const Observation& o : events) timeline.add(o);
  }
  std::vector<ConnectionTrace> at(std::int64_t millis) {
    timeline.advance(start_ns + millis * ms + defaults.reorder_ns);
    return timeline.take();
  }
  void handshake() {
    feed({accepted(syn(), 0, Hook::input), accepted(syn_ack().to("eth0"), 9, Hook::output),
          accepted(ack(), 400, Hook::input)});
  }
  void close() {
    feed({accepted(tcp(client, server, tcp_fin | tcp_ack, isn + 1, server_isn + 1).from("eth0"), 200'000,
                   Hook::input),
          accepted(tcp(server, client, tcp_fin | tcp_ack, server_isn + 1, isn + 2).to("eth0"), 200'100,
                   Hook::output)});
  }
  void last_ack(std::int64_t micros) {
    feed({accepted(tcp(client, server, tcp_ack, isn + 2, server_isn + 2).from("eth0"), micros, Hook::input)});
  }
};

TEST_F(Reporting, RefusedAfterTheDustHasSettled) {
  feed(reject_in_user_chain());
  EXPECT_TRUE(at(49).empty());
  const auto traces = at(51);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].final);
  EXPECT_FALSE(traces[0].again);
  EXPECT_EQ(traces[0].new_packets_from, 0U);
  EXPECT_EQ(traces[0].connection.ended_ns, start_ns + 30 * us);
  timeline.finish();
  EXPECT_TRUE(timeline.take().empty());
}

TEST_F(Reporting, DroppedAfterUnansweredNs) {
  feed({walk(syn(), 0, Hook::input, {policy("INPUT", Verdict::drop)})});
  EXPECT_TRUE(at(1499).empty());
  const auto traces = at(1501);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_FALSE(traces[0].final);
  EXPECT_FALSE(traces[0].connection.ended_ns);
}

TEST_F(Reporting, LaterRetransmissionsAreReportedOnceTheyAreOver) {
  feed({walk(syn(), 0, Hook::input, {policy("INPUT", Verdict::drop)})});
  EXPECT_EQ(at(1501).size(), 1U);
  feed({walk(syn().with_id(9), 3'000'000, Hook::input, {policy("INPUT", Verdict::drop)})});
  feed({walk(syn().with_id(10), 7'000'000, Hook::input, {policy("INPUT", Verdict::drop)})});
  EXPECT_TRUE(at(126'000).empty());
  const auto traces = at(127'001);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_EQ(traces[0].new_packets_from, 1U);
  EXPECT_EQ(traces[0].packets.size(), 3U);
  EXPECT_EQ(timeline.next_due_ns(), 0);
}

TEST_F(Reporting, AtTheEndOfTheTraceToo) {
  feed({walk(syn(), 0, Hook::input, {policy("INPUT", Verdict::drop)})});
  EXPECT_EQ(at(1501).size(), 1U);
  feed({walk(syn().with_id(9), 3'000'000, Hook::input, {policy("INPUT", Verdict::drop)})});
  timeline.finish();
  const auto traces = timeline.take();
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_EQ(traces[0].new_packets_from, 1U);
}

TEST_F(Reporting, WhatAnOpenConnectionDidIsNotForgottenWithIt) {
  handshake();
  EXPECT_EQ(at(51).size(), 1U);
  feed({accepted(tcp(client, server, tcp_ack, 2000, server_isn + 1).from("eth0"), 90'000, Hook::input)});
  const auto traces = at(121'000);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_EQ(traces[0].new_packets_from, 3U);
  EXPECT_EQ(traces[0].packets.size(), 4U);
}

TEST_F(Reporting, ARetransmissionThatGetsThroughIs) {
  feed({walk(syn(), 0, Hook::input, {policy("INPUT", Verdict::drop)})});
  EXPECT_EQ(at(1501).size(), 1U);
  feed({accepted(syn().with_id(9), 3'000'000, Hook::input), accepted(syn_ack(), 3'000'100, Hook::output),
        accepted(ack(), 3'000'200, Hook::input)});
  const auto traces = at(3100);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_EQ(traces[0].packets.size(), 4U);
  EXPECT_EQ(traces[0].new_packets_from, 1U);
  EXPECT_EQ(traces[0].retransmissions, 1U);
}

TEST_F(Reporting, EstablishedAndThenClosed) {
  handshake();
  auto traces = at(51);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].progress.established);
  EXPECT_FALSE(traces[0].final);
  close();
  last_ack(200'200);
  EXPECT_TRUE(at(249).empty());
  traces = at(251);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_TRUE(traces[0].final);
  EXPECT_EQ(traces[0].packets.size(), 6U);
  EXPECT_EQ(traces[0].new_packets_from, 3U);
}

TEST_F(Reporting, TheLastAckMayTakeARoundTrip) {
  handshake();
  EXPECT_EQ(at(51).size(), 1U);
  close();
  EXPECT_TRUE(at(400).empty());
  last_ack(410'000);
  EXPECT_TRUE(at(459).empty());
  EXPECT_EQ(at(461).size(), 1U);
}

TEST_F(Reporting, ALastAckThatIsNeverSeen) {
  handshake();
  EXPECT_EQ(at(51).size(), 1U);
  close();
  EXPECT_TRUE(at(1700).empty());
  EXPECT_EQ(at(1701).size(), 1U);
}

TEST_F(Reporting, DataDoesNotPutOffTheReportOfTheHandshake) {
  handshake();
  for (int i = 0; i < 8; ++i)
    feed(
        {accepted(tcp(client, server, tcp_ack, 2000U + static_cast<unsigned>(i), server_isn + 1).from("eth0"),
                  10'000 + i * 10'000, Hook::input)});
  EXPECT_EQ(at(52).size(), 1U);
}

TEST_F(Reporting, APacketOnItsWayIsToldWhenItHasArrived) {
  handshake();
  const Skb data = tcp(client, server, tcp_ack, isn + 1, server_isn + 1).from("eth0");
  feed({accepted(data, 49'000, Hook::prerouting), accepted(data, 52'000, Hook::input)});
  auto traces = at(51);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_EQ(traces[0].packets.size(), 3U);
  EXPECT_EQ(traces[0].connection.packets.size(), 3U);
  timeline.finish();
  traces = timeline.take();
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_EQ(traces[0].new_packets_from, 3U);
  ASSERT_EQ(traces[0].packets.size(), 4U);
  EXPECT_EQ(traces[0].packets[3].steps.size(), 3U);
}

// The end comes at once: the last packet of the handshake has walks before it.
TEST_F(Reporting, NeitherIsTheHandshakesLastBeforeItHasArrived) {
  const Skb fin = tcp(client, server, tcp_fin | tcp_ack, isn + 1, server_isn + 1).from("eth0");
  feed({accepted(syn(), 0, Hook::input), accepted(syn_ack().to("eth0"), 9, Hook::output),
        accepted(ack(), 400, Hook::prerouting), accepted(fin, 500, Hook::prerouting),
        accepted(ack(), 600, Hook::input), accepted(fin, 700, Hook::input)});
  timeline.finish();
  const auto traces = timeline.take();
  ASSERT_EQ(traces.size(), 2U);
  EXPECT_TRUE(traces[0].progress.established);
  EXPECT_EQ(traces[0].packets.size(), 2U);
  EXPECT_EQ(traces[1].new_packets_from, 2U);
  ASSERT_EQ(traces[1].packets.size(), 4U);
  EXPECT_EQ(traces[1].packets[2].steps.size(), 3U);
}

TEST_F(Reporting, NorIsWhatIsKnownOfIt) {
  handshake();
  const Skb data = tcp(server, client, tcp_ack, server_isn + 1, isn + 1).made_locally();
  const Skb too_big = icmp_about(data, 3, 4).from("eth0");
  feed({accepted(too_big, 49'000, Hook::prerouting), accepted(too_big, 52'000, Hook::input)});
  auto traces = at(51);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].icmp_errors.empty());
  timeline.finish();
  traces = timeline.take();
  ASSERT_EQ(traces.size(), 1U);
  ASSERT_EQ(traces[0].icmp_errors.size(), 1U);
  EXPECT_EQ(traces[0].icmp_errors[0].packet, traces[0].packets.back().id);
}

// That the server's socket is established tells that the ACK has arrived.
TEST_F(Reporting, AShortConnectionTwiceToo) {
  feed({accepted(syn(), 0, Hook::input), accepted(syn_ack().to("eth0"), 9, Hook::output),
        accepted(ack(), 400, Hook::input), socket(server, client, 410, state(3, 1)),
        accepted(tcp(client, server, tcp_fin | tcp_ack, isn + 1, server_isn + 1).from("eth0"), 500,
                 Hook::input),
        accepted(tcp(server, client, tcp_fin | tcp_ack, server_isn + 1, isn + 2).to("eth0"), 600,
                 Hook::output)});
  timeline.finish();
  const auto traces = timeline.take();
  ASSERT_EQ(traces.size(), 2U);
  EXPECT_FALSE(traces[0].again);
  EXPECT_EQ(traces[0].packets.size(), 3U);
  EXPECT_TRUE(traces[1].again);
  EXPECT_EQ(traces[1].new_packets_from, 3U);
  EXPECT_EQ(traces[1].packets.size(), 5U);
}

TEST_F(Reporting, ADroppedFinDoesNotClose) {
  handshake();
  EXPECT_EQ(at(51).size(), 1U);
  feed({walk(tcp(client, server, tcp_fin | tcp_ack, isn + 1, server_isn + 1).from("eth0"), 200'000,
             Hook::input, {policy("INPUT", Verdict::drop)}),
        accepted(tcp(server, client, tcp_fin | tcp_ack, server_isn + 1, isn + 1).to("eth0"), 200'100,
                 Hook::output)});
  const auto traces = at(260);
  EXPECT_TRUE(traces.empty());
}

TEST_F(Reporting, BothSocketsClosed) {
  feed({socket(client, server, 0, state(2, 1, 0, 0x11)), socket(server, client, 20, state(3, 1, 0, 0x22))});
  EXPECT_EQ(at(60).size(), 1U);
  feed({socket(client, server, 100'000, state(5, 7, 0, 0x11)),
        socket(server, client, 100'200, state(9, 7, 0, 0x22))});
  const auto traces = at(160);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].final);
}

TEST_F(Reporting, ResetAfterEstablishment) {
  handshake();
  EXPECT_EQ(at(51).size(), 1U);
  feed({accepted(tcp(client, server, tcp_rst, isn + 1).from("eth0"), 300'000, Hook::input)});
  EXPECT_EQ(at(351).size(), 1U);
}

TEST_F(Reporting, TheClientGivingUpIsEndEnough) {
  feed({walk(syn(), 0, Hook::output, {rule("OUTPUT", 1, Verdict::drop)}),
        socket(client, server, 100'000, state(2, 7))});
  const auto traces = at(151);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].final);
}

TEST_F(Reporting, AnOpenConnectionAtTheEndOfTheTrace) {
  handshake();
  timeline.finish();
  ASSERT_EQ(timeline.take().size(), 1U);
}

TEST_F(Reporting, AtTheEndOnlyWhatHasNews) {
  handshake();
  EXPECT_EQ(at(51).size(), 1U);
  timeline.finish();
  EXPECT_TRUE(timeline.take().empty());
}

TEST_F(Reporting, AtTheEndAgainWithItsNewPackets) {
  handshake();
  EXPECT_EQ(at(51).size(), 1U);
  feed({accepted(tcp(client, server, tcp_ack, 2000, server_isn + 1).from("eth0"), 90'000, Hook::input)});
  timeline.finish();
  const auto traces = timeline.take();
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_EQ(traces[0].new_packets_from, 3U);
}

TEST_F(Reporting, FromMidStreamOnlyAtTheEnd) {
  feed({accepted(tcp(client, server, tcp_ack, 2000, 7).from("eth0"), 0, Hook::input)});
  EXPECT_TRUE(at(100'000).empty());
  timeline.finish();
  EXPECT_EQ(timeline.take().size(), 1U);
}

TEST_F(Reporting, MidStreamDropsAreReportedWhenNothingGetsThrough) {
  feed({walk(tcp(client, server, tcp_ack, 2000, 7).from("eth0"), 0, Hook::input,
             {rule("INPUT", 1, Verdict::drop)})});
  EXPECT_TRUE(at(1000).empty());
  const auto traces = at(1501);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].progress.stalled);
}

TEST_F(Reporting, OneLostSegmentIsNoNews) {
  handshake();
  EXPECT_EQ(at(51).size(), 1U);
  const Skb data = tcp(client, server, tcp_ack, 2000, server_isn + 1).from("eth0");
  feed({walk(data, 100'000, Hook::input, {rule("INPUT", 1, Verdict::drop)}),
        accepted(data.with_id(2), 300'000, Hook::input)});
  EXPECT_TRUE(at(5000).empty());
}

TEST_F(Reporting, SilentConnectionsAreForgotten) {
  handshake();
  EXPECT_EQ(at(51).size(), 1U);
  EXPECT_TRUE(at(121'000).empty());
  EXPECT_EQ(timeline.next_due_ns(), 0);
  timeline.finish();
  EXPECT_TRUE(timeline.take().empty());
}

TEST_F(Reporting, NextDue) {
  EXPECT_EQ(timeline.next_due_ns(), 0);
  feed({walk(syn(), 0, Hook::input, {policy("INPUT", Verdict::drop)})});
  std::int64_t due = timeline.next_due_ns();  // out of the reorder buffer first
  EXPECT_LE(due, start_ns + defaults.reorder_ns + 1);
  timeline.advance(due);
  due = timeline.next_due_ns();
  EXPECT_EQ(due, start_ns + defaults.unanswered_ns + defaults.reorder_ns);
  timeline.advance(due);
  EXPECT_EQ(timeline.take().size(), 1U);
}

TEST_F(Reporting, TakenInTheOrderOfTheirStart) {
  const At other{"10.0.0.8", 40000};
  feed({walk(tcp(other, server, tcp_syn, 3).from("eth0"), 0, Hook::input, {policy("INPUT", Verdict::drop)}),
        accepted(syn(), 5, Hook::input), stack_reset(syn(), 6)});
  timeline.finish();
  const auto traces = timeline.take();
  ASSERT_EQ(traces.size(), 2U);
  EXPECT_EQ(traces[0].connection.client.port, 40000);
}

TEST(Reordering, TheOuterWalkComesFirstThoughItEndsLast) {
  const ConnectionTrace t = only(reject_in_user_chain());
  const auto& steps = t.packets[0].steps;
  EXPECT_EQ(steps[steps.size() - 2].kind, StepKind::reject);
}

TEST(Bounds, TheOldestGoesFirstAndIsCounted) {
  TimelineSettings settings;
  settings.max_connections = 10;
  Timeline timeline(settings);
  for (std::uint16_t i = 0; i < 25; ++i)
    timeline.add(
        accepted(tcp({"10.0.0.9", static_cast<std::uint16_t>(2000 + i)}, server, tcp_syn, i).from("eth0"),
                 i * 10LL, Hook::input));
  timeline.finish();
  EXPECT_EQ(timeline.evicted(), 15U);
  EXPECT_EQ(timeline.take().size(), 25U);  // none is lost: they are only reported early
}

TEST(Bounds, PacketsThatWereReportedAreLetGoOfBeforeConnections) {
  TimelineSettings settings;
  settings.max_steps = 8;
  Timeline timeline(settings);
  const auto feed = [&](const Events& events) {
    for (const Observation& o : events) timeline.add(o);
  };
  feed({accepted(syn(), 0, Hook::input), accepted(syn_ack().to("eth0"), 9, Hook::output),
        accepted(ack(), 400, Hook::input)});
  timeline.advance(start_ns + s);
  ASSERT_EQ(timeline.take().size(), 1U);
  for (std::uint16_t i = 0; i < 9; ++i)
    feed({accepted(tcp({"10.0.0.9", static_cast<std::uint16_t>(2000 + i)}, server, tcp_syn, i).from("eth0"),
                   1'000'000 + i, Hook::input)});
  timeline.advance(start_ns + 2 * s);
  EXPECT_EQ(timeline.take().size(), timeline.evicted());
  feed({accepted(tcp(client, server, tcp_rst, isn + 1).from("eth0"), 2'000'000, Hook::input)});
  timeline.finish();
  const auto traces = timeline.take();
  ASSERT_FALSE(traces.empty());
  EXPECT_TRUE(traces[0].again);  // it is still known to have been established
  EXPECT_TRUE(traces[0].progress.established);
  EXPECT_EQ(traces[0].packets.size(), 1U);
}

TEST(Bounds, PacketsOfOneConnection) {
  TimelineSettings settings;
  settings.max_packets = 5;
  Events events;
  for (unsigned i = 0; i < 9; ++i)
    events.push_back(accepted(tcp(client, server, tcp_ack, i, 1).from("eth0"), i, Hook::input));
  const auto traces = run(events, settings);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_EQ(traces[0].packets.size(), 5U);
  EXPECT_EQ(traces[0].packets_omitted, 4U);
}

}  // namespace
}  // namespace pathtrace
