// SPDX-License-Identifier: GPL-2.0
// The handshake's last ACK found no room: tcp_v4_syn_recv_sock() made no child. The client takes the
// connection for made, unless it is told otherwise by a RST (tcp_abort_on_overflow).
#include <algorithm>

#include "diagnosis/causes.h"
#include "diagnosis/listeners.h"
#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

// Did the listener take the connection after all, when the client sent again?
bool was_made_later(const Story& story, const ListenerFact& fact) {
  const auto& sockets = story.trace().sockets;
  return std::any_of(sockets.begin(), sockets.end(), [&fact](const SocketFact& socket) {
    return !socket.at_client && socket.what.what == SocketObservation::What::state_change &&
           socket.what.new_state == state_established && socket.ts_ns > fact.ts_ns;
  });
}

bool was_answered_with_reset(const Story& story, const Packet& packet) {
  const auto& answers = story.trace().answers;
  return std::any_of(answers.begin(), answers.end(), [&packet](const Answer& answer) {
    return answer.packet == packet.id && std::holds_alternative<StackResetObservation>(answer.what);
  });
}

// What the client experiences, and what the listener does to the ACK. After its own ACK the client takes
// the connection for made: connect() has succeeded, or fails with the RST if that is quicker.
std::string set_outcome(Candidate& candidate, const Story& story, const Packet& ack) {
  candidate.rank = Rank::stack_loss;
  candidate.outcome = ConnectionOutcome::timed_out;
  if (!was_answered_with_reset(story, ack)) return "drops";
  candidate.rank = Rank::local_answer;
  candidate.outcome = ConnectionOutcome::reset;
  candidate.error = "ECONNRESET";
  candidate.cause.evidence.emplace_back("TCP answered the ACK with a RST (net.ipv4.tcp_abort_on_overflow)");
  return "resets, as net.ipv4.tcp_abort_on_overflow wants,";
}

}  // namespace

std::optional<Candidate> turned_away_at_accept(const Story& story) {
  const auto& listeners = story.trace().listeners;
  if (listeners.empty() || !listeners.back().what.is_ack) return std::nullopt;
  const ListenerFact& fact = listeners.back();
  const Packet* ack = story.packet(fact.packet);
  if (ack == nullptr || was_made_later(story, fact)) return std::nullopt;
  const std::string queue = std::to_string(fact.what.backlog) + "/" + std::to_string(fact.what.max_backlog);
  // sk_acceptq_is_full(): more than the maximum
  const bool full = fact.what.backlog > fact.what.max_backlog;
  Candidate candidate;
  candidate.netns = fact.netns;
  candidate.rests_on = {ack};
  Cause& cause = candidate.cause;
  cause.kind = full ? CauseKind::listen_queue_full : CauseKind::stack_drop;
  cause.evidence.push_back(
      "tcp_v4_syn_recv_sock or tcp_v6_syn_recv_sock turned the ACK away with accept queue " + queue);
  const std::string does = set_outcome(candidate, story, *ack);
  const std::string what = does + " the ACK that ends the handshake" + story.in_namespace(fact.netns);
  cause.summary = full ? "the listener's accept queue is full (" + queue + "): it " + what
                       : "the listener " + what + "; its accept queue is not full (" + queue + ")";
  if (!full) candidate.missing.emplace_back("why the listener turned the ACK away");
  add_full_listener(candidate, story, fact);
  return candidate;
}

}  // namespace pathtrace
