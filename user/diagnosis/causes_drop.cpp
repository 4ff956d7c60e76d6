// SPDX-License-Identifier: GPL-2.0
// A rule or a policy dropped a packet that the connection needed. Only the last sighting of each of
// these counts: what was dropped once and got through when sent again explains nothing.
#include <algorithm>
#include <array>

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

bool was_rejected(const Packet& packet) { return has_step(packet, StepKind::reject); }

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
  add_kernel_drop(candidate, story, packet);
}

}  // namespace

std::optional<Candidate> dropped_by_rule(const Story& story) {
  for (const Packet* packet : suspects(story)) {
    if (packet == nullptr || was_rejected(*packet)) continue;
    const auto stop = stop_of(*packet);
    if (!stop) continue;
    Candidate candidate = loss_of(story, *packet);
    blame(candidate, story, *packet, *stop->step);
    if (story.is_connecting() && packet->direction == Direction::original)
      add_unreached_listener(candidate, story, *packet);
    return candidate;
  }
  return std::nullopt;
}

// The kernel says that netfilter dropped it, and no walk that was seen did: conntrack, NAT or another
// module's hook, or an event that was lost.
std::optional<Candidate> dropped_by_unknown_hook(const Story& story) {
  for (const Packet* packet : suspects(story)) {
    if (packet == nullptr || was_rejected(*packet) || stop_of(*packet)) continue;
    const auto& drops = story.trace().drops;
    const bool dropped = std::any_of(drops.begin(), drops.end(), [&](const DropFact& d) {
      return d.packet == packet->id && d.what.reason == "NETFILTER_DROP";
    });
    if (!dropped) continue;
    Candidate candidate = loss_of(story, *packet);
    candidate.cause.kind = CauseKind::firewall_drop;
    candidate.cause.summary = "netfilter dropped the " + packet_name(*packet) +
                              story.in_namespace(packet->netns) + "; no rule that was seen did";
    candidate.missing.emplace_back("the netfilter hook function that dropped the packet");
    add_kernel_drop(candidate, story, *packet);
    return candidate;
  }
  return std::nullopt;
}

}  // namespace pathtrace
