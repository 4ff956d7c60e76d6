// SPDX-License-Identifier: GPL-2.0
// The causes that a firewall or a missing listener give: each with what proves it, what rules it out,
// and what only looks like it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "diagnosis/hosts.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

TEST(FirewallReject, WithoutAListenerNoneIsInvented) {
  for (const Facts& facts : {listening({}), Facts{}, unknown_listeners(), listening({nginx("127.0.0.1")})}) {
    const Connection c = diagnosed(reject_in_user_chain(), facts);
    EXPECT_EQ(c.cause.summary, "iptables (legacy) filter/web rule 2 rejects 10.0.0.0/8");
    EXPECT_FALSE(c.cause.listener);
  }
}

TEST(FirewallReject, SaysWhereTheHostsOwnCommandDoesNotShowTheRule) {
  const auto summary = [](std::optional<Backend> shown) {
    Facts facts;
    facts.iptables_backend = [shown](Family) { return shown; };
    return diagnosed(reject_in_user_chain(), facts).cause.summary;
  };
  const std::string plain = "iptables (legacy) filter/web rule 2 rejects 10.0.0.0/8";
  EXPECT_EQ(summary(Backend::iptables_nft),
            plain + ". The rule is in iptables-legacy; `iptables -L` here shows the nft backend");
  EXPECT_EQ(summary(Backend::iptables_legacy), plain);
  EXPECT_EQ(summary(std::nullopt), plain);
}

TEST(FirewallReject, ARuleOfNativeNftablesIsNotLookedForWithIptables) {
  Facts facts;
  facts.iptables_backend = [](Family) { return Backend::iptables_legacy; };
  const Connection c = diagnosed({walk(syn(), 0, Hook::input, {nft_rule("input", 3, 7, Verdict::reject)}),
                                  rejected(syn(), 1, "icmp-admin-prohibited")},
                                 facts);
  EXPECT_EQ(c.cause.summary, "nftables inet filter/input handle 7 (rule 3) rejects it");
}

TEST(FirewallReject, AListenerOfAnotherNamespaceIsNotTheOne) {
  const Connection c = diagnosed(reject_in_user_chain(), listening({nginx("0.0.0.0", server_ns)}));
  EXPECT_FALSE(c.cause.listener);
}

// The reject's own event was lost, or its probe isn't attached; its RST is told to be one, or is any RST.
Events without_reject_event(bool answer_is_linked) {
  Events events = reject_in_user_chain();
  std::erase_if(events,
                [](const Observation& o) { return std::holds_alternative<RejectObservation>(o.detail); });
  if (answer_is_linked) return events;
  for (Observation& o : events)
    if (o.origin == Origin::reject) {
      o.origin = Origin::local;
      o.parent = 0;
    }
  return events;
}

TEST(FirewallReject, TheCallWasMissedAndItsAnswerSeen) {
  const Connection c = last_diagnosis(without_reject_event(true), listening({nginx()}));
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_EQ(c.outcome, ConnectionOutcome::refused);
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.cause.rule->rule, 2);
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(FirewallReject, TheCallWasMissedAndAResetSeen) {
  const Connection c = last_diagnosis(without_reject_event(false), listening({nginx()}));
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_EQ(c.outcome, ConnectionOutcome::refused);
  EXPECT_EQ(c.error, "ECONNREFUSED");
  EXPECT_EQ(c.cause.summary,
            "iptables (legacy) filter/web rule 2 rejects 10.0.0.0/8. nginx (pid 812) listens on 0.0.0.0:80 "
            "and never saw the SYN");
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.missing, ElementsAre("the call that made the answer"));
}

