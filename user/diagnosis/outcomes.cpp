// SPDX-License-Identifier: GPL-2.0
#include "diagnosis/outcomes.h"

#include <algorithm>

#include "diagnosis/story.h"

namespace pathtrace {

namespace {

bool reached_socket(const ConnectionTrace& trace, const Packet& packet) {
  const auto is_this = [&packet](const auto& fact) { return fact.packet == packet.id; };
  const auto is_stack_reset = [&](const Answer& a) {
    return is_this(a) && std::holds_alternative<StackResetObservation>(a.what);
  };
  return std::any_of(trace.listeners.begin(), trace.listeners.end(),
                     [&](const ListenerFact& f) { return is_this(f) && !f.what.dropped; }) ||
         std::any_of(trace.answers.begin(), trace.answers.end(), is_stack_reset);
}

// The socket that takes a RST frees it as a "drop".
bool is_taken_reset(const Packet& packet, const Step* last) {
  const bool at_socket = last == nullptr || last->hook == Hook::input;
  return at_socket && is_reset(packet) &&
         std::none_of(packet.steps.begin(), packet.steps.end(),
                      [](const Step& s) { return s.kind == StepKind::drop && s.reason == "NETFILTER_DROP"; });
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
  if (has_step(packet, StepKind::drop) && !is_taken_reset(packet, last)) return PacketOutcome::dropped;
  if (last == nullptr)
    return has_step(packet, StepKind::drop) ? PacketOutcome::delivered : PacketOutcome::unknown;
  if (last->verdict == Verdict::queue) return PacketOutcome::queued;
  if (last->verdict == Verdict::stolen) return PacketOutcome::unknown;
  // after POSTROUTING of a packet that came in, it was forwarded
  const bool came_in = std::any_of(packet.steps.begin(), packet.steps.end(),
                                   [](const Step& s) { return s.hook == Hook::forward; });
  return came_in && last->hook == Hook::postrouting ? PacketOutcome::forwarded : by_hook(*last);
}

}  // namespace pathtrace
