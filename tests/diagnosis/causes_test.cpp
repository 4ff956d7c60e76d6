// SPDX-License-Identifier: GPL-2.0
// The four causes that a firewall or a missing listener give: each with what proves it, what rules it
// out, and what only looks like it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "diagnosis/diagnosis.h"
#include "timeline/stream.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Listener nginx(const std::string& address = "0.0.0.0", const Netns& netns = host) {
  Listener listener;
  listener.address = address;
  listener.port = 80;
  listener.pid = 812;
  listener.program = "nginx";
  listener.netns = netns;
  return listener;
}

Facts listening(std::vector<Listener> listeners) {
  Facts facts;
  facts.listeners = [listeners](const std::string&, std::uint16_t) { return std::optional(listeners); };
  return facts;
}

Connection diagnosed(const Events& events, const Facts& facts = {}) {
  ConnectionTrace trace = only(events);
  diagnose(trace, facts);
  return trace.connection;
}

Events refused_by_stack() {
  const Skb packet = syn();
  return {accepted(packet, 0, Hook::input), stack_reset(packet, 10),
          accepted(rst_to(packet, Origin::stack).to("eth0"), 20, Hook::output)};
}

Events dropped_by_input_rule() {
  return {walk(syn(), 0, Hook::input, {rule("INPUT", 3, Verdict::drop, "-s 10.0.0.0/8 -j DROP")}),
          dropped(syn(), 10, "NETFILTER_DROP")};
}

TEST(FirewallReject, NamesTheRuleTheListenerAndTheError) {
  const Connection c = diagnosed(reject_in_user_chain(), listening({nginx()}));
  EXPECT_EQ(c.outcome, ConnectionOutcome::refused);
  EXPECT_EQ(c.error, "ECONNREFUSED");
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_EQ(c.cause.summary,
            "iptables (legacy) filter/web rule 2 rejects 10.0.0.0/8. nginx (pid 812) listens on 0.0.0.0:80 "
            "and never "
            "saw the SYN");
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.cause.rule->rule, 2);
  EXPECT_EQ(c.cause.rule->path, (std::vector<PathElement>{{"INPUT", 2}}));
  ASSERT_TRUE(c.cause.listener);
  EXPECT_EQ(c.cause.listener->pid, 812U);
  EXPECT_EQ(c.cause.evidence.front(), "nf_send_reset answered the SYN inside filter/web rule 2");
  EXPECT_EQ(c.confidence, Confidence::exact);
  EXPECT_THAT(c.missing, IsEmpty());
  EXPECT_EQ(c.netns, host);
}

TEST(NoListener, BlamesNoRule) {
  const Connection c = diagnosed(refused_by_stack(), listening({}));
  EXPECT_EQ(c.outcome, ConnectionOutcome::refused);
  EXPECT_EQ(c.error, "ECONNREFUSED");
  EXPECT_EQ(c.cause.kind, CauseKind::no_listener);
  EXPECT_FALSE(c.cause.rule);
  EXPECT_FALSE(c.cause.listener);
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(FirewallDrop, NamesTheRule) {
  const Connection c = diagnosed(dropped_by_input_rule());
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.error, "ETIMEDOUT");
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.cause.rule->rule, 3);
  EXPECT_EQ(c.cause.summary, "iptables (legacy) filter/INPUT rule 3 drops 10.0.0.0/8");
  EXPECT_EQ(c.cause.reason, "NETFILTER_DROP");
}

TEST(FirewallPolicy, ListsTheRulesThatMatchedBefore) {
  const Connection c =
      diagnosed({walk(syn(), 0, Hook::input,
                      {rule("INPUT", 1, Verdict::continue_, "-j LOG"), policy("INPUT", Verdict::drop)})});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_policy);
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.cause.rule->kind, StepKind::policy);
  EXPECT_EQ(c.cause.summary, "the policy of iptables (legacy) filter/INPUT drops it");
  EXPECT_THAT(c.cause.evidence, testing::Contains(HasSubstr("filter/INPUT rule 1")));
}

TEST(Established, NoErrorNoRule) {
  const Connection c =
      diagnosed({accepted(syn(), 0, Hook::input), at_listener(syn(), 5),
                 accepted(syn_ack().to("eth0"), 20, Hook::output), accepted(ack(), 500, Hook::input),
                 socket(server, client, 501, state(3, 1))});
  EXPECT_EQ(c.outcome, ConnectionOutcome::established);
  EXPECT_FALSE(c.error);
  EXPECT_EQ(c.cause.kind, CauseKind::established);
  EXPECT_FALSE(c.cause.rule);
}

}  // namespace
}  // namespace pathtrace
