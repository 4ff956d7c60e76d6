// SPDX-License-Identifier: GPL-2.0
// It was made, and ended by a RST: by the application, by the stack, or from outside.
#include <algorithm>
#include <array>
#include <ranges>
#include <string_view>

#include "diagnosis/causes.h"
#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

// enum in net/tcp_states.h
enum State : std::uint32_t { fin_wait2 = 5, time_wait = 6, close_ = 7, listen = 10 };

const SocketFact* last_fact(const Story& story, SocketObservation::What what) {
  const auto& facts = story.trace().sockets;
  const auto found =
      std::find_if(facts.rbegin(), facts.rend(), [what](const SocketFact& f) { return f.what.what == what; });
  return found == facts.rend() ? nullptr : &*found;
}

std::string whose(const SocketFact& fact) { return fact.at_client ? "the client's" : "the server's"; }

Candidate reset_candidate(Rank rank, CauseKind kind) {
  Candidate candidate;
  candidate.rank = rank;
  candidate.outcome = ConnectionOutcome::reset;
  candidate.cause.kind = kind;
  return candidate;
}

// Why a socket sent a RST of its own accord: by the function that had it sent and, where that is not enough,
// one of those that called it; by the kernel's reason, where it gives one (enum sk_rst_reason, 6.10+) and the
// functions say nothing.
struct ActiveReset {
  std::string_view function;  // the caller of tcp_send_active_reset()
  std::string_view inside;    // "" = whatever called that
  std::string_view reason;
  CauseKind kind;
  std::string_view says;  // after "the client's" or "the server's"
};

constexpr auto active_resets = std::to_array<ActiveReset>({
    {"tcp_disconnect", "inet_csk_listen_stop", "", CauseKind::application_abort,
     "application closed its listening socket before it accepted the connection"},
    {"tcp_disconnect", "__tcp_close", "", CauseKind::application_abort,
     "application aborted the connection: it closed the socket with SO_LINGER 0"},
    {"tcp_disconnect", "", "TCP_STATE", CauseKind::application_abort,
     "application aborted the connection: it disconnected the socket (or SO_LINGER 0)"},
    {"tcp_disconnect", "", "TCP_DISCONNECT_WITH_DATA", CauseKind::application_abort,
     "application disconnected the socket with data not sent yet"},
    {"tcp_keepalive_timer", "", "TCP_KEEPALIVE_TIMEOUT", CauseKind::no_reply,
     "TCP gave the connection up: its keepalive probes were not answered"},
    {"tcp_abort", "", "", CauseKind::stack_reset,
     "socket was destroyed from outside the application (ss -K)"},
    {"__tcp_close", "", "TCP_ABORT_ON_LINGER", CauseKind::application_abort,
     "application closed the socket with TCP_LINGER2 below 0"},
    {"__tcp_close", "", "TCP_ABORT_ON_MEMORY", CauseKind::stack_reset,
     "TCP gave the connection up: too many orphaned sockets, or no memory for them"},
    {"__tcp_close", "", "TCP_ABORT_ON_CLOSE", CauseKind::application_close,
     "application closed the socket with unread data in it"},
});

bool has_caller(const SocketObservation& reset, std::string_view function) {
  return std::find(reset.callers.begin(), reset.callers.end(), function) != reset.callers.end();
}

// A reason that the kernel gives excludes the others of the same function.
bool fits(const ActiveReset& known, const SocketObservation& reset) {
  if (reset.callers.empty()) return reset.reason && reset.reason == known.reason;
  if (reset.callers.front() != known.function) return false;
  if (!known.inside.empty()) return has_caller(reset, known.inside);
  return !reset.reason || known.reason.empty() || reset.reason == known.reason;
}

// Which state was it in before? close() sets TCP_CLOSE first.
std::optional<std::uint32_t> state_before(const Story& story, const SocketFact& reset) {
  for (const SocketFact& fact : story.trace().sockets)
    if (fact.what.what == SocketObservation::What::state_change && fact.what.sock == reset.what.sock &&
        fact.what.new_state == State::close_)
      return fact.what.old_state;
  return std::nullopt;
}

// Without a reason, close() says why by the state: in FIN_WAIT2 there may be three.
bool is_plain_close(const Story& story, const SocketFact& fact) {
  return !fact.what.reason && !fact.what.callers.empty() && fact.what.callers.front() == "__tcp_close" &&
         state_before(story, fact).value_or(State::fin_wait2) != State::fin_wait2;
}

const ActiveReset* explanation_of(const Story& story, const SocketFact& fact) {
  if (is_plain_close(story, fact)) return &active_resets.back();
  const bool by_close = !fact.what.callers.empty() && fact.what.callers.front() == "__tcp_close";
  if (by_close && !fact.what.reason) return nullptr;
  const auto* found = std::find_if(active_resets.begin(), active_resets.end(),
                                   [&](const ActiveReset& known) { return fits(known, fact.what); });
  return found == active_resets.end() ? nullptr : found;
}

// Its RST is no answer: whatever kept the other end's packets away is the cause, if it is known.
void set_unanswered(Candidate& candidate, const SocketFact& fact) {
  candidate.rank = Rank::stack_loss;
  if (fact.at_client) candidate.outcome = ConnectionOutcome::timed_out;
}

std::string callers_text(const SocketObservation& reset) {
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(reset.callers.size(), 3); ++i)
    text += (i == 0 ? ", called by " : " in ") + reset.callers[i];
  return text;
}

std::string why_reset(const StackResetObservation& reset, const Packet& packet) {
  if (!reset.has_socket) return ": no socket knows the connection";
  if (reset.state == State::listen && !is_syn(packet))
    return ": a socket listens there, but it knows of no such connection";
  if (reset.state == State::time_wait) return ": the connection is over (TIME_WAIT)";
  return "";
}

}  // namespace

