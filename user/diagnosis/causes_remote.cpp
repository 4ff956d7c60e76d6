// SPDX-License-Identifier: GPL-2.0
// Somebody beyond this host answered, or nobody did.
#include <algorithm>
#include <functional>
#include <ranges>

#include "diagnosis/causes.h"
#include "diagnosis/errors.h"
#include "diagnosis/outcomes.h"
#include "diagnosis/wording.h"
#include "timeline/identity.h"

namespace pathtrace {

namespace {

bool came_from_outside(const Packet& packet) {
  return packet.origin == Origin::wire && packet.iif && packet.iif != "lo";
}

bool answered_here(const Story& story) { return !story.trace().answers.empty(); }

bool client_socket_was_reset(const Story& story) {
  const auto& facts = story.trace().sockets;
  return std::any_of(facts.begin(), facts.end(), [](const SocketFact& f) {
    return f.at_client && f.what.what == SocketObservation::What::received_reset &&
           f.what.old_state == state_syn_sent;
  });
}

Candidate remote(const Story& story, const Packet* packet) {
  Candidate candidate;
  candidate.rank = Rank::remote_answer;
  candidate.cause.kind = CauseKind::remote_refused;
  if (packet == nullptr) return candidate;
  candidate.netns = packet->netns;
  candidate.rests_on = {packet};
  candidate.cause.evidence.push_back(packet_name(*packet) + " came in through " + *packet->iif +
                                     story.in_namespace(packet->netns));
  return candidate;
}

// Of a chain that the packet itself went through: would one that comes back have gone through it, too, and
// with the addresses that belong to this connection? Where NAT is possible, PREROUTING sees it before they
// are translated back. iptables-legacy has a table at all of its hooks or at none (xt_hook_ops_alloc()): of
// raw that is PREROUTING, of the others INPUT and FORWARD as well.
bool is_passed_by_replies(const Step& step, const Packet& packet, bool may_be_nat) {
  const bool routed = step.family == Family::ip || step.family == Family::ip6 || step.family == Family::inet;
  if (!is_decision(step) || !step.every_packet || !routed) return false;
  if (step.backend == Backend::iptables_legacy) return !may_be_nat || step.table != "raw";
  const bool on_the_way = packet.origin == Origin::wire && step.hook == Hook::postrouting;
  return step.hook == Hook::forward || on_the_way || (step.hook == Hook::prerouting && !may_be_nat);
}

// A SYN-ACK makes the client's socket ESTABLISHED, which is reported like the SYN_SENT before it.
bool client_socket_is_seen(const Story& story) {
  const auto& facts = story.trace().sockets;
  return std::any_of(facts.begin(), facts.end(), [](const SocketFact& f) {
    return f.at_client && (f.what.old_state == state_syn_sent || f.what.new_state == state_syn_sent);
  });
}

bool any_step(const Story& story, const std::function<bool(const Step&, const Packet&)>& wanted) {
  const auto& packets = story.trace().packets;
  return std::any_of(packets.begin(), packets.end(), [&wanted](const Packet& packet) {
    return packet.direction == Direction::original &&
           std::any_of(packet.steps.begin(), packet.steps.end(),
                       [&](const Step& step) { return wanted(step, packet); });
  });
}

bool replies_are_seen(const Story& story) {
  if (client_socket_is_seen(story)) return true;
  const bool may_be_nat =
      any_step(story, [](const Step& s, const Packet&) { return is_decision(s) && !s.every_packet; });
  return any_step(story,
                  [&](const Step& s, const Packet& p) { return is_passed_by_replies(s, p, may_be_nat); });
}

// Would the answer to this packet have been seen? The ACK to a SYN-ACK goes the way of the SYN.
bool answer_is_seen(const Story& story, const Packet& packet) {
  if (!is_syn_ack(packet)) return replies_are_seen(story);
  return any_step(story, [](const Step& s, const Packet&) { return is_decision(s) && s.every_packet; });
}

// Whether anything came back, where that can be told. Only TCP must answer what opens a connection.
void conclude_from_silence(Candidate& candidate, const Story& story, const Packet& packet) {
  if (!answer_is_seen(story, packet)) {
    candidate.cause.summary += "; what comes back, if anything does, passes nothing that is watched";
    candidate.missing.emplace_back("replies: they pass no chain that sees every packet");
    return;
  }
  const std::string answer = is_syn_ack(packet) ? "ACK" : "packet";
  candidate.cause.kind = CauseKind::no_reply;
  candidate.cause.summary += !story.is_tcp()      ? "; no reply was seen"
                             : is_syn_ack(packet) ? " and no ACK came back"
                                                  : " and nothing came back";
  candidate.cause.evidence.push_back("no rule that was seen dropped the " + packet_name(packet) +
                                     ", and no " + answer + " of " + packet.destination.address +
                                     " was seen");
  if (!story.is_tcp()) return;
  candidate.outcome = ConnectionOutcome::timed_out;
  candidate.error = "ETIMEDOUT";
}

}  // namespace

std::optional<Candidate> remote_end_refused(const Story& story) {
  if (!story.is_connecting() || answered_here(story)) return std::nullopt;
  const Packet* reset =
      story.last([](const Packet& p) { return p.direction == Direction::reply && is_reset(p); });
  const bool seen = reset != nullptr && came_from_outside(*reset) && !stop_of(*reset);
  // under a translated address, this host may have sent it
  if (!seen && (reset != nullptr || !client_socket_was_reset(story) || story.is_translated()))
    return std::nullopt;
  Candidate candidate = remote(story, seen ? reset : nullptr);
  candidate.outcome = ConnectionOutcome::refused;
  candidate.error = "ECONNREFUSED";
  candidate.cause.summary =
      "the RST came from outside this host: " + endpoint_text(story.trace().connection.server) +
      ", or something on the way to it, refused";
  if (!seen) {
    candidate.cause.evidence.emplace_back("the client's socket accepted a RST in SYN_SENT");
    candidate.missing.emplace_back("the RST's own way through this host");
  }
  return candidate;
}

std::optional<Candidate> remote_icmp_error(const Story& story) {
  if (!story.is_connecting() || answered_here(story)) return std::nullopt;
  const auto& errors = story.trace().icmp_errors;
  for (const IcmpErrorFact& fact : std::views::reverse(errors)) {
    const Packet* packet = story.packet(fact.packet);
    if (packet == nullptr || !came_from_outside(*packet) || stop_of(*packet)) continue;
    const auto error = error_of_icmp(fact.ipv6, fact.type, fact.code, story.is_tcp());
    if (!error) continue;
    Candidate candidate = remote(story, nullptr);
    candidate.outcome = error->outcome;
    candidate.error = error->name;
    candidate.netns = packet->netns;
    candidate.rests_on = {packet};
    candidate.cause.reason = reject_word(fact.ipv6, fact.code);
    candidate.cause.summary = "an ICMP error from outside this host says " + *candidate.cause.reason;
    candidate.cause.evidence.push_back("ICMP type " + std::to_string(fact.type) + " code " +
                                       std::to_string(fact.code) + " came in through " + *packet->iif);
    return candidate;
  }
  return std::nullopt;
}

namespace {

// The client sent more than what opens the connection: an answer has reached it, unseen.
bool client_went_on(const Story& story) {
  return story.is_tcp() && story.last([&story](const Packet& p) {
    return p.direction == Direction::original && !is_syn(p) && !is_reset(p) && !is_icmp_error(story, p);
  }) != nullptr;
}

// The last packet that waits for the other side's: the opening, or the SYN-ACK to it.
const Packet* last_unanswered(const Story& story) {
  if (!story.trace().progress.syn_ack) {
    const auto& packets = story.trace().packets;
    const bool any_reply = std::any_of(packets.begin(), packets.end(),
                                       [](const Packet& p) { return p.direction == Direction::reply; });
    return any_reply ? nullptr : story.last_opening();
  }
  return story.last([](const Packet& p) { return is_syn_ack(p); });
}

}  // namespace

std::optional<Candidate> nothing_came_back(const Story& story) {
  if (!story.is_connecting() || answered_here(story) || !story.trace().waited) return std::nullopt;
  const Packet* packet = last_unanswered(story);
  // under a translated address, it may have been dropped or answered
  if (packet == nullptr || client_went_on(story) || story.is_translated()) return std::nullopt;
  if (story.got_further_before(*packet) != nullptr) return std::nullopt;
  const PacketOutcome outcome = outcome_of(story.trace(), *packet);
  const bool left = outcome == PacketOutcome::sent || outcome == PacketOutcome::forwarded;
  if (!left || !packet->oif || packet->oif == "lo") return std::nullopt;
  Candidate candidate;
  candidate.rank = Rank::silence;
  candidate.netns = packet->netns;
  candidate.rests_on = {packet};
  candidate.cause.summary =
      "the " + packet_name(*packet) + " left through " + *packet->oif + story.in_namespace(packet->netns);
  conclude_from_silence(candidate, story, *packet);
  return candidate;
}

}  // namespace pathtrace
