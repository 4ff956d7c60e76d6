// SPDX-License-Identifier: GPL-2.0
// Which packets are one connection, and who is its client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "timeline/stream.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)

TEST(Connections, BothDirectionsAreOne) {
  const ConnectionTrace t =
      only({accepted(syn(), 0, Hook::input), accepted(syn_ack().to("eth0"), 9, Hook::output),
            accepted(ack(), 400, Hook::input)});
  ASSERT_EQ(t.packets.size(), 3U);
  EXPECT_EQ(t.packets[1].direction, Direction::reply);
  EXPECT_TRUE(t.progress.established);
}

TEST(Connections, WhatOnlyJoinsBeginsNone) {
  Observation reset = stack_reset(syn(), 1);
  reset.joins_only = true;
  EXPECT_TRUE(run({reset}).empty());
  EXPECT_EQ(only({accepted(syn(), 0, Hook::input), reset}).answers.size(), 1U);
}

TEST(Connections, AnotherSequenceNumberIsAnotherAttempt) {
  const auto traces = run({accepted(syn(), 0, Hook::input), stack_reset(syn(), 1),
                           accepted(tcp(client, server, tcp_syn, 5000).from("eth0"), 900, Hook::input)});
  ASSERT_EQ(traces.size(), 2U);
  EXPECT_EQ(traces[0].answers.size(), 1U);
  EXPECT_TRUE(traces[1].answers.empty());
}

TEST(Connections, TheSameSequenceNumberIsTheSameAttempt) {
  const ConnectionTrace t =
      only({accepted(syn(), 0, Hook::input), accepted(syn().at(0x7700), 400'000, Hook::input),
            accepted(syn().at(0x9900), 900'000, Hook::input)});
  EXPECT_EQ(t.packets.size(), 3U);
  EXPECT_EQ(t.retransmissions, 2U);
}

TEST(Connections, IsolatedNamespacesWithOneTupleAreApart) {
  const Skb a = syn().in(router);
  const Skb b = tcp(client, server, tcp_syn, 800'000'000).from("eth0").in(server_ns);
  const Skb b_answer =
      tcp(server, client, tcp_rst | tcp_ack, 0, 800'000'001).made_by(Origin::stack, b).in(server_ns);
  const auto traces = run({accepted(a, 0, Hook::input), accepted(b, 1, Hook::input), stack_reset(b, 2),
                           accepted(b_answer.to("eth0"), 3, Hook::output), at_listener(a, 4)});
  ASSERT_EQ(traces.size(), 2U);
  EXPECT_TRUE(traces[0].answers.empty());
  EXPECT_EQ(traces[0].listeners.size(), 1U);
  EXPECT_EQ(traces[1].answers.size(), 1U);
  EXPECT_EQ(traces[1].packets.size(), 2U);
}

TEST(Connections, SocketsOfIsolatedNamespacesAreApart) {
  const Skb b = tcp(client, server, tcp_syn, 800'000'000).from("eth0").in(server_ns);
  const auto traces = run({accepted(syn().in(router), 0, Hook::input), accepted(b, 1, Hook::input),
                           socket(server, client, 5, state(3, 1), router)});
  ASSERT_EQ(traces.size(), 2U);
  EXPECT_EQ(traces[0].sockets.size(), 1U);
  EXPECT_TRUE(traces[1].sockets.empty());
}

TEST(Connections, WithoutASynTheSynAckTells) {
  const ConnectionTrace t = only({accepted(syn_ack().to("eth0"), 0, Hook::output)});
  EXPECT_EQ(t.connection.client.port, 51514);
}

TEST(Connections, WithoutAHandshakeTheHigherPortIsTheClient) {
  const ConnectionTrace t = only({accepted(tcp(server, client, tcp_ack, 5, 6), 0, Hook::output)});
  EXPECT_EQ(t.connection.client.port, 51514);
  EXPECT_EQ(t.packets[0].direction, Direction::reply);
}

TEST(Connections, AReversedMatchTellsTheClientLater) {
  const At low{"10.0.0.9", 1024};
  const At high{"10.0.0.1", 50000};  // --dport 50000
  const ConnectionTrace t = only({accepted(tcp(low, high, tcp_ack, 5, 6), 0, Hook::input),
                                  accepted(tcp(high, low, tcp_ack, 6, 7).reversed(), 9, Hook::output)});
  EXPECT_EQ(t.connection.client.port, 1024);
  EXPECT_EQ(t.packets[0].direction, Direction::original);
}

TEST(Connections, ASocketThatOnlyItToldOfTakesItsSyn) {
  const ConnectionTrace t =
      only({socket(client, server, 0, socket_event(SocketObservation::What::retransmit, 2)),
            accepted(syn(), 1, Hook::output)});
  EXPECT_EQ(t.packets.size(), 1U);
  EXPECT_EQ(t.sockets.size(), 1U);
  EXPECT_TRUE(t.sockets[0].at_client);
}

TEST(Connections, DatagramsByTupleUntilTheyAreSilent) {
  const At resolver{"10.0.0.1", 53};
  const Skb query = udp(client, resolver, 0x100);
  const Skb reply = udp(resolver, client, 0x200);
  const auto traces = run({accepted(query, 0, Hook::input), accepted(reply, 500, Hook::output),
                           accepted(query, 40'000'000, Hook::input)});
  ASSERT_EQ(traces.size(), 2U);
  EXPECT_EQ(traces[0].packets.size(), 2U);
  EXPECT_TRUE(traces[0].progress.established);
  EXPECT_FALSE(traces[1].progress.established);
}

TEST(Connections, Ipv6) {
  const ConnectionTrace t = only({accepted(tcp(client6, server6, tcp_syn, 9).from("eth0"), 0, Hook::input)});
  EXPECT_EQ(t.connection.client, (Endpoint{"fd01::2", 51514}));
  EXPECT_EQ(t.connection.protocol, "tcp");
}

TEST(Connections, IcmpEchoHasNoPorts) {
  Skb ping;
  ping.o.flow = flow({"10.0.0.9"}, {"10.0.0.1"}, protocol_icmp);
  ping.o.flow.icmp_type = 8;
  const ConnectionTrace t = only({accepted(ping.at(0x100), 0, Hook::input)});
  EXPECT_EQ(t.connection.protocol, "icmp");
  EXPECT_FALSE(t.connection.client.port);
  EXPECT_FALSE(t.packets[0].flags);
}

}  // namespace
}  // namespace pathtrace
