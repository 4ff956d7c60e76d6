// SPDX-License-Identifier: GPL-2.0
// A rule or a policy dropped a packet that the connection needed. Only the last sighting of each of
// these counts: what was dropped once and got through when sent again explains nothing.
#include <algorithm>
#include <array>
#include <utility>

#include "diagnosis/causes.h"
#include "diagnosis/listeners.h"
#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

bool is_needed_reply(const Story& story, const Packet& packet) {
  if (packet.direction != Direction::reply) return false;
  return !story.is_tcp() || is_syn_ack(packet);
}

// The answer that would have ended the attempt: a RST, or an ICMP error.
bool is_answer(const Story& story, const Packet& packet) {
  return packet.direction == Direction::reply && (is_reset(packet) || is_icmp_error(story, packet));
}

bool was_rejected(const Packet& packet) {
  return has_step(packet, StepKind::reject) || is_rejected_unseen(packet);
}

// "fragmentation needed"; ICMPv6: "packet too big".
bool is_too_big(const IcmpErrorFact& error) {
  return error.ipv6 ? error.type == 2 : error.type == 3 && error.code == 4;
}

const Packet* last_of(const Story& story, Direction direction) {
  return story.last([&](const Packet& p) { return p.direction == direction && !is_icmp_error(story, p); });
}

// What may have kept the client waiting, the most telling first.
std::array<const Packet*, 3> suspects(const Story& story) {
  if (!story.is_connecting()) {
    if (!story.trace().progress.stalled) return {};
    return {last_of(story, Direction::original), last_of(story, Direction::reply), nullptr};
  }
  return {story.last([&](const Packet& p) { return is_answer(story, p); }),
          story.last([&](const Packet& p) { return is_needed_reply(story, p) && !is_icmp_error(story, p); }),
          story.last_opening()};
}

std::string what_is_dropped(const Story& story, const Packet& packet, const Step& step) {
  if (is_icmp_error(story, packet) && !story.is_connecting()) return "the ICMP error that says \"too big\"";
  if (!story.is_connecting()) return later_packet(packet);
  if (packet.direction == Direction::original) return step.kind == StepKind::policy ? "it" : object_of(step);
  if (is_icmp_error(story, packet)) return "the ICMP error that answered it";
  return is_reset(packet) ? "the RST that answered it" : "the server's " + packet_name(packet);
}

void add_rules_tried(Candidate& candidate, const Packet& packet, const Step& policy) {
  std::string rules;
  for (const Step& step : packet.steps)
    if (step.kind == StepKind::rule && step.hook == policy.hook && step.table == policy.table &&
        step.backend == policy.backend && step.family == policy.family && !step.missing)
      rules += (rules.empty() ? "" : ", ") + short_rule(step);
  candidate.cause.evidence.push_back(rules.empty()
                                         ? "no rule of " + policy.table.value_or("?") + "/" +
                                               policy.chain.value_or("?") + " matched it"
                                         : "matched before the policy, without a final verdict: " + rules);
}

void add_kernel_drop(Candidate& candidate, const Story& story, const Packet& packet) {
  for (const DropFact& drop : story.trace().drops) {
    if (drop.packet != packet.id) continue;
    candidate.cause.reason = drop.what.reason;
    candidate.cause.evidence.push_back("kfree_skb freed it" +
                                       (drop.what.where.empty() ? "" : " in " + drop.what.where) +
                                       (drop.what.reason ? ": " + *drop.what.reason : ""));
    return;
  }
}

Candidate loss_of(const Story& story, const Packet& packet) {
  Candidate candidate;
  candidate.rank =
      story.is_connecting() && is_answer(story, packet) ? Rank::lost_answer : Rank::firewall_loss;
  candidate.outcome = ConnectionOutcome::timed_out;
  if (story.is_connecting() && story.is_tcp()) candidate.error = "ETIMEDOUT";
  candidate.netns = packet.netns;
  candidate.rests_on = {&packet};
  return candidate;
}

bool saw_syn_in(const Story& story, const Netns& netns) {
  return story.last([&](const Packet& p) { return is_syn(p) && p.netns == netns; }) != nullptr;
}

// The rule matched: so connection tracking has no place for the packet. Mostly because it did not see those
// before it.
void blame_conntrack(Candidate& candidate, const Story& story, const Packet& packet) {
  Cause& cause = candidate.cause;
  cause.kind = CauseKind::conntrack_invalid;
  cause.summary += ": connection tracking calls it INVALID";
  cause.evidence.emplace_back(
      "the rule is for packets that connection tracking calls INVALID, and it matched");
  if (!story.is_tcp() || is_syn(packet) || saw_syn_in(story, packet.netns)) return;
  cause.summary += ", for no SYN of it came this way (asymmetric routing?)";
  cause.evidence.push_back("no SYN of the connection was seen" + story.in_namespace(packet.netns));
}

void blame(Candidate& candidate, const Story& story, const Packet& packet, const Step& step) {
  Cause& cause = candidate.cause;
  const bool by_policy = step.kind == StepKind::policy;
  cause.kind = by_policy ? CauseKind::firewall_policy : CauseKind::firewall_drop;
  if (step.missing) {
    candidate.missing.push_back(*step.missing);
    cause.summary = "a rule of " + table_of(step) + " drops " + what_is_dropped(story, packet, step) +
                    "; which one is not known";
    cause.evidence.push_back("the walk of the " + packet_name(packet) + " through " + table_of(step) +
                             " ended in drop");
  } else {
    cause.rule = step;
    cause.summary = long_rule(step) + " drops " + what_is_dropped(story, packet, step);
    cause.evidence.push_back("the walk of the " + packet_name(packet) + " ended in " + short_rule(step) +
                             ": drop");
    if (by_policy) add_rules_tried(candidate, packet, step);
  }
  cause.summary += story.in_namespace(packet.netns);
  if (!step.missing && is_for_invalid(step)) blame_conntrack(candidate, story, packet);
  add_kernel_drop(candidate, story, packet);
}