TEST(FirewallReject, TheCallWasMissedAndNoAnswerSeen) {
  const auto of = [](Step step) { return diagnosed({walk(syn(), 0, Hook::input, {std::move(step)})}); };
  const auto legacy = [&](const std::string& text) { return of(rule("INPUT", 1, Verdict::reject, text)); };
  const auto nft = [&](const std::string& text) {
    return of(nft_rule("input", 1, 7, Verdict::reject, text));
  };
  const Connection c = legacy("-p tcp -j REJECT --reject-with icmp-admin-prohibited");
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_EQ(c.outcome, ConnectionOutcome::unreachable);
  EXPECT_EQ(c.error, "EHOSTUNREACH");
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.missing, ElementsAre("the answer to the SYN; the rule's text says icmp-admin-prohibited"));
  EXPECT_EQ(legacy("-j REJECT").outcome, ConnectionOutcome::in_progress);
  EXPECT_FALSE(legacy("-j REJECT").error);
  EXPECT_EQ(nft("tcp dport 80 reject with tcp reset comment \"reject with icmp no-route\"").error,
            "ECONNREFUSED");
  EXPECT_EQ(nft("log prefix \"reject \" reject with icmp host-prohibited").error, "EHOSTUNREACH");
  EXPECT_EQ(nft("reject with icmpx type no-route").error, "ENETUNREACH");
  EXPECT_EQ(nft("reject").error, "ECONNREFUSED");
}

TEST(FirewallReject, TheCallWasMissedForTheServersReply) {
  const Connection c =
      diagnosed({accepted(syn(), 0, Hook::input), at_listener(syn(), 3),
                 walk(syn_ack().to("eth0"), 9, Hook::output,
                      {rule("OUTPUT", 1, Verdict::reject, "-j REJECT --reject-with tcp-reset")})});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.confidence, Confidence::partial);
}

TEST(FirewallReject, TheCallWasMissedInMidConnection) {
  const auto of = [](const std::string& with) {
    Events events = handshake();
    const Skb data = tcp(client, server, tcp_ack, isn + 1, server_isn + 1).from("eth0").at(0x4400);
    append(events, {walk(data, 900'000, Hook::input,
                         {rule("INPUT", 1, Verdict::reject, "-j REJECT --reject-with " + with)})});
    return last_diagnosis(events);
  };
  EXPECT_EQ(of("tcp-reset").outcome, ConnectionOutcome::reset);
  const Connection c = of("icmp-port-unreachable");  // what is established doesn't mind it
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.confidence, Confidence::partial);
}

TEST(FirewallReject, TheCallWasMissedAndTheSynGotThroughLater) {
  const Connection c = diagnosed({walk(syn(), 0, Hook::input, {rule("INPUT", 1, Verdict::reject)}),
                                  accepted(syn().at(0x7700), 1'000'000, Hook::input),
                                  stack_reset(syn().at(0x7700), 1'000'005)});
  EXPECT_EQ(c.cause.kind, CauseKind::no_listener);
}

// A router may run a service on all of its addresses and forward to the same port of others.
TEST(FirewallDrop, BeforeTheRoutingDecisionOnlyAListenerOnThatVeryAddressIsTheOne) {
  for (const Hook hook : {Hook::ingress, Hook::prerouting, Hook::forward}) {
    const Events events{walk(syn(), 0, hook, {rule("PREROUTING", 1, Verdict::drop)})};
    EXPECT_FALSE(diagnosed(events, listening({nginx()})).cause.listener);
    EXPECT_EQ(diagnosed(events, listening({nginx(), nginx("10.0.0.1")})).cause.listener.has_value(),
              hook != Hook::forward);
  }
  const Events here{walk(syn(), 0, Hook::input, {rule("INPUT", 1, Verdict::drop)})};
  EXPECT_TRUE(diagnosed(here, listening({nginx()})).cause.listener);
}

