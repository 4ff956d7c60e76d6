// SPDX-License-Identifier: GPL-2.0
// The connection was made; and how it ended.
#include <algorithm>
#include <array>
#include <ranges>
#include <string_view>

#include "diagnosis/causes.h"
#include "diagnosis/outcomes.h"
#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

bool ended_in_order(const Progress& progress) {
  return progress.last_ack || progress.client_closed || progress.server_closed ||
         (progress.fin_client && progress.fin_server);
}

bool has_both_directions(const Story& story) {
  const auto& packets = story.trace().packets;
  const auto has = [&](Direction d) {
    return std::any_of(packets.begin(), packets.end(), [d](const Packet& p) { return p.direction == d; });
  };
  return has(Direction::original) && has(Direction::reply);
}

void rest_on_handshake(Candidate& candidate, const Story& story) {
  for (const Packet& packet : story.trace().packets)
    if (is_syn(packet) || is_syn_ack(packet)) candidate.rests_on.push_back(&packet);
}

// The namespace that is nearest to the server.
std::optional<Netns> servers_namespace(const Story& story) {
  if (!story.trace().listeners.empty()) return story.trace().listeners.back().netns;
  for (const SocketFact& fact : story.trace().sockets)
    if (!fact.at_client) return fact.netns;
  return std::nullopt;
}

const SocketFact* last_fact(const Story& story, SocketObservation::What what) {
  const auto& facts = story.trace().sockets;
  const auto found =
      std::find_if(facts.rbegin(), facts.rend(), [what](const SocketFact& f) { return f.what.what == what; });
  return found == facts.rend() ? nullptr : &*found;
}

std::string whose(const SocketFact& fact) { return fact.at_client ? "the client's" : "the server's"; }

struct ResetReason {
  std::string_view name;  // enum sk_rst_reason, 6.10+
  CauseKind kind;
  std::string_view says;
};

constexpr auto reset_reasons = std::to_array<ResetReason>({
    {"TCP_ABORT_ON_CLOSE", CauseKind::application_close, "closed the socket with unread data in it"},
    {"TCP_STATE", CauseKind::application_abort, "aborted the connection (SO_LINGER 0, or disconnected)"},
    {"TCP_ABORT_ON_LINGER", CauseKind::application_abort, "closed the socket with TCP_LINGER2 below 0"},
    {"TCP_DISCONNECT_WITH_DATA", CauseKind::application_abort, "disconnected with data not sent yet"},
});

// There was no time for it yet or, if there was, `what` is unknown.
void add_not_yet(Candidate& candidate, const Story& story, const std::string& what) {
  const ConnectionTrace& trace = story.trace();
  if (trace.occasion == Occasion::no_room) return;  // diagnose() says so, whatever the cause
  if (trace.waited || trace.occasion != Occasion::trace_ended || trace.opened_ns == 0) {
    candidate.missing.push_back(what);
    return;
  }
  const Packet* opening = story.last_opening();
  candidate.missing.push_back("the trace ended " + duration_text(trace.as_of_ns - trace.opened_ns) +
                              " after the " + (opening == nullptr ? "SYN" : packet_name(*opening)));
}

Candidate reset_candidate(Rank rank, CauseKind kind) {
  Candidate candidate;
  candidate.rank = rank;
  candidate.outcome = ConnectionOutcome::reset;
  candidate.cause.kind = kind;
  return candidate;
}

}  // namespace

std::optional<Candidate> was_established(const Story& story) {
  if (!story.is_tcp() || story.is_connecting()) return std::nullopt;
  const Progress& progress = story.trace().progress;
  const bool over = ended_in_order(progress);
  if (!progress.established && !over && !has_both_directions(story)) return std::nullopt;
  Candidate candidate;
  candidate.rank = Rank::open;
  candidate.outcome = over ? ConnectionOutcome::closed : ConnectionOutcome::established;
  candidate.cause.kind = CauseKind::established;
  candidate.cause.summary = over ? "established and closed in order" : "established";
  candidate.netns = servers_namespace(story);
  rest_on_handshake(candidate, story);
  if (!progress.established) {
    candidate.cause.summary += "; its beginning was not seen";
    candidate.missing.emplace_back("the beginning of the connection");
  }
  return candidate;
}

// UDP and ICMP have no handshake: a reply is all there is.
std::optional<Candidate> was_answered(const Story& story) {
  if (story.is_tcp() || !story.trace().progress.established) return std::nullopt;
  Candidate candidate;
  candidate.rank = Rank::open;
  candidate.outcome = ConnectionOutcome::established;
  candidate.cause.kind = CauseKind::established;
  candidate.cause.summary = "answered";
  return candidate;
}

