// SPDX-License-Identifier: GPL-2.0
// The stack itself lost a packet, or said that there is no way. The kernel's drop reasons are
// compared by name: their numbers change with every release.
#include <algorithm>
#include <array>
#include <ranges>
#include <string_view>

#include "diagnosis/causes.h"
#include "diagnosis/drops.h"
#include "diagnosis/errors.h"
#include "diagnosis/wording.h"
#include "timeline/identity.h"

namespace pathtrace {

namespace {

const DropFact* drop_of(const Story& story, const Packet* packet) {
  if (packet == nullptr || stop_of(*packet)) return nullptr;
  for (const DropFact& drop : story.trace().drops)
    if (drop.packet == packet->id && drop.what.reason != "NETFILTER_DROP" && drop.what.reason != "NO_SOCKET")
      return &drop;
  return nullptr;
}

std::string freed_text(const DropObservation& drop) {
  return (drop.where.empty() ? "" : " in " + drop.where) + (drop.reason ? ": " + *drop.reason : "");
}

// The last packet of what opens a connection that was lost outside netfilter, else the SYN-ACK that was.
const DropFact* needed_loss(const Story& story) {
  if (const DropFact* drop = drop_of(story, story.last_opening())) return drop;
  return drop_of(
      story, story.last([](const Packet& p) { return p.direction == Direction::reply && is_syn_ack(p); }));
}

}  // namespace

std::optional<Candidate> lost_in_stack(const Story& story) {
  if (!story.is_connecting()) return std::nullopt;
  const DropFact* drop = needed_loss(story);
  if (drop == nullptr) return std::nullopt;
  const Packet& packet = *story.packet(drop->packet);
  const auto known = explain(drop->what, packet);

  Candidate candidate;
  candidate.rank = Rank::stack_loss;
  candidate.outcome = ConnectionOutcome::timed_out;
  if (story.is_tcp()) candidate.error = "ETIMEDOUT";
  candidate.netns = packet.netns;
  candidate.rests_on = {&packet};
  Cause& cause = candidate.cause;
  cause.kind = known ? known->kind : CauseKind::stack_drop;
  cause.reason = drop->what.reason;
  cause.summary = "the kernel drops the " + packet_name(packet) + story.in_namespace(packet.netns) +
                  (known ? ": " + known->says : freed_text(drop->what));
  cause.evidence.push_back("kfree_skb freed the " + packet_name(packet) + freed_text(drop->what));
  if (known && !known->evidence.empty()) cause.evidence.push_back(known->evidence);
  if (!known && (!drop->what.reason || drop->what.reason == "NOT_SPECIFIED"))
    candidate.missing.emplace_back("the kernel's reason for the drop");
  return candidate;
}

// An ICMP error that this host's stack, and no rule, sent to the client.
std::optional<Candidate> unreachable_by_this_host(const Story& story) {
  if (!story.is_connecting()) return std::nullopt;
  for (const Answer& answer : std::views::reverse(story.trace().answers)) {
    const auto* icmp = std::get_if<IcmpAnswerObservation>(&answer.what);
    const Packet* packet = story.packet(answer.packet);
    if (icmp == nullptr || packet == nullptr || packet->direction != Direction::original) continue;
    if (story.stop_of_answer(answer)) return std::nullopt;
    const auto error = error_of_icmp(icmp->ipv6, icmp->type, icmp->code, story.is_tcp());
    if (!error || error->outcome == ConnectionOutcome::refused) continue;
    Candidate candidate;
    candidate.rank = Rank::local_answer;
    candidate.outcome = error->outcome;
    candidate.error = error->name;
    candidate.netns = packet->netns;
    candidate.rests_on = {packet};
    Cause& cause = candidate.cause;
    const DropFact* drop = drop_of(story, packet);
    const auto known = drop == nullptr ? std::nullopt : explain(drop->what, *packet);
    const std::string with = reject_word(icmp->ipv6, icmp->code);
    cause.kind = known ? known->kind : CauseKind::stack_drop;
    cause.summary = known ? known->says : "the stack answers the " + packet_name(*packet) + " with " + with;
    cause.summary += story.in_namespace(packet->netns);
    cause.evidence.push_back(std::string(icmp->ipv6 ? "icmp6_send" : "__icmp_send") + " answered the " +
                             packet_name(*packet) + " with " + with + ", and no rule did");
    if (drop != nullptr) {
      cause.reason = drop->what.reason;
      cause.evidence.push_back("kfree_skb freed the " + packet_name(*packet) + freed_text(drop->what));
    }
    if (known && !known->evidence.empty()) cause.evidence.push_back(known->evidence);
    if (!known) candidate.missing.emplace_back("why the stack answered with " + with);
    return candidate;
  }
  return std::nullopt;
}

// The packet is where the host keeps what it can't send yet. If nothing changes, the kernel gives up after 3
// s (mcast_solicit times retrans_time) and tells a client.
std::optional<Candidate> waits_for_next_hop(const Story& story) {
  if (!story.is_connecting() || !story.trace().waited) return std::nullopt;
  const Packet* packet = story.trace().progress.syn_ack ? story.last(is_syn_ack) : story.last_opening();
  const auto& waits = story.trace().waits;
  const auto wait = std::find_if(waits.begin(), waits.end(), [packet](const WaitFact& fact) {
    return packet != nullptr && fact.packet == packet->id;
  });
  if (wait == waits.end()) return std::nullopt;
  Candidate candidate;
  candidate.rank = Rank::silence;
  if (story.is_tcp() && (story.trace().progress.client_closed || is_syn_ack(*packet))) {
    candidate.outcome = ConnectionOutcome::timed_out;
    candidate.error = "ETIMEDOUT";
  }
  candidate.netns = packet->netns;
  candidate.rests_on = {packet};
  Cause& cause = candidate.cause;
  cause.kind = CauseKind::neighbour_failed;
  const bool ipv6 = wait->next_hop.find(':') != std::string::npos;
  cause.summary = "the " + packet_name(*packet) + " waits" + story.in_namespace(packet->netns) +
                  (packet->oif ? " to leave through " + *packet->oif : "") + ": the next hop, " +
                  wait->next_hop + ", has not answered " + (ipv6 ? "neighbour discovery" : "ARP") + " so far";
  cause.evidence.push_back("__neigh_event_send kept the " + packet_name(*packet) + " for " + wait->next_hop +
                           ", and it was not sent since");
  return candidate;
}

}  // namespace pathtrace
