// SPDX-License-Identifier: GPL-2.0
// The stack itself lost a packet, or said that there is no way. The kernel's drop reasons are
// compared by name: their numbers change with every release.
#include <algorithm>
#include <array>
#include <ranges>
#include <string_view>

#include "diagnosis/causes.h"
#include "diagnosis/errors.h"
#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

struct Reason {
  std::string_view name;
  CauseKind kind;
  std::string_view says;
  ConnectionOutcome outcome = ConnectionOutcome::timed_out;
  std::string_view error = "ETIMEDOUT";
};

constexpr auto reasons = std::to_array<Reason>({
    {"IP_RPFILTER", CauseKind::rp_filter,
     "the reverse path filter (rp_filter) drops it: no route back to its sender by that interface"},
    {"IP_LOCAL_SOURCE", CauseKind::martian, "it is martian: its source is an address of this host"},
    {"IP_INVALID_SOURCE", CauseKind::martian, "it is martian: its source address is not a valid one"},
    {"IP_INVALID_DEST", CauseKind::martian, "it is martian: its destination address is not a valid one"},
    {"IP_LOCALNET", CauseKind::martian, "it is martian: 127.0.0.0/8 from outside (route_localnet is off)"},
    {"IP_OUTNOROUTES", CauseKind::no_route, "there is no route to its destination"},
    {"IP_INNOROUTES", CauseKind::no_route, "there is no route to its destination"},
    {"NEIGH_FAILED", CauseKind::neighbour_failed, "the next hop does not answer ARP or neighbour discovery",
     ConnectionOutcome::unreachable, "EHOSTUNREACH"},
    {"NEIGH_DEAD", CauseKind::neighbour_failed, "the next hop's neighbour entry is dead",
     ConnectionOutcome::unreachable, "EHOSTUNREACH"},
    {"TCP_LISTEN_OVERFLOW", CauseKind::listen_queue_full, "the listener's accept queue is full"},
});

const Reason* known_reason(const std::optional<std::string>& name) {
  const auto* found =
      std::find_if(reasons.begin(), reasons.end(), [&](const Reason& r) { return name == r.name; });
  return found == reasons.end() ? nullptr : &*found;
}

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

bool is_local_error(const Packet& packet) { return packet.origin != Origin::wire && packet.oif.has_value(); }

}  // namespace

std::optional<Candidate> lost_in_stack(const Story& story) {
  if (!story.is_connecting()) return std::nullopt;
  const Packet* reply =
      story.last([](const Packet& p) { return p.direction == Direction::reply && is_syn_ack(p); });
  const Packet* packet = story.last_opening();
  const DropFact* drop = drop_of(story, packet);
  if (drop == nullptr) {
    packet = reply;
    drop = drop_of(story, packet);
  }
  if (drop == nullptr) return std::nullopt;
  const Reason* known = known_reason(drop->what.reason);

  Candidate candidate;
  candidate.rank = Rank::stack_loss;
  candidate.outcome = known != nullptr ? known->outcome : ConnectionOutcome::timed_out;
  if (story.is_tcp()) candidate.error = known != nullptr ? std::string(known->error) : "ETIMEDOUT";
  candidate.netns = packet->netns;
  candidate.rests_on = {packet};
  Cause& cause = candidate.cause;
  cause.kind = known != nullptr ? known->kind : CauseKind::stack_drop;
  cause.reason = drop->what.reason;
  cause.summary = "the kernel drops the " + packet_name(*packet) + story.in_namespace(packet->netns) +
                  (known != nullptr ? ": " + std::string(known->says) : freed_text(drop->what));
  cause.evidence.push_back("kfree_skb freed the " + packet_name(*packet) + freed_text(drop->what));
  if (!drop->what.reason || drop->what.reason == "NOT_SPECIFIED")
    candidate.missing.emplace_back("the kernel's reason for the drop");
  return candidate;
}

// An ICMP error that this host sent without a rule that says so: its routing table did.
std::optional<Candidate> unreachable_by_this_host(const Story& story) {
  if (!story.is_connecting()) return std::nullopt;
  const auto& errors = story.trace().icmp_errors;
  for (const IcmpErrorFact& fact : std::views::reverse(errors)) {
    const Packet* packet = story.packet(fact.packet);
    if (packet == nullptr || !is_local_error(*packet) || packet->origin == Origin::reject || stop_of(*packet))
      continue;
    const auto error = error_of_icmp(fact.ipv6, fact.type, fact.code, story.is_tcp());
    if (!error || error->outcome == ConnectionOutcome::refused) continue;
    Candidate candidate;
    candidate.rank = Rank::local_answer;
    candidate.outcome = error->outcome;
    candidate.error = error->name;
    candidate.netns = packet->netns;
    candidate.rests_on = {packet};
    const DropFact* drop = drop_of(story, story.last_opening());
    const Reason* known = drop == nullptr ? nullptr : known_reason(drop->what.reason);
    const bool neighbour = known != nullptr && known->kind == CauseKind::neighbour_failed;
    candidate.cause.kind = neighbour ? CauseKind::neighbour_failed : CauseKind::no_route;
    candidate.cause.summary = neighbour ? std::string(known->says)
                                        : "no usable route to " + story.trace().connection.server.address;
    candidate.cause.summary += story.in_namespace(packet->netns);
    candidate.cause.evidence.push_back("this host sent an ICMP error, type " + std::to_string(fact.type) +
                                       " code " + std::to_string(fact.code) + ", and no rule did");
    return candidate;
  }
  return std::nullopt;
}

}  // namespace pathtrace
