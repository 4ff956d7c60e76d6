// SPDX-License-Identifier: GPL-2.0
// A connection that is reported before its answer had time to come: nothing is concluded from its absence.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "diagnosis/hosts.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Skb sent = syn().to("eth1");

// As it is reported if the trace ends `end` milliseconds after the first event.
Connection at_end(const Events& events, std::int64_t end) {
  auto traces = run(events, {}, start_ns + end * ms);
  diagnose(traces.back(), {});
  return traces.back().connection;
}

// The oldest of two, where there is room for one; the other one comes `later` milliseconds after it.
Connection let_go_of(const Events& events, std::int64_t later) {
  TimelineSettings settings;
  settings.max_connections = 1;
  Timeline timeline(settings);
  for (const Observation& o : events) timeline.add(o);
  timeline.add(
      accepted(tcp({"10.0.0.9", 2000}, server, tcp_syn, 5).from("eth0"), later * 1'000, Hook::input));
  timeline.advance(start_ns + later * ms + s);
  EXPECT_EQ(timeline.evicted(), 1U);
  std::vector<ConnectionTrace> traces = timeline.take();
  diagnose(traces.at(0), {});
  return traces.at(0).connection;
}

TEST(Early, ASynThatWasJustSentIsNoTimeOut) {
  const Connection c = at_end({accepted(sent, 0, Hook::forward)}, 3);
  EXPECT_EQ(c.outcome, ConnectionOutcome::in_progress);
  EXPECT_EQ(c.cause.kind, CauseKind::unknown);
  EXPECT_FALSE(c.error);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.missing, ElementsAre("the trace ended 3 ms after the SYN"));
}

TEST(Early, OneThatWasWaitedForIs) {
  const Connection c = at_end({accepted(sent, 0, Hook::forward)}, 1500);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(Early, OneWhoseClientGaveUpIs) {
  const Connection c =
      at_end({socket(client, server, -9, state(7, 2)), accepted(sent.made_locally(), 0, Hook::output),
              socket(client, server, 200'000, state(2, 7))},
             300);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
}

TEST(Early, ADropIsEvidenceEnough) {
  const Connection c = at_end(dropped_by_input_rule(), 3);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  EXPECT_THAT(c.missing, IsEmpty());
}

TEST(Early, ADatagramToo) {
  const Skb datagram = udp({"10.0.0.9", 5000}, {"10.0.0.1", 53}, 0x7000).from("eth0").to("eth1");
  const Connection c = at_end({accepted(datagram, 0, Hook::forward)}, 0);
  EXPECT_EQ(c.outcome, ConnectionOutcome::in_progress);
  EXPECT_THAT(c.missing, ElementsAre("the trace ended less than 1 ms after the packet"));
}

TEST(Early, WithoutTheClientsAck) {
  const Events events{accepted(syn(), 0, Hook::input), accepted(syn_ack().to("eth0"), 9, Hook::output)};
  EXPECT_THAT(at_end(events, 40).missing, ElementsAre("the trace ended 40 ms after the SYN"));
  EXPECT_EQ(at_end(events, 4000).cause.kind, CauseKind::no_reply);
}

TEST(Early, ForWantOfRoom) {
  const Connection c = let_go_of({accepted(sent, 0, Hook::forward)}, 7);
  EXPECT_EQ(c.outcome, ConnectionOutcome::in_progress);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.missing,
              ElementsAre("what came later: it was let go of 7 ms after it began, for want of room"));
}

TEST(Early, ForWantOfRoomWhateverItsOutcome) {
  const Connection c = let_go_of(dropped_by_input_rule(), 12);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.missing,
              ElementsAre("what came later: it was let go of 12 ms after it began, for want of room"));
}

TEST(Early, NothingIsExactOfWhichNothingIsKnown) {
  const Connection c = at_end({accepted(syn(), 0, Hook::input)}, 60'000);
  EXPECT_EQ(c.outcome, ConnectionOutcome::in_progress);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.missing, ElementsAre("why there is no answer"));
}

// A module was loaded 100 ms before the connection began, and programs were attached 40 ms after that.
Facts watched_late() {
  Facts facts;
  facts.gaps = {{"rules of iptables-legacy", start_ns - 100 * ms, start_ns + 40 * ms}};
  return facts;
}

TEST(WatchedLate, IsMissingWhereACauseIsFoundByElimination) {
  const Events gone{accepted(sent, 0, Hook::forward)};
  EXPECT_THAT(diagnosed(gone, watched_late()).missing,
              ElementsAre("rules of iptables-legacy were not watched until 40 ms after it began"));
  EXPECT_THAT(diagnosed(dropped_by_input_rule(), watched_late()).missing, IsEmpty());
}

// The kernel skipped a program while it lasted.
TEST(LeftOut, IsMissingWhereACauseIsFoundByElimination) {
  const auto missing = [](const Events& events, std::uint64_t times) {
    Facts facts;
    facts.left_out = [times](std::int64_t from_ns, std::int64_t to_ns) {
      EXPECT_EQ(from_ns, start_ns);
      EXPECT_GT(to_ns, from_ns);
      return times;
    };
    return diagnosed(events, facts).missing;
  };
  const Events gone{accepted(sent, 0, Hook::forward)};
  EXPECT_THAT(
      missing(gone, 2),
      ElementsAre(
          "the kernel left out a program 2 times while it lasted, as an interrupt came while it ran"));
  EXPECT_THAT(
      missing(gone, 1),
      ElementsAre("the kernel left out a program once while it lasted, as an interrupt came while it ran"));
  EXPECT_THAT(missing(gone, 0), IsEmpty());
  EXPECT_THAT(missing(dropped_by_input_rule(), 2), IsEmpty());
}

TEST(WatchedLate, IsNotMissingInWhatBeganAfter) {
  EXPECT_THAT(diagnosed({accepted(sent, 50'000, Hook::forward)}, watched_late()).missing, IsEmpty());
}

}  // namespace
}  // namespace pathtrace