const DropFact* netfilter_drop_of(const Story& story, const Packet& packet) {
  for (const DropFact& drop : story.trace().drops)
    if (drop.packet == packet.id && drop.what.reason == "NETFILTER_DROP") return &drop;
  return nullptr;
}

// What stopped the same sent before, if this one was not seen there, or the kernel dropped it in the same
// function and its walk was not seen. An interrupt's packet passes unseen where it interrupts a program that
// watches.
std::optional<Stop> stop_of_one_before(const Story& story, const Packet& packet) {
  if (const Packet* before = story.got_further_before(packet)) return stop_of(*before);
  const DropFact* drop = netfilter_drop_of(story, packet);
  if (drop == nullptr || drop->what.loss != PT_LOSS_UNEXPLAINED) return std::nullopt;
  const Packet* before = story.last([&](const Packet& p) {
    return p.ts_ns < packet.ts_ns && p.netns == packet.netns && p.direction == packet.direction &&
           p.protocol == packet.protocol && p.flags == packet.flags;
  });
  const DropFact* drop_before = before == nullptr ? nullptr : netfilter_drop_of(story, *before);
  if (drop_before == nullptr || drop_before->what.where != drop->what.where) return std::nullopt;
  return stop_of(*before);
}

}  // namespace

std::optional<Candidate> dropped_by_rule(const Story& story) {
  for (const Packet* packet : suspects(story)) {
    if (packet == nullptr || was_rejected(*packet)) continue;
    auto stop = stop_of(*packet);
    const bool seen = stop.has_value();
    if (!seen) stop = stop_of_one_before(story, *packet);
    if (!stop) continue;
    const Packet* last = std::exchange(packet, stop->packet);
    Candidate candidate = loss_of(story, *packet);
    if (!seen) candidate.missing.push_back("how the " + packet_name(*last) + " ended that was sent last");
    blame(candidate, story, *packet, *stop->step);
    if (story.is_connecting() && packet->direction == Direction::original)
      add_unreached_listener(candidate, story, *packet);
    return candidate;
  }
  return std::nullopt;
}

// The ICMP error that would have told a sender to send less at a time was dropped: what it sends again is
// lost again.
std::optional<Candidate> path_mtu_message_dropped(const Story& story) {
  if (story.is_connecting() || !story.trace().progress.stalled) return std::nullopt;
  for (const IcmpErrorFact& error : story.trace().icmp_errors) {
    const Packet* packet = story.packet(error.packet);
    if (packet == nullptr || !is_too_big(error)) continue;
    const auto stop = stop_of(*packet);
    if (!stop) continue;
    Candidate candidate = loss_of(story, *packet);
    blame(candidate, story, *packet, *stop->step);
    candidate.cause.summary += "; what is too big for the path is sent again in vain (path MTU discovery)";
    candidate.cause.evidence.push_back("ICMP type " + std::to_string(error.type) + " code " +
                                       std::to_string(error.code) + " was about a packet of this connection");
    return candidate;
  }
  return std::nullopt;
}

namespace {

// What connection tracking itself said of the packet, if it dropped it.
void blame_hook(Candidate& candidate, const Story& story, const Packet& packet, const DropFact& drop) {
  Cause& cause = candidate.cause;
  const std::string dropped = " drops the " + packet_name(packet) + story.in_namespace(packet.netns) + ": ";
  if (drop.what.loss == PT_LOSS_CONNTRACK_FULL) {
    cause.kind = CauseKind::conntrack_full;
    cause.summary =
        "connection tracking" + dropped + "its table has no room (net.netfilter.nf_conntrack_max)";
    cause.evidence.emplace_back("__nf_conntrack_alloc found no room for this connection");
  } else if (drop.what.loss == PT_LOSS_CONNTRACK_CLASH) {
    cause.kind = CauseKind::conntrack_clash;
    cause.summary = "connection tracking" + dropped +
                    "another packet made the same connection, or used up its reply's tuple";
    cause.evidence.emplace_back("__nf_conntrack_confirm refused the connection of this packet");
  } else {
    cause.kind = CauseKind::firewall_drop;
    cause.summary = "netfilter dropped the " + packet_name(packet) + story.in_namespace(packet.netns) +
                    "; no rule that was seen did";
    candidate.missing.emplace_back("the netfilter hook function that dropped the packet");
  }
}

}  // namespace

// The kernel says that netfilter dropped it, and no walk that was seen did: conntrack, NAT or another
// module's hook, or an event that was lost.
std::optional<Candidate> dropped_by_other_hook(const Story& story) {
  for (const Packet* packet : suspects(story)) {
    if (packet == nullptr || was_rejected(*packet) || stop_of(*packet)) continue;
    const DropFact* drop = netfilter_drop_of(story, *packet);
    if (drop == nullptr) continue;
    Candidate candidate = loss_of(story, *packet);
    blame_hook(candidate, story, *packet, *drop);
    add_kernel_drop(candidate, story, *packet);
    return candidate;
  }
  return std::nullopt;
}

}  // namespace pathtrace
