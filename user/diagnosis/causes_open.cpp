// SPDX-License-Identifier: GPL-2.0
// The connection was made; and how it ended.
#include <algorithm>

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
  if (story.is_translated()) {
    cause.summary += "; a rule translates its addresses";
    candidate.missing.emplace_back("what became of it behind the rule that translated its addresses");
  }
  return candidate;
}

}  // namespace pathtrace
