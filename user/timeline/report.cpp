// SPDX-License-Identifier: GPL-2.0
#include "timeline/report.h"

#include <algorithm>

#include "timeline/packets.h"
#include "timeline/progress.h"

namespace pathtrace {

namespace {

// `told`: of its packets, the first ones
Connection describe(const TrackedConnection& tracked, bool final, std::size_t told) {
  Connection connection;
  const Tuple& tuple = tracked.tuple;
  connection.id = tracked.id;
  connection.protocol = protocol_text(tuple.protocol);
  connection.client = endpoint_of(tracked.client, tuple.family, tuple.protocol);
  connection.server = endpoint_of(tracked.server, tuple.family, tuple.protocol);
  connection.started_ns = tracked.started_ns;
  const bool over = tracked.phase == Phase::answered || tracked.phase == Phase::ended;
  if (final && over) connection.ended_ns = is_late(tracked) ? tracked.decided->ended_ns : tracked.last_ns;
  if (tracked.opened_in)
    connection.netns = *tracked.opened_in;
  else if (!tracked.packets.empty())
    connection.netns = tracked.packets.back().record.netns;
  else if (!tracked.sockets.empty())
    connection.netns = tracked.sockets.back().netns;
  for (std::size_t i = 0; i < told; ++i) connection.packets.push_back(tracked.packets[i].record.id);
  return connection;
}

// Directions are set here and not when a packet is seen: who is the client may turn out later.
Packet describe(const TrackedConnection& tracked, const TrackedPacket& packet) {
  Packet record = finished(packet);
  record.connection = tracked.id;
  const bool from_client = tracked.is_from_client(packet.flow);
  // an ICMP error goes to the sender of the packet that it quotes
  record.direction = from_client != packet.icmp_error ? Direction::original : Direction::reply;
  return record;
}

}  // namespace

namespace {

template <typename T>
void keep_first(std::vector<T>& facts, std::size_t count) {
  if (count < facts.size()) facts.erase(facts.begin() + static_cast<std::ptrdiff_t>(count), facts.end());
}

template <typename Record>
void keep_decided(Record& record, const Decided& decided) {
  keep_first(record.sockets, decided.sockets);
  keep_first(record.answers, decided.answers);
  keep_first(record.listeners, decided.listeners);
  keep_first(record.drops, decided.drops);
  keep_first(record.icmp_errors, decided.icmp_errors);
}

}  // namespace

Decided decide(const TrackedConnection& tracked, const ConnectionTrace& reported) {
  return {tracked.packets.size(),   tracked.sockets.size(),       tracked.answers.size(),
          tracked.listeners.size(), tracked.drops.size(),         tracked.icmp_errors.size(),
          tracked.progress,         reported.connection.ended_ns, reported.as_of_ns};
}

void drop_late_facts(TrackedConnection& tracked) { keep_decided(tracked, *tracked.decided); }

ConnectionTrace as_decided(const ConnectionTrace& trace) {
  ConnectionTrace before = trace;
  if (!trace.decided) return before;
  keep_first(before.packets, trace.decided->packets);
  keep_decided(before, *trace.decided);
  before.progress = trace.decided->progress;
  before.as_of_ns = trace.decided->as_of_ns;
  return before;
}

namespace {

// What is known of packets that are not told yet is not told either. Ids rise in the order of the packets.
void leave_out(ConnectionTrace& trace, std::uint64_t first_untold) {
  const auto is_untold = [first_untold](const auto& fact) { return fact.packet >= first_untold; };
  std::erase_if(trace.answers, is_untold);
  std::erase_if(trace.listeners, is_untold);
  std::erase_if(trace.drops, is_untold);
  std::erase_if(trace.icmp_errors, is_untold);
}

}  // namespace

ConnectionTrace make_trace(const TrackedConnection& tracked, bool final, std::size_t told) {
  ConnectionTrace trace;
  trace.connection = describe(tracked, final, told);
  trace.packets.reserve(told);
  for (std::size_t i = 0; i < told; ++i) {
    const TrackedPacket& packet = tracked.packets[i];
    trace.packets.push_back(describe(tracked, packet));
    if (packet.waits_for) trace.waits.push_back({packet.record.id, *packet.waits_for});
  }
  trace.new_packets_from = std::min(tracked.reported_packets, trace.packets.size());
  trace.sockets = tracked.sockets;
  for (SocketFact& fact : trace.sockets) fact.at_client = fact.source == trace.connection.client;
  trace.answers = tracked.answers;
  trace.listeners = tracked.listeners;
  trace.drops = tracked.drops;
  trace.icmp_errors = tracked.icmp_errors;
  if (told < tracked.packets.size()) leave_out(trace, tracked.packets[told].record.id);
  trace.progress = tracked.progress;
  trace.retransmissions = tracked.retransmissions;
  trace.packets_omitted = tracked.packets_omitted;
  trace.final = final;
  trace.again = tracked.reported;
  if (is_late(tracked)) trace.decided = tracked.decided;
  trace.last_ns = tracked.last_ns;
  trace.opened_ns = tracked.opened_ns;
  return trace;
}

}  // namespace pathtrace
