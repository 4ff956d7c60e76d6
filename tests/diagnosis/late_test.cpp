// SPDX-License-Identifier: GPL-2.0
// What comes after a connection was reported for good doesn't change what was concluded.
#include <gtest/gtest.h>

#include <vector>

#include "diagnosis/hosts.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)

// The connection as it was reported last, after `events`, 20 s of silence and `late`.
ConnectionTrace concluded(const Events& events, const Events& late) {
  Timeline timeline;
  for (const Observation& o : events) timeline.add(o);
  timeline.advance(start_ns + 20 * s);
  (void)timeline.take();
  for (const Observation& o : late) timeline.add(o);
  timeline.finish();
  std::vector<ConnectionTrace> traces = timeline.take();
  EXPECT_EQ(traces.size(), 1U);
  diagnose(traces.at(0), {});
  return traces.at(0);
}

constexpr std::int64_t later = 25'000'000;

TEST(Late, AResetFromOutsideAfterTheEnd) {
  const ConnectionTrace trace = concluded(
      closed_in_order(), {accepted(tcp(client, server, tcp_rst, isn + 2).from("eth0"), later, Hook::input)});
  EXPECT_EQ(trace.connection.outcome, ConnectionOutcome::closed);
  EXPECT_EQ(trace.packets.back().outcome, PacketOutcome::delivered);
}

TEST(Late, AnAckThatTheStackAnswersWithAReset) {
  const Skb late = tcp(client, server, tcp_ack, isn + 2, server_isn + 2).from("eth0").with_id(5);
  const ConnectionTrace trace = concluded(
      closed_in_order(), {accepted(late, later, Hook::input), stack_reset(late, later + 1),
                          accepted(rst_to(late, Origin::stack).to("eth0"), later + 3, Hook::output)});
  EXPECT_EQ(trace.connection.outcome, ConnectionOutcome::closed);
}

TEST(Late, ALostResetAfterARefusal) {
  const Skb late = ack().at(0x5500);
  const ConnectionTrace trace =
      concluded(reject_in_user_chain(), {accepted(late, later, Hook::input), stack_reset(late, later + 1),
                                         walk(rst_to(late, Origin::stack).to("eth0"), later + 3, Hook::output,
                                              {rule("OUTPUT", 1, Verdict::drop)})});
  EXPECT_EQ(trace.connection.outcome, ConnectionOutcome::refused);
  EXPECT_EQ(trace.connection.cause.kind, CauseKind::firewall_reject);
  EXPECT_EQ(trace.packets.back().outcome, PacketOutcome::dropped);
}

}  // namespace
}  // namespace pathtrace