TEST(FirewallReject, OfNftables) {
  const Connection c = diagnosed({walk(syn(), 0, Hook::input, {nft_rule("input", 3, 7, Verdict::reject)}),
                                  rejected(syn(), 1, "icmp-admin-prohibited")});
  EXPECT_EQ(c.cause.summary, "nftables inet filter/input handle 7 (rule 3) rejects it");
  EXPECT_EQ(c.outcome, ConnectionOutcome::unreachable);
  EXPECT_EQ(c.error, "EHOSTUNREACH");
  EXPECT_EQ(c.cause.evidence.front(), "nf_send_unreach answered the SYN inside inet filter/input handle 7");
}

TEST(FirewallReject, Ipv6) {
  const Skb s = tcp(client6, server6, tcp_syn, isn).from("eth0");
  const Connection c = diagnosed({walk(s, 0, Hook::input, {nft_rule("input", 1, 2, Verdict::reject)}),
                                  rejected(s, 1, "icmp6-adm-prohibited")});
  EXPECT_EQ(c.error, "EACCES");
  EXPECT_THAT(c.cause.evidence, Contains(HasSubstr("nf_send_unreach6")));
}

TEST(FirewallReject, ARuleThatCouldNotBeNamedIsNotNamed) {
  const Connection c = diagnosed(
      {walk(syn(), 0, Hook::input, {unnamed("the ruleset was replaced")}), rejected(syn(), 1, "tcp-reset")});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_EQ(c.error, "ECONNREFUSED");
  EXPECT_FALSE(c.cause.rule);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.missing, ElementsAre("the ruleset was replaced"));
  EXPECT_EQ(c.cause.summary,
            "a rule of iptables (legacy) table filter rejects the SYN; which one is not known");
}

TEST(FirewallReject, AWalkThatWasLostIsMissing) {
  const Connection c = diagnosed({accepted(syn(), 0, Hook::prerouting), rejected(syn(), 5, "tcp-reset")});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_FALSE(c.cause.rule);
  EXPECT_EQ(c.confidence, Confidence::partial);
}

TEST(FirewallReject, MissingEvidenceBeforeTheDecisionMakesItPartial) {
  Step lost = unnamed("event lost");
  lost.verdict = Verdict::accept;
  const Connection c = diagnosed({walk(syn(), 0, Hook::prerouting, {lost}),
                                  walk(syn(), 5, Hook::input, {rule("INPUT", 4, Verdict::reject)}),
                                  rejected(syn(), 6, "tcp-reset")});
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.missing, ElementsAre("event lost"));
}

TEST(FirewallReject, OfTheServersReplyLeavesTheClientWaiting) {
  const Connection c =
      diagnosed({accepted(syn(), 0, Hook::input), at_listener(syn(), 3),
                 walk(syn_ack().to("eth0"), 9, Hook::output, {rule("OUTPUT", 1, Verdict::reject)}),
                 rejected(syn_ack().to("eth0"), 10, "tcp-reset")},
                listening({nginx()}));
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.error, "ETIMEDOUT");
  EXPECT_EQ(c.cause.summary, "iptables (legacy) filter/OUTPUT rule 1 rejects the server's SYN-ACK");
}

TEST(FirewallReject, AnotherPacketsRejectAtTheSameTimeIsNotCredited) {
  const Skb other = tcp({"10.0.0.7", 4000}, server, tcp_syn, 77).from("eth0");
  const auto traces = run({accepted(syn(), 0, Hook::input), stack_reset(syn(), 2),
                           walk(other, 0, Hook::input, {rule("INPUT", 1, Verdict::reject)}),
                           rejected(other, 1, "tcp-reset")});
  ASSERT_EQ(traces.size(), 2U);
  for (ConnectionTrace t : traces) {
    diagnose(t, {});
    EXPECT_EQ(t.connection.cause.kind,
              t.connection.client.port == 4000 ? CauseKind::firewall_reject : CauseKind::no_listener);
  }
}

