// SPDX-License-Identifier: GPL-2.0
#include "timeline/packets.h"

#include <algorithm>
#include <string>
#include <utility>

namespace pathtrace {

namespace {

// Longer than a packet waits in a queue of the host (NFQUEUE, a neighbour's resolution: 3 s).
constexpr std::int64_t longest_pause_ns = 10'000'000'000;
// Two base chains of unknown name on one hook are run within this; a retransmission comes later
// (TCP_RTO_MIN is 200 ms).
constexpr std::int64_t same_pass_ns = 20'000'000;

bool same_ends(const pt_flow& a, const pt_flow& b) {
  return source_of(a) == source_of(b) && destination_of(a) == destination_of(b);
}

bool same_headers(const pt_flow& a, const pt_flow& b) {
  return a.family == b.family && a.protocol == b.protocol && a.seq == b.seq && a.ack_seq == b.ack_seq &&
         a.tcp_flags == b.tcp_flags && a.ip_id == b.ip_id && a.icmp_type == b.icmp_type &&
         a.icmp_code == b.icmp_code && same_ends(a, b);
}

// Where a packet can be met after `now`, in one namespace.
bool can_follow(Hook now, Hook next, bool made_here) {
  switch (now) {
    case Hook::ingress:
      return next != Hook::ingress && next != Hook::output;
    case Hook::prerouting:
      return next == Hook::input || next == Hook::forward || next == Hook::postrouting ||
             next == Hook::egress;
    case Hook::input:
      return false;
    case Hook::forward:
      return next == Hook::postrouting || next == Hook::egress;
    case Hook::output:
      return next != Hook::output && next != Hook::forward;
    case Hook::postrouting:
    case Hook::egress:
      // through lo, a packet comes back to the namespace that sent it
      if (made_here) return next != Hook::output && next != Hook::forward;
      return next == Hook::egress && now != Hook::egress;
  }
  return false;
}

std::optional<std::string> base_chain(const Step& step) {
  if (!step.path.empty()) return step.path.front().chain;
  return step.chain;
}

bool is_decision(const Step& step) { return step.kind == StepKind::rule || step.kind == StepKind::policy; }

// Has the packet been through this table (nftables: this base chain) at this hook before?
bool walked_before(const TrackedPacket& packet, const Observation& o, const WalkObservation& walk) {
  const auto chain = walk.steps.empty() ? std::nullopt : base_chain(walk.steps.front());
  for (const Step& step : packet.record.steps) {
    if (!is_decision(step) || step.hook != o.hook || step.backend != walk.backend ||
        step.family != walk.family || step.table.value_or("") != walk.table)
      continue;
    const auto earlier = base_chain(step);
    const bool known = earlier && chain;
    if (known ? *earlier == *chain : o.ts_ns - packet.last_ns > same_pass_ns) return true;
  }
  return false;
}

bool goes_on(const TrackedPacket& packet, const Observation& o, const WalkObservation& walk) {
  if (packet.dropped || (packet.facts & (TrackedPacket::stack_reset | TrackedPacket::at_listener)) != 0)
    return false;
  const auto hook = o.hook ? o.hook : walk.hook;
  if (!packet.hook || !hook) return true;
  // a bridge has hooks of its own, before and behind those of the host
  if (packet.on_bridge != (walk.family == Family::bridge)) return !walked_before(packet, o, walk);
  const bool made_here = packet.first_hook == Hook::output || packet.first_hook == Hook::postrouting;
  if (*packet.hook != *hook) return can_follow(*packet.hook, *hook, made_here);
  return !walked_before(packet, o, walk);
}

unsigned fact_of(const Observation& o) {
  if (std::holds_alternative<RejectObservation>(o.detail)) return TrackedPacket::rejected;
  if (std::holds_alternative<StackResetObservation>(o.detail)) return TrackedPacket::stack_reset;
  if (std::holds_alternative<ListenerSynObservation>(o.detail)) return TrackedPacket::at_listener;
  if (std::holds_alternative<DropObservation>(o.detail)) return TrackedPacket::freed;
  if (std::holds_alternative<IcmpAnswerObservation>(o.detail)) return TrackedPacket::icmp_answer;
  return 0;
}

Step& append(TrackedPacket& packet, StepKind kind, std::int64_t ts_ns) {
  Step& step = packet.record.steps.emplace_back();
  step.kind = kind;
  step.offset_ns = ts_ns - packet.record.ts_ns;
  return step;
}

// For an ICMP error the flow is the quoted packet's: the error goes to that packet's sender.
void set_ends(Packet& record, const Observation& o) {
  const pt_flow& flow = o.flow;
  record.protocol = protocol_text(flow.protocol);
  if (o.icmp_error) {
    record.protocol = protocol_text(flow.family == family_ipv6 ? protocol_icmpv6 : protocol_icmp);
    if (o.icmp_source) record.source = {*o.icmp_source, std::nullopt};
    record.destination = endpoint_of(source_of(flow), flow.family, protocol_icmp);
    return;
  }
  record.source = endpoint_of(source_of(flow), flow.family, flow.protocol);
  record.destination = endpoint_of(destination_of(flow), flow.family, flow.protocol);
  if (flow.protocol == protocol_tcp) record.flags = tcp_flags_text(flow.tcp_flags);
}

void learn(TrackedPacket& packet, const Observation& o) {
  if (!packet.record.iif) packet.record.iif = o.iif;
  if (!packet.record.origin) packet.record.origin = o.origin;
  if (packet.record.netns.inode == 0) packet.record.netns = o.netns;
  // beyond the hooks, headers are already cut off skb->len
  const bool at_ip_layer = std::holds_alternative<WalkObservation>(o.detail) ||
                           std::holds_alternative<RejectObservation>(o.detail);
  if (!packet.record.length && at_ip_layer && o.flow.length != 0) packet.record.length = o.flow.length;
  if (o.skb != 0) packet.skb = o.skb;
  if (o.head != 0) packet.head = o.head;
  packet.last_ns = std::max(packet.last_ns, o.ts_ns);
}

void note_arrival(TrackedPacket& packet, const Observation& o, Hook hook) {
  const bool inbound = hook == Hook::prerouting || hook == Hook::input || hook == Hook::ingress;
  if (packet.egress && inbound) {  // lo: out and in again
    append(packet, StepKind::transmit, packet.walk_ns).interface = packet.egress;
    packet.egress.reset();
    if (o.iif) append(packet, StepKind::receive, o.ts_ns).interface = o.iif;
  } else if (!packet.hook && (inbound || hook == Hook::forward) && o.iif && packet.record.steps.empty()) {
    append(packet, StepKind::receive, o.ts_ns).interface = o.iif;
  }
}

// A step always says which table it belongs to, also where no rule could be named.
void complete(Step& step, const WalkObservation& walk, std::optional<Hook> hook) {
  if (!is_decision(step)) return;
  if (!step.backend) step.backend = walk.backend;
  if (!step.family) step.family = walk.family;
  if (!step.table && !walk.table.empty()) step.table = walk.table;
  if (!step.hook) step.hook = hook;
  step.every_packet = walk.every_packet;
}

bool stops(const std::optional<Verdict>& verdict) {
  return verdict == Verdict::drop || verdict == Verdict::reject;
}

// nftables frees a dropped packet itself on some kernels and returns "stolen": the last rule's verdict
// is what tells. A table that drops although no rule of it did is not explained by its rules.
bool append_steps(TrackedPacket& packet, WalkObservation& walk, std::optional<Hook> hook,
                  std::int64_t offset) {
  std::vector<Step>& steps = packet.record.steps;
  const std::size_t first = steps.size();
  for (Step& step : walk.steps) {
    steps.push_back(std::move(step));
    steps.back().offset_ns = offset;
    complete(steps.back(), walk, hook);
  }
  const bool any = steps.size() > first;
  if (any && stops(steps.back().verdict)) return true;
  if (any && !steps.back().verdict && steps.back().missing) steps.back().verdict = walk.verdict;
  const bool explained = any && (walk.verdict != Verdict::drop || stops(steps.back().verdict));
  if (!explained) {
    Step unknown;
    unknown.offset_ns = offset;
    unknown.verdict = walk.verdict;
    unknown.missing = any ? "the table dropped the packet, but not by the last rule that matched"
                          : "no rule of this walk was reported";
    complete(unknown, walk, hook);
    steps.push_back(std::move(unknown));
  }
  return stops(steps.back().verdict);
}

}  // namespace

bool continues(const TrackedPacket& packet, const Observation& o) {
  const std::uint32_t netns = packet.record.netns.inode;
  if (netns != 0 && o.netns.inode != 0 && netns != o.netns.inode) return false;
  if (packet.icmp_error != o.icmp_error || !same_headers(packet.flow, o.flow)) return false;
  if (o.ts_ns - packet.last_ns > longest_pause_ns) return false;
  if (const auto* walk = std::get_if<WalkObservation>(&o.detail)) return goes_on(packet, o, *walk);
  return (packet.facts & fact_of(o)) == 0;
}

TrackedPacket begin_packet(const Observation& o) {
  TrackedPacket packet;
  packet.flow = o.flow;
  packet.icmp_error = o.icmp_error;
  packet.record.ts_ns = o.ts_ns;
  packet.record.netns = o.netns;
  packet.last_ns = o.ts_ns;
  set_ends(packet.record, o);
  const bool at_hook = std::holds_alternative<WalkObservation>(o.detail);
  if (!at_hook && o.iif) append(packet, StepKind::receive, o.ts_ns).interface = o.iif;
  return packet;
}

void add_walk(TrackedPacket& packet, const Observation& o, WalkObservation& walk) {
  const auto hook = o.hook ? o.hook : walk.hook;
  if (hook) {
    note_arrival(packet, o, *hook);
    if (!packet.first_hook) packet.first_hook = hook;
    packet.hook = hook;
    packet.on_bridge = walk.family == Family::bridge;
  }
  learn(packet, o);
  packet.walk_ns = o.ts_ns;
  if (o.oif) packet.record.oif = o.oif;
  if (o.oif && hook != Hook::prerouting && hook != Hook::input && hook != Hook::ingress)
    packet.egress = o.oif;
  packet.dropped = append_steps(packet, walk, hook, o.ts_ns - packet.record.ts_ns);
  if (packet.dropped || walk.verdict == Verdict::queue || walk.verdict == Verdict::stolen)
    packet.egress.reset();
}

void add_reject(TrackedPacket& packet, const Observation& o, const RejectObservation& reject) {
  learn(packet, o);
  packet.facts |= TrackedPacket::rejected;
  packet.dropped = true;
  packet.egress.reset();
  append(packet, StepKind::reject, o.ts_ns).with = reject.with;
}

void add_stack_reset(TrackedPacket& packet, const Observation& o) {
  learn(packet, o);
  packet.facts |= TrackedPacket::stack_reset;
}

void add_neighbour(TrackedPacket& packet, const Observation& o, const NeighbourObservation& neighbour) {
  learn(packet, o);
  packet.walk_ns = o.ts_ns;
  if (o.oif) packet.record.oif = packet.egress = o.oif;
  packet.waits_for = neighbour.waits ? std::optional(neighbour.next_hop) : std::nullopt;
}

void add_icmp_answer(TrackedPacket& packet, const Observation& o) {
  learn(packet, o);
  packet.facts |= TrackedPacket::icmp_answer;
}

void add_listener_syn(TrackedPacket& packet, const Observation& o, const ListenerSynObservation& syn) {
  learn(packet, o);
  packet.facts |= TrackedPacket::at_listener;
  if (syn.is_ack)
    append(packet, StepKind::drop, o.ts_ns).where =
        o.flow.family == family_ipv6 ? "tcp_v6_syn_recv_sock" : "tcp_v4_syn_recv_sock";
  else if (syn.dropped)
    append(packet, StepKind::drop, o.ts_ns).where = "tcp_conn_request";
  else
    append(packet, StepKind::deliver, o.ts_ns).listener = syn.bound_to;
}

void add_drop(TrackedPacket& packet, const Observation& o, const DropObservation& drop) {
  learn(packet, o);
  packet.facts |= TrackedPacket::freed;
  packet.dropped = true;
  packet.egress.reset();
  packet.waits_for.reset();
  Step& step = append(packet, StepKind::drop, o.ts_ns);
  step.reason = drop.reason;
  if (!drop.where.empty()) step.where = drop.where;
}

Packet finished(const TrackedPacket& packet) {
  Packet record = packet.record;
  if (packet.egress && !packet.dropped && !packet.waits_for) {
    Step& step = record.steps.emplace_back();
    step.kind = StepKind::transmit;
    step.offset_ns = packet.walk_ns - record.ts_ns;
    step.interface = packet.egress;
  }
  return record;
}

void PacketIndex::insert(const TrackedPacket& packet, Place place) {
  for (const std::uint64_t address : {packet.head, packet.skb})
    if (address != 0) places_[address] = place;
}

void PacketIndex::erase(const TrackedPacket& packet, Place place) {
  for (const std::uint64_t address : {packet.head, packet.skb}) {
    const auto found = places_.find(address);
    if (found != places_.end() && found->second.connection == place.connection &&
        found->second.position == place.position)
      places_.erase(found);
  }
}

const PacketIndex::Place* PacketIndex::find(std::uint64_t address) const {
  const auto found = address == 0 ? places_.end() : places_.find(address);
  return found == places_.end() ? nullptr : &found->second;
}

}  // namespace pathtrace