std::optional<Candidate> application_reset(const Story& story) {
  const SocketFact* fact = last_fact(story, SocketObservation::What::active_reset);
  if (fact == nullptr || story.is_connecting()) return std::nullopt;
  Candidate candidate = reset_candidate(Rank::local_answer, CauseKind::application_close);
  candidate.netns = fact->netns;
  Cause& cause = candidate.cause;
  cause.reason = fact->what.reason;
  cause.evidence.push_back(whose(*fact) + " socket sent a RST of its own accord (tcp_send_active_reset)");
  const auto* known = std::find_if(reset_reasons.begin(), reset_reasons.end(),
                                   [&](const ResetReason& r) { return fact->what.reason == r.name; });
  if (known != reset_reasons.end()) {
    cause.kind = known->kind;
    cause.summary = whose(*fact) + " application " + std::string(known->says);
  } else if (fact->what.reason) {
    cause.kind = CauseKind::stack_reset;
    cause.summary = whose(*fact) + " TCP gave the connection up: " + *fact->what.reason;
  } else {
    cause.summary =
        whose(*fact) + " application closed the socket with unread data in it, or aborted (SO_LINGER 0)";
    candidate.missing.emplace_back("the kernel's reason for the RST (6.10 and later give it)");
  }
  return candidate;
}

std::optional<Candidate> reset_by_stack(const Story& story) {
  const auto& answers = story.trace().answers;
  for (const Answer& answer : std::views::reverse(answers)) {
    const auto* reset = std::get_if<StackResetObservation>(&answer.what);
    const Packet* packet = story.packet(answer.packet);
    if (reset == nullptr || packet == nullptr || (is_syn(*packet) && !reset->has_socket)) continue;
    if (is_syn(*packet) && !story.is_connecting()) continue;
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
                              (reset->has_socket ? "" : ": no socket knows the connection") +
                              story.in_namespace(packet->netns);
    candidate.cause.evidence.push_back("TCP answered the " + packet_name(*packet) +
                                       " with a RST; socket state " + std::to_string(reset->state));
    return candidate;
  }
  return std::nullopt;
}

std::optional<Candidate> reset_by_remote(const Story& story) {
  if (story.is_connecting() || !story.trace().answers.empty()) return std::nullopt;
  const Packet* reset = story.last([](const Packet& p) { return is_reset(p); });
  const bool seen = reset != nullptr && reset->origin == Origin::wire && reset->iif && reset->iif != "lo" &&
                    !stop_of(*reset);
  const SocketFact* received = last_fact(story, SocketObservation::What::received_reset);
  if (!seen && (reset != nullptr || received == nullptr)) return std::nullopt;
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

std::optional<Candidate> undecided(const Story& story) {
  Candidate candidate;
  candidate.rank = Rank::fallback;
  const ConnectionTrace& trace = story.trace();
  Cause& cause = candidate.cause;
  const Packet* opening = story.last_opening();
  const bool had_reset = trace.progress.reset || !trace.answers.empty();
  if (!story.is_connecting()) {
    candidate.outcome = had_reset ? ConnectionOutcome::reset : ConnectionOutcome::in_progress;
    cause.summary =
        had_reset ? "it was reset; by whom was not seen" : "in progress; its beginning was not seen";
    candidate.missing.emplace_back(had_reset ? "who sent the RST" : "the beginning of the connection");
    return candidate;
  }
  if (had_reset || !trace.icmp_errors.empty()) {
    cause.summary = "it was answered with a RST or an ICMP error; by whom was not seen";
    candidate.missing.emplace_back("who sent the answer");
  } else if (trace.progress.syn_ack) {
    cause.summary = "the server's SYN-ACK was seen, the client's ACK not yet";
    add_not_yet(candidate, story, "the client's ACK");
  } else if (opening != nullptr && outcome_of(trace, *opening) == PacketOutcome::delivered) {
    cause.summary = "the " + packet_name(*opening) + " was accepted by every rule; no answer was seen yet";
    add_not_yet(candidate, story, "why there is no answer");
  } else {
    cause.summary = "no answer was seen yet";
    add_not_yet(candidate, story, "why there is no answer");
  }
  if (opening != nullptr) candidate.netns = opening->netns;
  return candidate;
}

}  // namespace pathtrace