TEST(FirewallReject, OfDataResetsAnOpenConnection) {
  Events events = handshake();
  const Skb data = tcp(client, server, tcp_ack, isn + 1, server_isn + 1).from("eth0").at(0x4400);
  append(events, {walk(data, 900'000, Hook::input, {rule("INPUT", 1, Verdict::reject)}),
                  rejected(data, 900'001, "tcp-reset")});
  const Connection c = last_diagnosis(events);
  EXPECT_EQ(c.outcome, ConnectionOutcome::reset);
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_reject);
  EXPECT_FALSE(c.error);
}

TEST(NoListener, BlamesNoRule) {
  const Connection c = diagnosed(refused_by_stack(), listening({}));
  EXPECT_EQ(c.outcome, ConnectionOutcome::refused);
  EXPECT_EQ(c.error, "ECONNREFUSED");
  EXPECT_EQ(c.cause.kind, CauseKind::no_listener);
  EXPECT_EQ(c.cause.summary, "no socket takes 10.0.0.1:80/tcp");
  EXPECT_FALSE(c.cause.rule);
  EXPECT_FALSE(c.cause.listener);
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(NoListener, WithoutFactsItIsStillExact) {
  for (const Facts& facts : {Facts{}, unknown_listeners()}) {
    const Connection c = diagnosed(refused_by_stack(), facts);
    EXPECT_EQ(c.cause.kind, CauseKind::no_listener);
    EXPECT_EQ(c.confidence, Confidence::exact);
  }
}

TEST(NoListener, WithoutAnyTableOnTheHost) {
  EXPECT_EQ(diagnosed({stack_reset(syn(), 0)}).cause.kind, CauseKind::no_listener);
}

TEST(NoListener, OnlyOnAnotherAddress) {
  const Connection c = diagnosed(refused_by_stack(), listening({nginx("127.0.0.1")}));
  EXPECT_EQ(c.cause.kind, CauseKind::listener_other_address);
  EXPECT_EQ(c.cause.summary,
            "no socket takes 10.0.0.1:80/tcp. nginx (pid 812) listens on 127.0.0.1:80, not on 10.0.0.1");
  ASSERT_TRUE(c.cause.listener);
}

TEST(NoListener, OnlyForAnotherDevice) {
  Listener other = nginx();
  other.device = "eth1";
  const Connection c = diagnosed(refused_by_stack(), listening({other}));
  EXPECT_EQ(c.cause.kind, CauseKind::listener_other_address);
  EXPECT_THAT(c.cause.summary, HasSubstr("nginx (pid 812) listens on 0.0.0.0:80 of device eth1, not for what "
                                         "comes in through eth0"));
  other.device = "eth0";
  EXPECT_EQ(diagnosed(refused_by_stack(), listening({other})).cause.kind, CauseKind::no_listener);
}

TEST(NoListener, OnlyInTheOtherFamily) {
  Listener v6 = nginx("::");
  v6.v6only = true;
  const Connection c = diagnosed(refused_by_stack(), listening({v6}));
  EXPECT_EQ(c.cause.kind, CauseKind::listener_other_family);
  EXPECT_THAT(c.cause.summary, HasSubstr("nginx (pid 812) listens on [::]:80: IPv6 only"));
}

// /proc/net/tcp6 doesn't tell of IPV6_V6ONLY.
TEST(NoListener, AWildcardOfIpv6ThatMayServeIpv4IsNotCalledIpv6Only) {
  Listener v6 = nginx("::");
  ASSERT_FALSE(v6.v6only);
  EXPECT_EQ(diagnosed(refused_by_stack(), listening({v6})).cause.kind, CauseKind::no_listener);
  const Connection c = diagnosed(reject_in_user_chain(), listening({v6}));
  EXPECT_FALSE(c.cause.listener);
  EXPECT_EQ(c.cause.summary, "iptables (legacy) filter/web rule 2 rejects 10.0.0.0/8");
  v6.v6only = false;
  EXPECT_TRUE(diagnosed(reject_in_user_chain(), listening({v6})).cause.listener);
}

TEST(NoListener, OnlyInAnotherNamespace) {
  const Connection c = diagnosed(refused_by_stack(), listening({nginx("0.0.0.0", server_ns)}));
  EXPECT_EQ(c.cause.kind, CauseKind::listener_other_netns);
  EXPECT_THAT(c.cause.summary, HasSubstr("in network namespace s, not in network namespace host"));
}

TEST(NoListener, TheNearestListenerIsNamed) {
  const Connection c =
      diagnosed(refused_by_stack(), listening({nginx("0.0.0.0", server_ns), nginx("127.0.0.1")}));
  EXPECT_EQ(c.cause.kind, CauseKind::listener_other_address);
}

TEST(NoListener, AListenerThatBeganSinceIsNoContradiction) {
  EXPECT_EQ(diagnosed(refused_by_stack(), listening({nginx()})).cause.kind, CauseKind::no_listener);
}

TEST(NoListener, ADroppedResetMeansATimeOut) {
  const Connection c = diagnosed(
      {accepted(syn(), 0, Hook::input), stack_reset(syn(), 2),
       walk(rst_to(syn(), Origin::stack).to("eth0"), 5, Hook::output, {rule("OUTPUT", 2, Verdict::drop)})});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.summary, "iptables (legacy) filter/OUTPUT rule 2 drops the RST that answered it");
}

TEST(FirewallDrop, NamesTheRule) {
  const Connection c = diagnosed(dropped_by_input_rule(), listening({nginx()}));
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.error, "ETIMEDOUT");
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.cause.rule->rule, 3);
  EXPECT_EQ(c.cause.summary,
            "iptables (legacy) filter/INPUT rule 3 drops 10.0.0.0/8. nginx (pid 812) listens on 0.0.0.0:80 "
            "and never "
            "saw the SYN");
  EXPECT_EQ(c.cause.reason, "NETFILTER_DROP");
}

TEST(FirewallDrop, OfNftables) {
  const Connection c =
      diagnosed({walk(syn(), 0, Hook::input, {nft_rule("input", 3, 7, Verdict::drop, "tcp dport 80 drop")})});
  EXPECT_EQ(c.cause.summary, "nftables inet filter/input handle 7 (rule 3) drops it");
}

TEST(FirewallDrop, InALaterBaseChainAfterAnAccept) {
  const Connection c = diagnosed({walk(syn(), 0, Hook::input, {nft_rule("early", 1, 4, Verdict::accept)}),
                                  walk(syn(), 2, Hook::input, {nft_rule("late", 1, 9, Verdict::drop)})});
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.cause.rule->handle, 9U);
}

