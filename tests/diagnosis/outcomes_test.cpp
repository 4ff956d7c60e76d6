// SPDX-License-Identifier: GPL-2.0
// What becomes of packets.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "diagnosis/hosts.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)

std::vector<PacketOutcome> outcomes(const Events& events) {
  ConnectionTrace trace = only(events);
  diagnose(trace, {});
  std::vector<PacketOutcome> all;
  all.reserve(trace.packets.size());
  for (const Packet& packet : trace.packets) all.push_back(packet.outcome);
  return all;
}

TEST(PacketOutcomes, ByHooksVerdictsAndFacts) {
  EXPECT_EQ(outcomes(reject_in_user_chain()), (std::vector{PacketOutcome::rejected, PacketOutcome::sent}));
  EXPECT_EQ(outcomes(refused_by_stack()), (std::vector{PacketOutcome::dropped, PacketOutcome::sent}));
  EXPECT_EQ(outcomes(dropped_by_input_rule()), (std::vector{PacketOutcome::dropped}));
  EXPECT_EQ(outcomes({accepted(syn().to("eth1"), 0, Hook::forward)}),
            (std::vector{PacketOutcome::forwarded}));
  EXPECT_EQ(outcomes({accepted(syn(), 0, Hook::prerouting)}), (std::vector{PacketOutcome::unknown}));
  EXPECT_EQ(outcomes({at_listener(syn(), 0)}), (std::vector{PacketOutcome::delivered}));
  EXPECT_EQ(outcomes({at_listener(syn(), 0, {2, 1, true})}), (std::vector{PacketOutcome::dropped}));
  EXPECT_EQ(outcomes({dropped(syn(), 0, "IP_RPFILTER")}), (std::vector{PacketOutcome::dropped}));
  EXPECT_EQ(outcomes({walk(syn(), 0, Hook::input, {rule("INPUT", 1, Verdict::queue)})}),
            (std::vector{PacketOutcome::queued}));
}

TEST(PacketOutcomes, WhatCameInAndGoesOutIsForwarded) {
  EXPECT_EQ(outcomes({accepted(syn().to("eth1"), 0, Hook::postrouting)}),
            (std::vector{PacketOutcome::forwarded}));
  EXPECT_EQ(outcomes({accepted(syn_ack().to("eth1"), 0, Hook::postrouting)}),
            (std::vector{PacketOutcome::sent}));
}

TEST(PacketOutcomes, TheSocketThatTakesAResetFreesIt) {
  const Skb rst = tcp(server, client, tcp_rst | tcp_ack, 0, isn + 1).from("eth1");
  EXPECT_EQ(outcomes({accepted(rst, 0, Hook::input), dropped(rst, 2, "TCP_RESET", "tcp_v4_do_rcv")}),
            (std::vector{PacketOutcome::delivered}));
  EXPECT_EQ(outcomes({accepted(rst, 0, Hook::input), dropped(rst, 2, "NETFILTER_DROP")}),
            (std::vector{PacketOutcome::dropped}));
}

TEST(PacketOutcomes, TheReceiverOfAnIcmpErrorFreesIt) {
  const Skb sent = syn().made_locally().to("eth0");
  const auto outcome_of_error = [&sent](const std::string& reason, const std::string& where) {
    const Skb error = icmp_about(sent, 3, 10).from("eth0");
    return outcomes({accepted(sent, 0, Hook::output), accepted(error, 9, Hook::input),
                     dropped(error, 12, reason, where)})
        .back();
  };
  EXPECT_EQ(outcome_of_error("QUEUE_PURGE", "skb_queue_purge_reason"), PacketOutcome::delivered);
  EXPECT_EQ(outcome_of_error("NOT_SPECIFIED", "skb_queue_purge"), PacketOutcome::delivered);
  EXPECT_EQ(outcome_of_error("NOT_SPECIFIED", "icmpv6_rcv"), PacketOutcome::delivered);
  EXPECT_EQ(outcome_of_error("ICMP_CSUM", "icmpv6_rcv"), PacketOutcome::dropped);
  EXPECT_EQ(outcome_of_error("NETFILTER_DROP", "nf_hook_slow"), PacketOutcome::dropped);
}

TEST(PacketOutcomes, WhatASocketDidNotReadIsNotDropped) {
  const auto outcome_of_fin = [](const std::string& where, const Skb& fin) {
    return outcomes({accepted(fin, 0, Hook::input), dropped(fin, 12, "NOT_SPECIFIED", where)}).back();
  };
  const Skb fin = tcp(client, server, tcp_fin | tcp_ack, isn + 1, server_isn + 1).from("eth0");
  EXPECT_EQ(outcome_of_fin("sk_stream_kill_queues", fin), PacketOutcome::delivered);
  EXPECT_EQ(outcome_of_fin("skb_queue_purge_reason", fin), PacketOutcome::delivered);
  EXPECT_EQ(outcome_of_fin("tcp_v4_rcv", fin), PacketOutcome::dropped);
  // packets that wait for a neighbour are purged by the same function: here it is not known to be the socket
  EXPECT_EQ(outcomes({dropped(fin, 12, "QUEUE_PURGE", "skb_queue_purge_reason")}).back(),
            PacketOutcome::dropped);
  EXPECT_EQ(outcomes({dropped(fin, 12, "NOT_SPECIFIED", "sk_stream_kill_queues")}).back(),
            PacketOutcome::delivered);
  const Skb line = syn().made_locally().to("eth0");
  EXPECT_EQ(
      outcomes({accepted(line, 0, Hook::output), dropped(line, 12, "QUEUE_PURGE", "skb_queue_purge_reason")})
          .back(),
      PacketOutcome::dropped);
}

// icmp_rcv() frees it for want of a ping socket; a raw one has got its copy by then. Who sends an echo reply
// was asked.
TEST(PacketOutcomes, AnEchoReplyIsAnAnswerAndNotDropped) {
  Skb reply = udp({"10.0.0.1", 0}, {"10.0.0.9", 0}, 0x7700).from("eth0");
  reply.o.flow.protocol = protocol_icmp;
  reply.o.flow.icmp_type = 0;
  const Connection c = diagnosed({dropped(reply, 0, "NO_SOCKET", "icmp_rcv")});
  EXPECT_EQ(c.client.address, "10.0.0.9");
  EXPECT_EQ(c.outcome, ConnectionOutcome::established);
  EXPECT_EQ(outcomes({dropped(reply, 0, "NO_SOCKET", "icmp_rcv")}).back(), PacketOutcome::delivered);
  EXPECT_EQ(outcomes({dropped(reply, 0, "ICMP_CSUM", "icmp_rcv")}).back(), PacketOutcome::dropped);
}

}  // namespace
}  // namespace pathtrace
