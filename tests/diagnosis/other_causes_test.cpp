// SPDX-License-Identifier: GPL-2.0
// Causes beyond the firewall.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "diagnosis/errors.h"
#include "diagnosis/hosts.h"
#include "diagnosis/wording.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Established, NoErrorNoRule) {
  const Connection c = diagnosed(handshake());
  EXPECT_EQ(c.outcome, ConnectionOutcome::established);
  EXPECT_FALSE(c.error);
  EXPECT_EQ(c.cause.kind, CauseKind::established);
  EXPECT_FALSE(c.cause.rule);
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(Established, AndClosedInOrder) {
  Events events = handshake();
  append(events, {accepted(tcp(client, server, tcp_fin | tcp_ack, isn + 1, server_isn + 1).from("eth0"), 900,
                           Hook::input),
                  accepted(tcp(server, client, tcp_fin | tcp_ack, server_isn + 1, isn + 2).to("eth0"), 950,
                           Hook::output)});
  const Connection c = last_diagnosis(events);
  EXPECT_EQ(c.outcome, ConnectionOutcome::closed);
  EXPECT_EQ(c.cause.kind, CauseKind::established);
}

// The server's FIN went out twice. TIME_WAIT acknowledges the second, and the server's socket is gone by
// then.
TEST(Established, AResetAfterTheEndIsNone) {
  const Skb late = tcp(client, server, tcp_ack, isn + 2, server_isn + 2).from("eth0").with_id(9).at(0x6600);
  Events events = closed_in_order();
  append(events, {accepted(late, 1'500, Hook::input), stack_reset(late, 1'501, true, 10),
                  accepted(rst_to(late, Origin::stack).to("eth0"), 1'503, Hook::output)});
  const Connection c = last_diagnosis(events);
  EXPECT_EQ(c.outcome, ConnectionOutcome::closed);
  EXPECT_EQ(c.cause.kind, CauseKind::established);
  EXPECT_EQ(c.confidence, Confidence::exact);
  // a socket that takes it was not at its end
  append(events, {socket(client, server, 1'600, socket_event(SocketObservation::What::received_reset, 4))});
  EXPECT_EQ(last_diagnosis(events).outcome, ConnectionOutcome::reset);
}

TEST(Established, AResetFromOutsideAfterTheEndIsNone) {
  const Observation reset = accepted(tcp(client, server, tcp_rst, isn + 2).from("eth0"), 1'500, Hook::input);
  Events events = closed_in_order();
  events.push_back(reset);
  EXPECT_EQ(last_diagnosis(events).outcome, ConnectionOutcome::closed);
  events.erase(events.end() - 2);  // the ACK of the server's FIN
  EXPECT_EQ(last_diagnosis(events).cause.kind, CauseKind::remote_reset);
}

TEST(Established, TheServersSocketTellsTheEndAsWell) {
  const Skb late = tcp(client, server, tcp_ack, isn + 2, server_isn + 2).from("eth0").with_id(9).at(0x6600);
  const auto outcome_if = [&late](std::uint32_t error) {
    Events events = handshake();
    append(events, {socket(server, client, 990, state(9, 7, error)), accepted(late, 1'500, Hook::input),
                    stack_reset(late, 1'501)});
    return last_diagnosis(events).outcome;
  };
  EXPECT_EQ(outcome_if(0), ConnectionOutcome::closed);
  EXPECT_EQ(outcome_if(104), ConnectionOutcome::reset);  // in LAST_ACK, by a RST
}

// Asymmetric routing: the replies go by another router.
TEST(Established, AClientThatGoesOnHasGotItsAnswer) {
  const Connection c =
      diagnosed({accepted(syn().to("eth1"), 0, Hook::forward), accepted(ack().to("eth1"), 9, Hook::forward)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::established);
  const Skb old = tcp(client, server, tcp_ack, isn - 7000, 3).from("eth0").to("eth1");
  for (ConnectionTrace trace :
       run({accepted(syn().to("eth1"), 0, Hook::forward), accepted(old, 9, Hook::forward)})) {
    diagnose(trace, {});
    EXPECT_NE(trace.connection.outcome, ConnectionOutcome::established);
  }
}

TEST(Established, AnEarlierAttemptsDropIsNoCause) {
  Events events{walk(syn().with_id(1), -900'000, Hook::input, {rule("INPUT", 1, Verdict::drop)})};
  append(events, handshake());
  EXPECT_EQ(diagnosed(events).cause.kind, CauseKind::established);
}

TEST(Established, AnEarlierAttemptsRejectIsNoCause) {
  Events events{walk(syn().with_id(1), -900'000, Hook::input, {rule("INPUT", 1, Verdict::reject)}),
                rejected(syn().with_id(1), -899'999, "tcp-reset")};
  append(events, handshake());
  EXPECT_EQ(last_diagnosis(events).cause.kind, CauseKind::established);
}

TEST(Established, FromMidStreamIsSaidToBeSo) {
  const Connection c = diagnosed({accepted(tcp(client, server, tcp_ack, 5, 6).from("eth0"), 0, Hook::input),
                                  accepted(tcp(server, client, tcp_ack, 6, 5).to("eth0"), 9, Hook::output)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::established);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_EQ(c.cause.summary, "established; its beginning was not seen");
}

TEST(Unknown, OneDirectionOfMidStreamDecidesNothing) {
  const Connection c = diagnosed({accepted(tcp(client, server, tcp_ack, 5, 6).from("eth0"), 0, Hook::input)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::in_progress);
  EXPECT_EQ(c.cause.kind, CauseKind::unknown);
  EXPECT_FALSE(c.error);
}

TEST(Unknown, ADeliveredSynWithoutAnAnswer) {
  const Connection c = diagnosed({accepted(syn(), 0, Hook::input)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::in_progress);
  EXPECT_EQ(c.cause.summary, "the SYN was accepted by every rule; no answer was seen yet");
}

TEST(NoReply, ItLeftAndNothingCameBack) {
  const Connection c = diagnosed({accepted(syn().to("eth1"), 0, Hook::forward)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
  EXPECT_EQ(c.cause.summary, "the SYN left through eth1 and nothing came back");
}

// A SYN that this host sends on, through these chains.
Connection sent_through(const std::vector<std::pair<Hook, Step>>& chains) {
  Events events;
  for (const auto& [hook, step] : chains)
    events.push_back(walk(syn().to("eth1"), static_cast<std::int64_t>(events.size()), hook, {step}));
  return diagnosed(events);
}

Step nft_policy(const std::string& chain) {
  Step step = policy(chain, Verdict::accept, "fw");
  step.backend = Backend::nftables;
  step.family = Family::inet;
  return step;
}

TEST(NoReply, IsNotSaidWhereRepliesPassNothingThatIsWatched) {
  for (const std::vector<std::pair<Hook, Step>>& chains :
       {std::vector<std::pair<Hook, Step>>{
            {Hook::postrouting, policy("POSTROUTING", Verdict::accept, "nat")}},
        {{Hook::prerouting, policy("PREROUTING", Verdict::accept, "raw")},
         {Hook::postrouting, policy("POSTROUTING", Verdict::accept, "nat")}},
        {{Hook::prerouting, nft_policy("prerouting")},
         {Hook::postrouting, policy("POSTROUTING", Verdict::accept, "nat")}}}) {
    const Connection c = sent_through(chains);
    EXPECT_EQ(c.outcome, ConnectionOutcome::in_progress);
    EXPECT_FALSE(c.error);
    EXPECT_EQ(c.cause.kind, CauseKind::unknown);
    EXPECT_EQ(c.cause.summary,
              "the SYN left through eth1; what comes back, if anything does, passes nothing that is watched");
    EXPECT_EQ(c.confidence, Confidence::partial);
    EXPECT_THAT(c.missing, ElementsAre("replies: they pass no chain that sees every packet"));
  }
}

TEST(NoReply, IsSaidWhereAChainWouldHaveSeenIt) {
  const std::pair<Hook, Step> masquerade{Hook::postrouting, policy("POSTROUTING", Verdict::accept, "nat")};
  for (const std::vector<std::pair<Hook, Step>>& chains :
       {std::vector<std::pair<Hook, Step>>{{Hook::forward, policy("FORWARD", Verdict::accept)}, masquerade},
        {{Hook::prerouting, policy("PREROUTING", Verdict::accept, "mangle")}, masquerade},
        {{Hook::forward, nft_policy("forward")}, masquerade},
        {{Hook::prerouting, nft_policy("prerouting")}, {Hook::postrouting, nft_policy("out")}},
        {{Hook::postrouting, nft_policy("out")}}}) {
    const Connection c = sent_through(chains);
    EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
    EXPECT_EQ(c.error, "ETIMEDOUT");
    EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
    EXPECT_EQ(c.confidence, Confidence::exact);
  }
}

TEST(NoReply, IsSaidOfASocketOfThisHostThatStillWaits) {
  const Observation sent = walk(syn().made_locally().to("eth1"), 0, Hook::output, {nft_policy("output")});
  EXPECT_EQ(diagnosed({sent}).outcome, ConnectionOutcome::in_progress);
  const Connection c = diagnosed({socket(client, server, -9, state(7, 2)), sent});
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(NoReply, ADatagramMayNeedNone) {
  const Skb line = udp(client, {"10.0.0.1", 514}, 0x100).made_locally().to("eth0");
  const Connection c = diagnosed({accepted(line, 0, Hook::output)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::in_progress);
  EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
  EXPECT_EQ(c.cause.summary, "the packet left through eth0; no reply was seen");
  EXPECT_EQ(c.confidence, Confidence::exact);
  const Connection unseen = diagnosed({walk(line, 0, Hook::output, {nft_policy("output")})});
  EXPECT_EQ(unseen.cause.kind, CauseKind::unknown);
  EXPECT_EQ(unseen.confidence, Confidence::partial);
}

TEST(RemoteRefused, TheResetCameFromOutside) {
  const Skb rst = tcp(server, client, tcp_rst | tcp_ack, 0, isn + 1).from("eth1");
  const Connection c = diagnosed(
      {accepted(syn().made_locally().to("eth1"), 0, Hook::output), accepted(rst, 900, Hook::input)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::refused);
  EXPECT_EQ(c.cause.kind, CauseKind::remote_refused);
  EXPECT_EQ(c.confidence, Confidence::exact);
}

TEST(RemoteRefused, NotWhenAnotherNamespaceOfThisHostAnswered) {
  const Skb inner = syn().in(server_ns);
  const Skb rst = rst_to(inner, Origin::stack);
  const Skb back = tcp(server, client, tcp_rst | tcp_ack, 0, isn + 1).at(rst.o.skb).in(router).from("veth0");
  const Connection c =
      diagnosed({accepted(syn().in(router).to("veth0"), 0, Hook::forward), accepted(inner, 5, Hook::input),
                 stack_reset(inner, 6), accepted(back, 9, Hook::forward)});
  EXPECT_EQ(c.cause.kind, CauseKind::no_listener);
  EXPECT_EQ(c.netns, server_ns);
  EXPECT_EQ(c.cause.summary, "no socket takes 10.0.0.1:80/tcp in network namespace s");
}

// Where it was sent from, behind the rule that translates, is under other addresses: this host's FORWARD
// chain may have rejected it, or a port of its own that nobody listens on.
TEST(RemoteRefused, NotWhenARuleTranslatesAndTheResetWasNotSeen) {
  Step redirect = rule("PREROUTING", 1, Verdict::accept, "-j REDIRECT --to-ports 81");
  redirect.target = "REDIRECT";
  const Connection c =
      diagnosed({walk(syn().in(router), 0, Hook::prerouting, {redirect}),
                 socket(client, server, 5, socket_event(SocketObservation::What::received_reset, 2)),
                 socket(client, server, 6, state(2, 7, 111))});
  EXPECT_EQ(c.cause.kind, CauseKind::unknown);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_THAT(c.cause.summary, HasSubstr("by whom was not seen; a rule translates its addresses"));
}

TEST(RemoteRefused, KnownOnlyByTheSocket) {
  const Connection c =
      diagnosed({socket(client, server, 0, socket_event(SocketObservation::What::received_reset, 2)),
                 socket(client, server, 1, state(2, 7, 111))});
  EXPECT_EQ(c.cause.kind, CauseKind::remote_refused);
  EXPECT_EQ(c.error, "ECONNREFUSED");
  EXPECT_EQ(c.confidence, Confidence::partial);
}

TEST(RemoteRefused, ByAnIcmpError) {
  const Connection c = diagnosed({accepted(syn().made_locally().to("eth1"), 0, Hook::output),
                                  accepted(icmp_about(syn(), 3, 13).from("eth1"), 900, Hook::input)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::unreachable);
  EXPECT_EQ(c.error, "EHOSTUNREACH");
  EXPECT_EQ(c.cause.reason, "icmp-admin-prohibited");
}

TEST(StackDrop, ForAReasonOfItsOwn) {
  const Connection c = diagnosed({dropped(syn(), 2, "TCP_CSUM", "tcp_v4_rcv")});
  EXPECT_EQ(c.cause.kind, CauseKind::stack_drop);
  EXPECT_EQ(c.cause.summary, "the kernel drops the SYN in tcp_v4_rcv: TCP_CSUM");
}

TEST(StackDrop, WithoutAReasonIsPartial) {
  EXPECT_EQ(diagnosed({dropped(syn(), 2, "NOT_SPECIFIED", "x")}).confidence, Confidence::partial);
}

TEST(StackDrop, TheFreedSynOfARefusalIsNoDrop) {
  Events events = refused_by_stack();
  events.push_back(dropped(syn(), 12, "NO_SOCKET", "tcp_v4_rcv"));
  EXPECT_EQ(diagnosed(events).cause.kind, CauseKind::no_listener);
}

TEST(ListenQueue, Full) {
  const Connection c =
      diagnosed({accepted(syn(), 0, Hook::input), at_listener(syn(), 1, {2, 1, true})}, listening({nginx()}));
  EXPECT_EQ(c.cause.kind, CauseKind::listen_queue_full);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_THAT(c.cause.summary, HasSubstr("(2/1)"));
  ASSERT_TRUE(c.cause.listener);
  EXPECT_EQ(c.cause.listener->backlog, 2U);
}

TEST(ListenQueue, NotFull) {
  EXPECT_EQ(diagnosed({at_listener(syn(), 1, {0, 128, true})}).cause.kind, CauseKind::stack_drop);
}

// The client's ACK, and what its listener makes of it.
Events turned_away(bool reset) {
  Events events = {accepted(syn(), 0, Hook::input), at_listener(syn(), 5),
                   accepted(syn_ack().to("eth0"), 20, Hook::output), accepted(ack(), 500, Hook::input),
                   at_listener(ack(), 501, {2, 1, true, std::nullopt, true})};
  if (reset)
    append(events, {stack_reset(ack(), 502, true, 10),
                    accepted(rst_to(ack(), Origin::stack).to("eth0"), 503, Hook::output)});
  else
    append(events, {dropped(ack(), 502, "NOT_SPECIFIED", "tcp_v4_rcv")});
  return events;
}

TEST(ListenQueue, FullWhenTheHandshakeEnds) {
  const Connection c = last_diagnosis(turned_away(false), listening({nginx()}));
  EXPECT_EQ(c.cause.kind, CauseKind::listen_queue_full);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.error, std::nullopt) << "connect() has succeeded";
  EXPECT_THAT(c.cause.summary, HasSubstr("(2/1): it drops the ACK that ends the handshake"));
  ASSERT_TRUE(c.cause.listener);
}

TEST(ListenQueue, FullWhenTheHandshakeEndsAndAnsweredWithAReset) {
  const Connection c = last_diagnosis(turned_away(true), listening({nginx()}));
  EXPECT_EQ(c.cause.kind, CauseKind::listen_queue_full);
  EXPECT_EQ(c.outcome, ConnectionOutcome::reset);
  EXPECT_EQ(c.error, "ECONNRESET");
  EXPECT_THAT(c.cause.summary, HasSubstr("it resets, as net.ipv4.tcp_abort_on_overflow wants, the ACK"));
}

TEST(ListenQueue, RoomWasFoundInTheEnd) {
  Events events = turned_away(false);
  append(events, {socket(server, client, 1'000'000, state(3, 1))});
  EXPECT_EQ(last_diagnosis(events).cause.kind, CauseKind::established);
}

TEST(Datagrams, PortClosed) {
  const Skb query = udp(client, {"10.0.0.1", 53}, 0x100).from("eth0");
  const Connection c =
      diagnosed({accepted(query, 0, Hook::input), dropped(query, 2, "NO_SOCKET", "__udp4_lib_rcv")});
  EXPECT_EQ(c.cause.kind, CauseKind::no_listener);
  EXPECT_EQ(c.outcome, ConnectionOutcome::refused);
}

TEST(Datagrams, Dropped) {
  const Skb query = udp(client, {"10.0.0.1", 53}, 0x100).from("eth0");
  const Connection c = diagnosed({walk(query, 0, Hook::input, {rule("INPUT", 1, Verdict::drop)})});
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
  EXPECT_FALSE(c.error);
}

TEST(Datagrams, Answered) {
  const At resolver{"10.0.0.1", 53};
  const Connection c = diagnosed({accepted(udp(client, resolver, 0x100), 0, Hook::input),
                                  accepted(udp(resolver, client, 0x200), 9, Hook::output)});
  EXPECT_EQ(c.outcome, ConnectionOutcome::established);
}

TEST(Reset, TheApplicationClosedWithUnreadData) {
  Events events = handshake();
  append(events,
         {socket(server, client, 900,
                 socket_event(SocketObservation::What::active_reset, 7, "TCP_ABORT_ON_CLOSE")),
          accepted(tcp(server, client, tcp_rst | tcp_ack, server_isn + 1, isn + 1).made_locally().to("eth0"),
                   905, Hook::output)});
  const Connection c = diagnosed(events);
  EXPECT_EQ(c.outcome, ConnectionOutcome::reset);
  EXPECT_EQ(c.cause.kind, CauseKind::application_close);
  EXPECT_EQ(c.cause.summary, "the server's application closed the socket with unread data in it");
}

TEST(Reset, TheApplicationAborted) {
  Events events = handshake();
  append(events,
         {socket(client, server, 900, socket_event(SocketObservation::What::active_reset, 7, "TCP_STATE"))});
  EXPECT_EQ(diagnosed(events).cause.kind, CauseKind::application_abort);
}

// Before 6.10 the kernel gives no reason: the functions that called tcp_send_active_reset() tell.
Connection reset_by(std::vector<std::string> callers, std::uint32_t state_before) {
  Events events = handshake();
  SocketObservation reset = socket_event(SocketObservation::What::active_reset, 7);
  reset.callers = std::move(callers);
  append(events, {socket(server, client, 900, state(state_before, 7)), socket(server, client, 901, reset)});
  return last_diagnosis(events);
}

TEST(Reset, TheCallerTellsWhy) {
  constexpr std::uint32_t established = 1;
  constexpr std::uint32_t fin_wait2 = 5;
  struct {
    std::vector<std::string> callers;
    std::uint32_t state;
    CauseKind kind;
    std::string says;
    Confidence confidence;
  } const cases[] = {
      {{"__tcp_close", "tcp_close"},
       established,
       CauseKind::application_close,
       "the server's application closed the socket with unread data in it",
       Confidence::exact},
      {{"__tcp_close", "tcp_close"},
       fin_wait2,
       CauseKind::application_close,
       "the server's application closed the socket with unread data in it, or aborted the connection",
       Confidence::partial},
      {{"tcp_disconnect", "__tcp_close", "tcp_close"},
       established,
       CauseKind::application_abort,
       "the server's application aborted the connection: it closed the socket with SO_LINGER 0",
       Confidence::exact},
      {{"tcp_disconnect", "inet_child_forget", "inet_csk_listen_stop"},
       established,
       CauseKind::application_abort,
       "the server's application closed its listening socket before it accepted the connection",
       Confidence::exact},
      {{"tcp_keepalive_timer", "call_timer_fn"},
       established,
       CauseKind::no_reply,
       "the server's TCP gave the connection up: its keepalive probes were not answered",
       Confidence::exact},
      {{"tcp_abort", "tcp_diag_destroy"},
       established,
       CauseKind::stack_reset,
       "the server's socket was destroyed from outside the application (ss -K)",
       Confidence::exact},
  };
  for (const auto& one : cases) {
    const Connection c = reset_by(one.callers, one.state);
    EXPECT_EQ(c.outcome, ConnectionOutcome::reset);
    EXPECT_EQ(c.cause.kind, one.kind) << one.callers.front();
    EXPECT_EQ(c.cause.summary, one.says);
    EXPECT_EQ(c.confidence, one.confidence) << one.callers.front();
  }
}

// The server's data are dropped here, later the client's socket gives up.
Events falls_silent(bool by_rule) {
  const Skb data = tcp(server, client, tcp_ack, server_isn + 1, isn + 1).made_locally().to("eth0");
  Events events = handshake();
  append(events, {by_rule ? walk(data, 1000, Hook::output, {rule("OUTPUT", 2, Verdict::drop)})
                          : accepted(data, 1000, Hook::output),
                  socket(client, server, 900'000, state(1, 7, 110))});
  return events;
}

TEST(Silence, TheClientsTcpGaveUp) {
  const Connection c = last_diagnosis(falls_silent(false));
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
  EXPECT_EQ(c.error, std::nullopt);
}

TEST(Silence, ARuleThatDropsIsWhy) {
  const Connection c = last_diagnosis(falls_silent(true));
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
  EXPECT_EQ(c.cause.kind, CauseKind::firewall_drop);
}

TEST(Reset, ByASocketOfAnotherNamespace) {
  Events events = handshake();
  SocketObservation reset = socket_event(SocketObservation::What::active_reset, 1);
  reset.callers = {"tcp_keepalive_timer", "call_timer_fn"};
  append(events,
         {socket(client, server, 900, reset, client_ns),
          accepted(tcp(client, server, tcp_rst | tcp_ack, isn + 1).from("eth0"), 901, Hook::forward)});
  const Connection c = last_diagnosis(events);
  EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
  EXPECT_EQ(c.outcome, ConnectionOutcome::timed_out);
}

TEST(Reset, WithoutAReasonTheKernelsBefore610LeaveItOpen) {
  Events events = handshake();
  append(events, {socket(server, client, 900, socket_event(SocketObservation::What::active_reset, 7))});
  const Connection c = diagnosed(events);
  EXPECT_EQ(c.cause.kind, CauseKind::application_close);
  EXPECT_EQ(c.confidence, Confidence::partial);
}

TEST(Reset, ByTheRemoteEnd) {
  Events events = handshake();
  append(events, {accepted(tcp(client, server, tcp_rst, isn + 1).from("eth0"), 900, Hook::input)});
  const Connection c = last_diagnosis(events);
  EXPECT_EQ(c.cause.kind, CauseKind::remote_reset);
  EXPECT_EQ(c.outcome, ConnectionOutcome::reset);
}

// Nothing here answered; but its other half, behind the translation, was another connection's.
TEST(Remote, NobodyIsBlamedForSureForWhatWasTranslated) {
  const auto refused = [](Step translated) {
    return diagnosed(
        {walk(syn(), 0, Hook::prerouting, {std::move(translated)}),
         accepted(tcp(server, client, tcp_rst | tcp_ack, 0, isn + 1).from("eth1"), 900, Hook::forward)});
  };
  Step dnat = rule("PREROUTING", 1, Verdict::accept, "-j DNAT --to-destination 10.2.0.2:8080");
  dnat.target = "DNAT";
  const Connection c = refused(dnat);
  EXPECT_EQ(c.cause.kind, CauseKind::remote_refused);
  EXPECT_EQ(c.confidence, Confidence::partial);
  EXPECT_EQ(refused(nft_rule("pre", 1, 7, Verdict::accept, "tcp dport 80 redirect to :8080")).confidence,
            Confidence::partial);
  EXPECT_EQ(refused(nft_rule("pre", 1, 7, Verdict::accept, "tcp dport 80 accept comment \"no dnat here\""))
                .confidence,
            Confidence::exact);
}

TEST(Reset, ByTheStack) {
  Events events = handshake();
  const Skb data = tcp(client, server, tcp_ack, isn + 9, server_isn + 1).from("eth0").at(0x4400);
  append(events, {accepted(data, 900, Hook::input), stack_reset(data, 901)});
  const Connection c = diagnosed(events);
  EXPECT_EQ(c.cause.kind, CauseKind::stack_reset);
  EXPECT_THAT(c.cause.summary, HasSubstr("no socket knows the connection"));
}

TEST(Errors, AsTheKernelConvertsThem) {
  EXPECT_EQ(error_of_reject("icmp-net-prohibited", true).name, "ENETUNREACH");
  EXPECT_EQ(error_of_reject("icmp-proto-unreachable", true).name, "ENOPROTOOPT");
  EXPECT_EQ(error_of_reject("icmp6-addr-unreachable", true).name, "EHOSTUNREACH");
  EXPECT_EQ(error_of_reject("icmp6-policy-fail", true).name, "EACCES");
  EXPECT_FALSE(error_of_reject("icmp-code-99", true).name);
  // a UDP socket hears of what won't pass by itself
  EXPECT_EQ(error_of_reject("icmp-port-unreachable", false).name, "ECONNREFUSED");
  EXPECT_EQ(error_of_reject("icmp-host-prohibited", false).name, "EHOSTUNREACH");
  for (const char* passing : {"icmp-host-unreachable", "icmp-net-unreachable", "icmp6-no-route"}) {
    EXPECT_FALSE(error_of_reject(passing, false).name);
    EXPECT_EQ(error_of_reject(passing, false).outcome, ConnectionOutcome::timed_out);
  }
  EXPECT_FALSE(error_of_icmp(false, 3, 4, true));   // path MTU
  EXPECT_FALSE(error_of_icmp(false, 11, 0, true));  // time exceeded
  EXPECT_EQ(error_of_icmp(true, 1, 4, true)->outcome, ConnectionOutcome::refused);
}

TEST(Wording, TheObjectIsOnlyWhatTheTextSays) {
  EXPECT_EQ(object_of(rule("INPUT", 1, Verdict::drop, "-s 10.0.0.0/8 -j DROP")), "10.0.0.0/8");
  EXPECT_EQ(object_of(rule("INPUT", 1, Verdict::drop, "! -s 10.0.0.0/8 -j DROP")), "it");
  EXPECT_EQ(object_of(rule("INPUT", 1, Verdict::drop, "-p tcp -j DROP")), "it");
  EXPECT_EQ(object_of(rule("INPUT", 1, Verdict::drop)), "it");
  EXPECT_EQ(object_of(nft_rule("input", 1, 1, Verdict::drop, "ip saddr 10.0.0.9 drop")), "10.0.0.9");
  EXPECT_EQ(object_of(nft_rule("input", 1, 1, Verdict::drop, "ip saddr != 10.0.0.9 drop")), "it");
  EXPECT_EQ(object_of(nft_rule("input", 1, 1, Verdict::drop, "ip saddr @blocked drop")), "it");
}

TEST(Wording, EndpointsOfIpv6) {
  EXPECT_EQ(address_port("fd01::1", 80), "[fd01::1]:80");
  EXPECT_EQ(address_port("10.0.0.1", 80), "10.0.0.1:80");
}

TEST(Diagnosis, ListenersAreAskedForOnlyWhenNeeded) {
  int asked = 0;
  Facts facts;
  facts.listeners = [&asked](const std::string&, std::uint16_t) {
    ++asked;
    return std::optional(std::vector<Listener>{});
  };
  diagnosed(handshake(), facts);
  EXPECT_EQ(asked, 0);
  diagnosed(refused_by_stack(), facts);
  EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace pathtrace