TEST(FirewallDrop, OfTheServersReply) {
  const Connection c =
      diagnosed({accepted(syn(), 0, Hook::input), at_listener(syn(), 3),
                 walk(syn_ack().to("eth0"), 9, Hook::output, {rule("OUTPUT", 1, Verdict::drop)})});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  EXPECT_EQ(c.cause.summary, "iptables (legacy) filter/OUTPUT rule 1 drops the server's SYN-ACK");
}

TEST(FirewallDrop, InAnotherNamespaceIsSaid) {
  const Connection c =
      diagnosed({accepted(syn().in(client_ns).to("veth0"), 0, Hook::output),
                 walk(syn().in(router), 5, Hook::forward, {rule("FORWARD", 1, Verdict::drop)})});
  EXPECT_EQ(c.cause.summary, "iptables (legacy) filter/FORWARD rule 1 drops it in network namespace r");
  EXPECT_EQ(c.netns, router);
}

TEST(FirewallDrop, ARetransmissionThatGotThroughAcquitsTheRule) {
  const Connection c = diagnosed({walk(syn().with_id(1), 0, Hook::input, {rule("INPUT", 1, Verdict::drop)}),
                                  accepted(syn().with_id(2), 1'000'000, Hook::input),
                                  stack_reset(syn().with_id(2), 1'000'002)});
  EXPECT_EQ(c.cause.kind, CauseKind::no_listener);
}

