// SPDX-License-Identifier: GPL-2.0
#include "timeline/answers.h"

#include <algorithm>
#include <string>

#include "timeline/progress.h"

namespace pathtrace {

namespace {

// What a reject sent, told from the packet itself: its call was not reported.
RejectObservation reject_by_answer(const Observation& o) {
  if (!o.icmp_error) return {"tcp-reset"};
  return {reject_word(o.flow.family == family_ipv6, o.flow.icmp_code)};
}

bool apply_drop(TrackedConnection& connection, TrackedPacket& packet, const Observation& o,
                const DropObservation& drop) {
  const bool was_dropped = packet.dropped;
  const bool loss = is_loss(packet, drop);
  add_drop(packet, o, drop);
  if (!loss) packet.dropped = was_dropped;
  connection.drops.push_back({packet.record.id, drop});
  return loss;
}

// Destination unreachable, but for "fragmentation needed", which is part of path MTU discovery.
bool ends_attempt(const IcmpAnswerObservation& icmp) {
  if (!icmp.sent) return false;
  return icmp.ipv6 ? icmp.type == 1 : icmp.type == 3 && icmp.code != 4;
}

// TCP answers no RST with a RST, though it gets as far as the function that would.
bool apply_stack_reset(TrackedConnection& connection, TrackedPacket& packet, const Observation& o,
                       const StackResetObservation& reset) {
  add_stack_reset(packet, o);
  if ((packet.flow.tcp_flags & tcp_rst) == 0)
    connection.answers.push_back({o.ts_ns, packet.record.id, std::nullopt, reset});
  return false;
}

}  // namespace

bool apply(TrackedConnection& connection, TrackedPacket& packet, Observation& o) {
  if (auto* walk = std::get_if<WalkObservation>(&o.detail)) {
    add_walk(packet, o, *walk);
    return packet.dropped;
  }
  if (const auto* reject = std::get_if<RejectObservation>(&o.detail)) {
    add_reject(packet, o, *reject);
    connection.answers.push_back({o.ts_ns, packet.record.id, std::nullopt, *reject});
    return true;
  }
  if (const auto* reset = std::get_if<StackResetObservation>(&o.detail))
    return apply_stack_reset(connection, packet, o, *reset);
  if (const auto* syn = std::get_if<ListenerSynObservation>(&o.detail)) {
    add_listener_syn(packet, o, *syn);
    connection.listeners.push_back({o.ts_ns, packet.record.id, o.netns, *syn});
    return syn->dropped;
  }
  if (const auto* icmp = std::get_if<IcmpAnswerObservation>(&o.detail)) {
    add_icmp_answer(packet, o);
    if (ends_attempt(*icmp)) connection.answers.push_back({o.ts_ns, packet.record.id, std::nullopt, *icmp});
    return false;
  }
  if (const auto* neighbour = std::get_if<NeighbourObservation>(&o.detail)) {
    add_neighbour(packet, o, *neighbour);
    return false;
  }
  if (const auto* drop = std::get_if<DropObservation>(&o.detail))
    return apply_drop(connection, packet, o, *drop);
  return false;
}

void link_answer(TrackedConnection& connection, TrackedPacket& packet, const Observation& o,
                 const ConnectionTable::Found& answered) {
  if (o.icmp_error)
    connection.icmp_errors.push_back(
        {packet.record.id, o.flow.family == family_ipv6, o.flow.icmp_type, o.flow.icmp_code});
  if (answered.connection != &connection) return;
  const TrackedPacket& cause = connection.packets[answered.position];
  // the host itself is the sender of an error about a packet that was for it
  if (o.icmp_error && cause.hook == Hook::input)
    packet.record.source = {cause.record.destination.address, std::nullopt};
  const auto answer = std::find_if(connection.answers.rbegin(), connection.answers.rend(),
                                   [&cause](const Answer& a) { return a.packet == cause.record.id; });
  if (answer != connection.answers.rend()) {
    if (!answer->answer_packet) answer->answer_packet = packet.record.id;
    return;
  }
  if (o.origin == Origin::reject)
    connection.answers.push_back({o.ts_ns, cause.record.id, packet.record.id, reject_by_answer(o)});
  else if (o.origin == Origin::stack && !o.icmp_error)
    connection.answers.push_back({o.ts_ns, cause.record.id, packet.record.id, StackResetObservation{}});
}

}  // namespace pathtrace
