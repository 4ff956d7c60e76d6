// SPDX-License-Identifier: GPL-2.0
// What comes after a connection was reported for good: it is reported, not for each packet, and decides
// nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "timeline/stream.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)

struct Late : testing::Test {
  Timeline timeline;

  void feed(const Events& events) {
    for (const Observation& o : events) timeline.add(o);
  }
  std::vector<ConnectionTrace> at(std::int64_t millis) {
    timeline.advance(start_ns + millis * ms + defaults.reorder_ns);
    return timeline.take();
  }
  // Established, and closed by both ends; the last packet comes at 201 ms.
  void closed() {
    feed({accepted(syn(), 0, Hook::input), accepted(syn_ack().to("eth0"), 9, Hook::output),
          accepted(ack(), 400, Hook::input), accepted(fin(), 200'000, Hook::input),
          accepted(tcp(server, client, tcp_fin | tcp_ack, server_isn + 1, isn + 2).to("eth0"), 200'100,
                   Hook::output),
          accepted(last_ack(), 201'000, Hook::input)});
  }
  static Skb fin() { return tcp(client, server, tcp_fin | tcp_ack, isn + 1, server_isn + 1).from("eth0"); }
  static Skb last_ack() { return tcp(client, server, tcp_ack, isn + 2, server_isn + 2).from("eth0"); }
};

TEST_F(Late, ASegmentAfterARefusal) {  // differential --backend legacy --seed 3 --churn, case 1
  feed({accepted(syn(), 0, Hook::input), stack_reset(syn(), 1),
        walk(rst_to(syn(), Origin::stack).to("eth0"), 5, Hook::output, {rule("OUTPUT", 1, Verdict::drop)})});
  auto traces = at(60);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].final);
  EXPECT_FALSE(traces[0].decided);

  const Skb segment = ack().at(0x5500);
  feed({accepted(segment, 90'000, Hook::input), stack_reset(segment, 90'001),
        walk(rst_to(segment, Origin::stack).to("eth0"), 90'005, Hook::output,
             {rule("OUTPUT", 1, Verdict::drop)})});
  EXPECT_TRUE(at(140).empty());
  traces = at(141);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_TRUE(traces[0].final);
  ASSERT_EQ(traces[0].packets.size(), 4U);
  EXPECT_EQ(traces[0].new_packets_from, 2U);
  EXPECT_EQ(traces[0].packets[3].origin, Origin::stack);
  EXPECT_EQ(traces[0].answers.size(), 2U);
  EXPECT_EQ(traces[0].connection.ended_ns, start_ns + 5 * us);
  EXPECT_TRUE(at(100'000).empty());
}

TEST_F(Late, DecidesNothing) {
  feed(reject_in_user_chain());
  const auto first = at(60);
  ASSERT_EQ(first.size(), 1U);
  const Skb segment = ack().at(0x5500);
  feed({accepted(segment, 90'000, Hook::input), stack_reset(segment, 90'001),
        dropped(segment, 90'002, "NO_SOCKET")});
  const auto traces = at(200);
  ASSERT_EQ(traces.size(), 1U);
  ASSERT_TRUE(traces[0].decided);
  const ConnectionTrace before = as_decided(traces[0]);
  EXPECT_EQ(before.packets, first[0].packets);
  EXPECT_EQ(before.answers.size(), first[0].answers.size());
  EXPECT_EQ(before.drops.size(), first[0].drops.size());
  EXPECT_EQ(before.connection.ended_ns, first[0].connection.ended_ns);
}

TEST_F(Late, WithoutADecisionAllOfItCounts) {
  const ConnectionTrace trace = only(reject_in_user_chain());
  EXPECT_EQ(as_decided(trace).packets, trace.packets);
}

TEST_F(Late, AckOfTimeWait) {
  closed();
  EXPECT_EQ(at(252).size(), 2U);
  feed({accepted(last_ack().with_id(7), 300'000, Hook::input),
        accepted(last_ack().with_id(8), 310'000, Hook::input)});
  const auto traces = at(361);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_EQ(traces[0].packets.size(), 2U);
  EXPECT_EQ(traces[0].new_packets_from, 0U);
  EXPECT_EQ(traces[0].connection.ended_ns, start_ns + 201 * ms);
  EXPECT_TRUE(at(1000).empty());
}

TEST_F(Late, WhatIsMissingIsStillMissing) {
  const Skb lost = syn().at(0x1100);
  feed({walk(lost, 0, Hook::input, {unnamed("lost")}), accepted(syn_ack().to("eth0"), 9, Hook::output),
        accepted(ack(), 400, Hook::input), accepted(fin(), 500, Hook::input),
        accepted(tcp(server, client, tcp_fin | tcp_ack, server_isn + 1, isn + 2).to("eth0"), 600,
                 Hook::output),
        accepted(last_ack(), 700, Hook::input)});
  EXPECT_EQ(at(100).size(), 2U);
  feed({accepted(last_ack().with_id(7), 300'000, Hook::input)});
  const auto traces = at(400);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_EQ(as_decided(traces[0]).packets.at(0).steps.back().missing, "lost");
}

TEST_F(Late, AResetAfterTheEndIsNone) {
  closed();
  EXPECT_EQ(at(252).size(), 2U);
  feed({accepted(tcp(client, server, tcp_rst, isn + 2).from("eth0"), 300'000, Hook::input)});
  const auto traces = at(400);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_FALSE(traces[0].progress.reset);
  const Progress before = as_decided(traces[0]).progress;
  EXPECT_TRUE(before.fin_client && before.fin_server);
}

TEST_F(Late, ADroppedFinDoesNotOpenItAgain) {
  closed();
  EXPECT_EQ(at(252).size(), 2U);
  feed({walk(fin().with_id(3), 300'000, Hook::input, {rule("INPUT", 1, Verdict::drop)})});
  const auto traces = at(400);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].final);
  EXPECT_TRUE(traces[0].connection.ended_ns);
}

TEST_F(Late, WalksOfAPacketThatWasReported) {
  const Skb queued = syn().to("eth1");
  feed({walk(queued, 0, Hook::forward, {rule("FORWARD", 1, Verdict::queue)}),
        socket(client, server, 10, state(2, 7))});  // the client gave up
  EXPECT_EQ(at(61).size(), 1U);
  feed({accepted(queued, 2'000'000, Hook::postrouting)});
  const auto traces = at(2100);
  ASSERT_EQ(traces.size(), 1U);
  ASSERT_EQ(traces[0].packets.size(), 2U);
  EXPECT_EQ(traces[0].packets[1].steps.at(0).hook, Hook::postrouting);
}

TEST_F(Late, NewEvidenceCounts) {
  feed({accepted(syn(), 0, Hook::input), stack_reset(syn(), 1)});
  EXPECT_EQ(at(60).size(), 1U);
  feed({accepted(syn().with_id(2), 300'000, Hook::input),
        accepted(syn_ack().to("eth0"), 300'010, Hook::output), accepted(ack(), 300'400, Hook::input)});
  const auto traces = at(360);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_FALSE(traces[0].final);
  EXPECT_FALSE(traces[0].decided);
  EXPECT_TRUE(traces[0].progress.established);
}

// The stack frees a SYN after it has answered it; in between, a virtual CPU may stand still.
TEST_F(Late, TheEndOfAPacketThatWasReported) {
  const Skb repeated = syn().with_id(2);
  feed({accepted(syn(), 0, Hook::input), stack_reset(syn(), 1)});
  EXPECT_EQ(at(60).size(), 1U);
  feed({dropped(syn(), 66'000, "NO_SOCKET")});
  EXPECT_TRUE(at(400).empty());

  feed({accepted(repeated, 500'000, Hook::input), stack_reset(repeated, 500'001),
        dropped(repeated, 500'002, "NO_SOCKET")});
  const auto traces = at(1000);
  ASSERT_EQ(traces.size(), 1U);
  ASSERT_EQ(traces[0].packets.size(), 2U);
  EXPECT_EQ(traces[0].packets[1].steps.back().reason, "NO_SOCKET");
}

TEST_F(Late, APacketHasOneEnd) {
  feed({accepted(syn(), 0, Hook::input), stack_reset(syn(), 1)});
  EXPECT_EQ(at(60).size(), 1U);
  feed({dropped(syn(), 66'000, "NO_SOCKET"), dropped(syn(), 300'000, "SOCKET_FILTER")});
  const auto traces = at(400);
  ASSERT_EQ(traces.size(), 1U);
  ASSERT_EQ(traces[0].packets.size(), 2U);
  EXPECT_EQ(traces[0].packets[1].steps.back().reason, "SOCKET_FILTER");
}

TEST_F(Late, TheEndOfTheResetItself) {
  const Skb reset = tcp(server, client, tcp_rst | tcp_ack, 0, isn + 1).from("eth0");
  feed({accepted(syn().to("eth0"), 0, Hook::output), accepted(reset, 100, Hook::input)});
  EXPECT_EQ(at(60).size(), 1U);
  feed({dropped(reset, 66'000, "TCP_RESET")});
  EXPECT_TRUE(at(400).empty());
}

TEST_F(Late, TheEndOfAPacketThatHadNone) {
  feed({accepted(syn(), 0, Hook::input), socket(client, server, 10, state(2, 7))});  // the client gave up
  EXPECT_EQ(at(61).size(), 1U);
  feed({dropped(syn(), 66'000, "SOCKET_FILTER")});
  const auto traces = at(400);
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_EQ(traces[0].packets.back().steps.back().reason, "SOCKET_FILTER");
}

// A client that goes on sending to a closed port: ten datagrams a second for ten minutes.
TEST_F(Late, DatagramsAreReportedEverLessOften) {
  constexpr int count = 6000;
  std::size_t reports = 0;
  std::size_t packets = 0;
  std::size_t most = 0;
  std::int64_t last_ns = 0;
  const auto take = [&](const std::vector<ConnectionTrace>& traces, std::int64_t now_ns) {
    for (const ConnectionTrace& t : traces) {
      EXPECT_EQ(t.connection.id, 1U);
      EXPECT_EQ(t.packets_omitted, 0U);
      EXPECT_GE(now_ns - last_ns, defaults.settle_ns);
      last_ns = now_ns;
      packets += t.packets.size() - t.new_packets_from;
      most = std::max(most, t.packets.size());
      EXPECT_EQ(as_decided(t).packets.size(), 1U);
      ++reports;
    }
  };
  for (int i = 0; i < count; ++i) {
    const Skb datagram = udp(client, server, 0x100 + static_cast<std::uint64_t>(i) * 64);
    feed({walk(datagram, i * 100'000LL, Hook::input, {rule("INPUT", 1, Verdict::reject)}),
          rejected(datagram, i * 100'000LL + 2, "icmp-port-unreachable")});
    take(at(i * 100LL), i * (100 * ms));
  }
  timeline.finish();
  take(timeline.take(), count * (100 * ms));
  EXPECT_EQ(packets, std::size_t{count});
  EXPECT_LT(reports, 40U);
  EXPECT_LT(most, 400U);
}

TEST_F(Late, NothingIsLostAtTheEndOfTheTrace) {
  feed(reject_in_user_chain());
  EXPECT_EQ(at(60).size(), 1U);
  feed({accepted(ack().at(0x5500), 90'000, Hook::input)});
  timeline.finish();
  const auto traces = timeline.take();
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_TRUE(traces[0].decided);
}

TEST_F(Late, SocketsAloneAreNoReason) {
  closed();
  EXPECT_EQ(at(252).size(), 2U);
  feed({socket(server, client, 300'000, state(9, 7))});
  EXPECT_TRUE(at(1000).empty());
  timeline.finish();
  EXPECT_TRUE(timeline.take().empty());
}

TEST(LateBounds, WhatWasDecidedIsForgottenBeyondThem) {
  TimelineSettings settings;
  settings.max_decided_steps = 20;
  Timeline timeline(settings);
  const auto refuse = [&](std::uint16_t port, std::int64_t micros) {
    const Skb s = tcp({"10.0.0.9", port}, server, tcp_syn, port).from("eth0");
    timeline.add(accepted(s, micros, Hook::input));
    timeline.add(stack_reset(s, micros + 1));
  };
  for (std::uint16_t i = 0; i < 50; ++i) refuse(static_cast<std::uint16_t>(2000 + i), i * 100'000LL);
  timeline.advance(start_ns + 10 * s);
  EXPECT_EQ(timeline.take().size(), 50U);
  // the newest is known, the oldest begins anew
  for (const At& peer : {At{"10.0.0.9", 2049}, At{"10.0.0.9", 2000}})
    timeline.add(
        accepted(tcp(peer, server, tcp_ack, peer.port + 1U, 1).from("eth0"), 9'900'000, Hook::input));
  timeline.finish();
  const auto traces = timeline.take();
  ASSERT_EQ(traces.size(), 2U);
  EXPECT_TRUE(traces[0].again);
  EXPECT_EQ(traces[0].packets.size(), 2U);
  EXPECT_FALSE(traces[1].again);
  EXPECT_EQ(timeline.evicted(), 0U);
}

TEST(LateBounds, OfALongConnectionItsEndsAreKept) {
  Timeline timeline;
  for (unsigned i = 0; i < 500; ++i)
    timeline.add(accepted(tcp(client, server, tcp_ack, 5000 + i, 1).from("eth0"), i * 100LL, Hook::input));
  timeline.add(accepted(tcp(client, server, tcp_rst, 6000).from("eth0"), 60'000, Hook::input));
  timeline.advance(start_ns + s);
  EXPECT_EQ(timeline.take().size(), 1U);
  timeline.add(accepted(tcp(client, server, tcp_ack, 6001, 1).from("eth0"), 2'000'000, Hook::input));
  timeline.finish();
  const auto traces = timeline.take();
  ASSERT_EQ(traces.size(), 1U);
  EXPECT_EQ(traces[0].packets.size(), 65U);
  EXPECT_EQ(traces[0].new_packets_from, 64U);
  EXPECT_EQ(as_decided(traces[0]).packets.back().flags, "R");
}

}  // namespace
}  // namespace pathtrace