// The SYN-ACK twice. The second one is dropped in an interrupt that interrupts a program of ours: its walk is
// not seen, and perhaps a packet at another address neither.
Events two_syn_acks(const Observation& first_walk, const std::string& first_dropped_in,
                    const std::string& second_dropped_in) {
  const Skb second = syn_ack().to("eth0").with_id(2).at(0x7700);
  Events events{accepted(syn(), 0, Hook::input), at_listener(syn(), 3), first_walk};
  if (!first_dropped_in.empty())
    events.push_back(dropped(syn_ack().to("eth0"), 10, "NETFILTER_DROP", first_dropped_in));
  events.push_back(dropped(second, 1'000'000, "NETFILTER_DROP", second_dropped_in));
  return events;
}

TEST(FirewallDrop, OfTheOneBeforeWhereTheLastOnesWalkWasNotSeen) {
  const Observation stopped = walk(syn_ack().to("eth0"), 9, Hook::output, {rule("OUTPUT", 1, Verdict::drop)});
  const Connection c = last_diagnosis(two_syn_acks(stopped, "nf_hook_slow", "nf_hook_slow"));
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.cause.rule->rule, 1);
  EXPECT_EQ(c.cause.summary, "iptables (legacy) filter/OUTPUT rule 1 drops the server's SYN-ACK");
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.missing, testing::ElementsAre("how the SYN-ACK ended that was sent last"));
}

TEST(FirewallDrop, OfTheOneBeforeIsNotCreditedWithWhatAnotherFunctionDropped) {
  const Observation stopped = walk(syn_ack().to("eth0"), 9, Hook::output, {rule("OUTPUT", 1, Verdict::drop)});
  const Connection c = last_diagnosis(two_syn_acks(stopped, "nf_hook_slow", "nft_do_chain"));
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  EXPECT_FALSE(c.cause.rule);
}

TEST(FirewallDrop, OneBeforeThatGotThroughIsNoWitness) {
  const Observation passed = accepted(syn_ack().to("eth0"), 9, Hook::output);
  EXPECT_FALSE(last_diagnosis(two_syn_acks(passed, "", "nf_hook_slow")).cause.rule);
}

TEST(FirewallDrop, InAPlaceWhereTheLastOneWasNotSeen) {
  const Skb first = syn().in(router).to("eth1").with_id(1);
  const Connection c = diagnosed(
      {accepted(first, 0, Hook::forward),
       walk(syn().in(server_ns).with_id(1).at(0x8800), 5, Hook::input, {rule("INPUT", 3, Verdict::drop)}),
       accepted(syn().in(router).to("eth1").with_id(2).at(0x9900), 1'000'000, Hook::forward)});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.cause.rule->rule, 3);
  EXPECT_EQ(c.netns, server_ns);
  EXPECT_EQ(c.confidence, Confidence::partial);
}

TEST(FirewallDrop, AnotherPacketsDropIsNotCredited) {
  const Skb other = tcp(client, {"10.0.0.1", 81}, tcp_syn, 99).from("eth0");
  const auto traces =
      run({accepted(syn(), 0, Hook::input), at_listener(syn(), 1), dropped(other, 1, "NETFILTER_DROP"),
           walk(other, 0, Hook::input, {rule("INPUT", 1, Verdict::drop)})});
  ASSERT_EQ(traces.size(), 2U);
  for (ConnectionTrace t : traces) {
    diagnose(t, {});
    EXPECT_EQ(t.connection.cause.kind,
              t.connection.server.port == 81 ? CauseKind::firewall_drop : CauseKind::unknown);
  }
}

