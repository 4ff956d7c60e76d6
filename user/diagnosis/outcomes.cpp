// SPDX-License-Identifier: GPL-2.0
#include "diagnosis/outcomes.h"

#include <algorithm>

#include "diagnosis/story.h"
#include "timeline/progress.h"

namespace pathtrace {

namespace {

// TCP answered it with a RST, for a socket or for want of one.
bool was_reset(const ConnectionTrace& trace, const Packet& packet, bool has_socket) {
  return std::any_of(trace.answers.begin(), trace.answers.end(), [&](const Answer& answer) {
    const auto* reset = std::get_if<StackResetObservation>(&answer.what);
    return answer.packet == packet.id && reset != nullptr && reset->has_socket == has_socket;
  });
}

bool reached_socket(const ConnectionTrace& trace, const Packet& packet) {
  return was_reset(trace, packet, true) ||
         std::any_of(trace.listeners.begin(), trace.listeners.end(), [&](const ListenerFact& fact) {
           return fact.packet == packet.id && !fact.what.dropped;
         });
}

bool waits(const ConnectionTrace& trace, const Packet& packet) {
  return std::any_of(trace.waits.begin(), trace.waits.end(),
                     [&packet](const WaitFact& fact) { return fact.packet == packet.id; });
}

bool is_icmp_error(const ConnectionTrace& trace, const Packet& packet) {
  const auto& errors = trace.icmp_errors;
  return std::any_of(errors.begin(), errors.end(),
                     [&packet](const IcmpErrorFact& fact) { return fact.packet == packet.id; });
}

// An ICMP error is freed by kfree_skb when its receiver has dealt with it: with the socket that keeps it to
// be asked for (sk_error_queue, of TCP in SYN_SENT since 5.18), or by icmpv6_rcv() (up to 6.1).
bool is_end_of_taken_error(const Step& drop) {
  const std::string where = drop.where.value_or("");
  return purges_socket_queue(where, true) ||
         (where == "icmpv6_rcv" && drop.reason.value_or("NOT_SPECIFIED") == "NOT_SPECIFIED");
}

// An answer to a ping that no ping socket takes (ping_rcv()); a raw socket, which most programs have, got a
// copy of it before (raw_local_deliver()).
bool is_end_of_icmp_answer(const Packet& packet, const Step& drop) {
  return packet.direction == Direction::reply && drop.reason == "NO_SOCKET" &&
         (drop.where == "icmp_rcv" || drop.where == "icmpv6_rcv");
}

// All that looks like the loss of this packet is its receiver's doing.
bool is_taken(const ConnectionTrace& trace, const Packet& packet, const Step* last) {
  const bool at_socket = last == nullptr || last->hook == Hook::input;
  const bool error = is_icmp_error(trace, packet);
  return std::all_of(packet.steps.begin(), packet.steps.end(), [&](const Step& drop) {
    if (drop.kind != StepKind::drop) return true;
    if (error) return is_end_of_taken_error(drop);
    // the socket that takes a RST frees it as a "drop"
    if (at_socket && is_reset(packet)) return drop.reason != "NETFILTER_DROP";
    return (at_socket && purges_socket_queue(drop.where.value_or(""), last != nullptr)) ||
           is_end_of_icmp_answer(packet, drop);
  });
}

PacketOutcome by_hook(const Step& last) {
  if (!last.hook) return PacketOutcome::unknown;
  switch (*last.hook) {
    case Hook::input:
      return PacketOutcome::delivered;
    case Hook::forward:
      return PacketOutcome::forwarded;
    case Hook::output:
    case Hook::postrouting:
    case Hook::egress:
      return PacketOutcome::sent;
    default:
      return PacketOutcome::unknown;
  }
}

}  // namespace

PacketOutcome outcome_of(const ConnectionTrace& trace, const Packet& packet) {
  if (has_step(packet, StepKind::reject)) return PacketOutcome::rejected;
  const auto found = std::find_if(packet.steps.rbegin(), packet.steps.rend(), is_decision);
  const Step* last = found == packet.steps.rend() ? nullptr : &*found;
  if (last != nullptr && is_stop(*last))
    return last->verdict == Verdict::reject ? PacketOutcome::rejected : PacketOutcome::dropped;
  if (reached_socket(trace, packet)) return PacketOutcome::delivered;
  if (was_reset(trace, packet, false)) return PacketOutcome::dropped;
  if (has_step(packet, StepKind::drop) && !is_taken(trace, packet, last)) return PacketOutcome::dropped;
  if (waits(trace, packet)) return PacketOutcome::queued;
  if (last == nullptr)
    return has_step(packet, StepKind::drop) ? PacketOutcome::delivered : PacketOutcome::unknown;
  if (last->verdict == Verdict::queue) return PacketOutcome::queued;
  if (last->verdict == Verdict::stolen) return PacketOutcome::unknown;
  // after POSTROUTING of a packet that came in, it was forwarded
  const bool came_in =
      packet.origin == Origin::wire || std::any_of(packet.steps.begin(), packet.steps.end(),
                                                   [](const Step& s) { return s.hook == Hook::forward; });
  return came_in && last->hook == Hook::postrouting ? PacketOutcome::forwarded : by_hook(*last);
}

}  // namespace pathtrace
