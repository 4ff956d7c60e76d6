// SPDX-License-Identifier: GPL-2.0
// Somebody beyond this host answered, or nobody did.
#include <algorithm>
#include <ranges>

#include "diagnosis/causes.h"
#include "diagnosis/errors.h"
#include "diagnosis/outcomes.h"
#include "diagnosis/wording.h"
#include "timeline/identity.h"

namespace pathtrace {

namespace {

constexpr std::uint32_t state_syn_sent = 2;

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

}  // namespace

std::optional<Candidate> remote_end_refused(const Story& story) {
  if (!story.is_connecting() || answered_here(story)) return std::nullopt;
  const Packet* reset =
      story.last([](const Packet& p) { return p.direction == Direction::reply && is_reset(p); });
  const bool seen = reset != nullptr && came_from_outside(*reset) && !stop_of(*reset);
  if (!seen && (reset != nullptr || !client_socket_was_reset(story))) return std::nullopt;
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
  const PacketOutcome outcome = outcome_of(story.trace(), *packet);
  const bool left = outcome == PacketOutcome::sent || outcome == PacketOutcome::forwarded;
  if (!left || !packet->oif || packet->oif == "lo") return std::nullopt;
  Candidate candidate;
  candidate.rank = Rank::silence;
  candidate.outcome = ConnectionOutcome::timed_out;
  if (story.is_tcp()) candidate.error = "ETIMEDOUT";
  candidate.netns = packet->netns;
  candidate.rests_on = {packet};
  candidate.cause.kind = CauseKind::no_reply;
  const std::string name = packet_name(*packet);
  candidate.cause.summary = "the " + name + " left through " + *packet->oif +
                            story.in_namespace(packet->netns) +
                            (is_syn_ack(*packet) ? " and no ACK came back" : " and nothing came back");
  candidate.cause.evidence.push_back("no rule that was seen dropped the " + name + ", and no " +
                                     (is_syn_ack(*packet) ? "ACK" : "packet") + " of " +
                                     packet->destination.address + " was seen");
  return candidate;
}

}  // namespace pathtrace