TEST(FirewallDrop, ByAHookThatIsNotTraced) {
  const Connection c = diagnosed({accepted(syn(), 0, Hook::input), dropped(syn(), 3, "NETFILTER_DROP")});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  EXPECT_FALSE(c.cause.rule);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_EQ(c.cause.summary, "netfilter dropped the SYN; no rule that was seen did");
}

TEST(FirewallDrop, ARuleThatCouldNotBeNamedIsNotNamed) {
  const Connection c = diagnosed({walk(syn(), 0, Hook::input, {unnamed("more than 64 records")})});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  EXPECT_FALSE(c.cause.rule);
  EXPECT_THAT(c.missing, ElementsAre("more than 64 records"));
}

TEST(FirewallDrop, InMidConnection) {
  Events events = handshake();
  const Skb data = tcp(client, server, tcp_ack, isn + 1, server_isn + 1).from("eth0").at(0x4400);
  append(events, {walk(data, 900'000, Hook::input, {rule("INPUT", 1, Verdict::drop)})});
  const Connection c = last_diagnosis(events);
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  EXPECT_EQ(c.cause.summary,
            "iptables (legacy) filter/INPUT rule 1 drops the client's packet in mid-connection");
  EXPECT_FALSE(c.error);
}

TEST(FirewallPolicy, ListsTheRulesThatMatchedBefore) {
  const Connection c =
      diagnosed({walk(syn(), 0, Hook::input,
                      {rule("INPUT", 1, Verdict::continue_, "-j LOG"), policy("INPUT", Verdict::drop)})});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_policy);
  ASSERT_TRUE(c.cause.rule);
  EXPECT_EQ(c.cause.rule->kind, StepKind::policy);
  EXPECT_EQ(c.cause.summary, "the policy of iptables (legacy) filter/INPUT drops it");
  EXPECT_THAT(c.cause.evidence, Contains(HasSubstr("filter/INPUT rule 1")));
}

TEST(FirewallPolicy, WhereNoRuleMatched) {
  const Connection c = diagnosed({walk(syn(), 0, Hook::input, {policy("INPUT", Verdict::drop)})});
  EXPECT_THAT(c.cause.evidence, Contains("no rule of filter/INPUT matched it"));
}

TEST(ClientSocket, SaysItselfWhatConnectReturned) {
  Events events = dropped_by_input_rule();
  events.push_back(socket(client, server, 1'000'000, state(2, 7, 110)));
  EXPECT_EQ(diagnosed(events).error, "ETIMEDOUT");
  const Connection c = diagnosed(
      {accepted(syn().to("eth0"), 0, Hook::output), socket(client, server, 3'000, state(2, 7, 113))});
  EXPECT_EQ(c.outcome, ConnectionOutcome::unreachable);
  EXPECT_EQ(c.error, "EHOSTUNREACH");
}

// Its application has its own patience, which ended before the answer came.
TEST(ClientSocket, ThatIsClosedBeforeTheAnswerIsNotToldOfIt) {
  const Skb sent = syn().made_locally().to("eth0");
  const auto closed = [&sent](std::int64_t at, std::uint32_t error) {
    return last_diagnosis(
        {socket(client, server, -9, state(7, 2)), accepted(sent, 0, Hook::output),
         icmp_answer(sent, 900'000, 3, 1), dropped(sent, 900'001, "NEIGH_FAILED"),
         socket(client, server, at, state(2, 7, error)),
         dropped(icmp_about(sent, 3, 1), 999'000, "QUEUE_PURGE", "skb_queue_purge_reason")});
  };
  const Connection c = closed(800'000, 0);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.error, "ETIMEDOUT");
  EXPECT_EQ(c.cause.kind, CauseKind::neighbour_failed);
  EXPECT_EQ(closed(900'010, 113).outcome, ConnectionOutcome::unreachable);
  // told by SO_ERROR while its socket was in use
  EXPECT_EQ(closed(900'010, 0).error, "EHOSTUNREACH");
}

}  // namespace
}  // namespace pathtrace