std::optional<Candidate> application_reset(const Story& story) {
  const SocketFact* fact = last_fact(story, SocketObservation::What::active_reset);
  if (fact == nullptr || story.is_connecting()) return std::nullopt;
  const ActiveReset* known = explanation_of(story, *fact);
  Candidate candidate = reset_candidate(Rank::local_answer, CauseKind::application_close);
  candidate.netns = fact->netns;
  Cause& cause = candidate.cause;
  cause.reason = fact->what.reason;
  cause.evidence.push_back(whose(*fact) + " socket sent a RST of its own accord (tcp_send_active_reset" +
                           callers_text(fact->what) + ")");
  if (known != nullptr) {
    cause.kind = known->kind;
    if (known->kind == CauseKind::no_reply) set_unanswered(candidate, *fact);
    cause.summary = whose(*fact) + " " + std::string(known->says) + story.in_namespace(fact->netns);
  } else if (fact->what.reason) {
    cause.kind = CauseKind::stack_reset;
    cause.summary =
        whose(*fact) + " TCP gave the connection up: " + *fact->what.reason + story.in_namespace(fact->netns);
  } else {
    cause.summary = whose(*fact) +
                    " application closed the socket with unread data in it, or aborted the connection" +
                    story.in_namespace(fact->netns);
    candidate.missing.emplace_back("the kernel's reason for the RST (6.10 and later give it)");
  }
  return candidate;
}

// tcp_write_err(): retransmitted for as long as it may, in vain. No RST goes out.
std::optional<Candidate> gave_up(const Story& story) {
  if (story.is_connecting() || !story.is_tcp()) return std::nullopt;
  constexpr std::uint32_t timed_out = 110;  // ETIMEDOUT
  for (const SocketFact& fact : std::views::reverse(story.trace().sockets)) {
    if (fact.what.what != SocketObservation::What::state_change || fact.what.new_state != State::close_ ||
        fact.what.error != timed_out)
      continue;
    Candidate candidate = reset_candidate(Rank::stack_loss, CauseKind::no_reply);
    set_unanswered(candidate, fact);
    candidate.netns = fact.netns;
    candidate.cause.summary = whose(fact) + " TCP gave the connection up: what it sent was not acknowledged" +
                              story.in_namespace(fact.netns);
    candidate.cause.evidence.push_back(whose(fact) + " socket failed with ETIMEDOUT");
    return candidate;
  }
  return std::nullopt;
}

std::optional<Candidate> reset_by_stack(const Story& story) {
  const auto& answers = story.trace().answers;
  for (const Answer& answer : std::views::reverse(answers)) {
    const auto* reset = std::get_if<StackResetObservation>(&answer.what);
    const Packet* packet = story.packet(answer.packet);
    if (reset == nullptr || packet == nullptr || (is_syn(*packet) && !reset->has_socket)) continue;
    if (is_syn(*packet) && !story.is_connecting()) continue;
    if (story.was_over(packet->ts_ns)) continue;
    if (story.stop_of_answer(answer)) return std::nullopt;
    const bool refused = is_syn(*packet) && story.is_connecting();
    Candidate candidate = reset_candidate(Rank::local_answer, CauseKind::stack_reset);
    if (refused) {
      candidate.outcome = ConnectionOutcome::refused;
      candidate.error = "ECONNREFUSED";
    }
    candidate.netns = packet->netns;
    candidate.rests_on = {packet};
    candidate.cause.reason = reset->reason;
    const std::string who =
        packet->direction == Direction::original ? "the server's TCP" : "the client's TCP";
    candidate.cause.summary = who + " answered the " + packet_name(*packet) + " with a RST" +
                              why_reset(*reset, *packet) + story.in_namespace(packet->netns);
    candidate.cause.evidence.push_back("TCP answered the " + packet_name(*packet) +
                                       " with a RST; socket state " + std::to_string(reset->state));
    return candidate;
  }
  return std::nullopt;
}

std::optional<Candidate> reset_by_remote(const Story& story) {
  if (story.is_connecting() || !story.trace().answers.empty()) return std::nullopt;
  // a RST that comes in here may have been sent by a socket of another namespace
  if (last_fact(story, SocketObservation::What::active_reset) != nullptr) return std::nullopt;
  const Packet* reset = story.last([](const Packet& p) { return is_reset(p); });
  const bool seen = reset != nullptr && reset->origin == Origin::wire && reset->iif && reset->iif != "lo" &&
                    !stop_of(*reset);
  const SocketFact* received = last_fact(story, SocketObservation::What::received_reset);
  if (!seen && (reset != nullptr || received == nullptr)) return std::nullopt;
  if (seen && story.was_over(reset->ts_ns)) return std::nullopt;
  Candidate candidate = reset_candidate(Rank::remote_answer, CauseKind::remote_reset);
  if (seen) {
    candidate.netns = reset->netns;
    candidate.rests_on = {reset};
    candidate.cause.summary = "a RST from outside this host, as from " + endpoint_text(reset->source);
    candidate.cause.evidence.push_back("the RST came in through " + *reset->iif +
                                       story.in_namespace(reset->netns));
  } else {
    candidate.netns = received->netns;
    candidate.cause.summary = whose(*received) + " socket accepted a RST";
    candidate.cause.evidence.push_back(whose(*received) + " socket accepted a RST (tcp_reset)");
    candidate.missing.emplace_back("the RST's own way through this host");
  }
  return candidate;
}

}  // namespace pathtrace
