// SPDX-License-Identifier: GPL-2.0
#include "timeline/match.h"

#include <algorithm>

namespace pathtrace {

namespace {

// Points of a fit, each more telling than all below it together.
constexpr int fits = 1;
constexpr int here = 2;   // seen in this namespace
constexpr int alive = 4;  // not over
constexpr int exact = 8;  // the sequence number, or the socket, is this connection's

bool seen_in(const TrackedConnection& connection, std::uint32_t netns) {
  return std::find(connection.namespaces.begin(), connection.namespaces.end(), netns) !=
         connection.namespaces.end();
}

int circumstances(const TrackedConnection& connection, const Observation& o) {
  const bool over = connection.phase == Phase::ended || connection.phase == Phase::answered;
  return fits + (seen_in(connection, o.netns.inode) ? here : 0) + (over ? 0 : alive);
}

// May a connection that only a socket told of have begun with this packet?
bool may_have_begun(const TrackedConnection& connection, const End& client) {
  return connection.packets.empty() && connection.phase != Phase::ended &&
         connection.phase != Phase::answered &&
         (connection.client == client || connection.client_evidence < ClientEvidence::syn_ack);
}

int fit_begin(const TrackedConnection& connection, const Observation& o, const End& client,
              std::uint32_t isn) {
  if (connection.isn) return connection.client == client && *connection.isn == isn ? exact + fits : 0;
  return may_have_begun(connection, client) ? circumstances(connection, o) : 0;
}

int fit_later(const TrackedConnection& connection, const Observation& o) {
  const pt_flow& flow = o.flow;
  if (!connection.isn) return circumstances(connection, o);
  const std::uint32_t isn = *connection.isn;
  if (connection.is_from_client(flow)) {
    if (o.icmp_error && flow.seq == isn) return exact + circumstances(connection, o);
    return seq_reached(flow.seq, isn) ? circumstances(connection, o) : 0;
  }
  const bool has_ack = !o.icmp_error && (flow.tcp_flags & tcp_ack) != 0;
  if (!has_ack) return circumstances(connection, o);
  if (flow.ack_seq == isn + 1) return exact + circumstances(connection, o);
  return seq_reached(flow.ack_seq, isn + 1) ? circumstances(connection, o) : 0;
}

}  // namespace

int fit_packet(const TrackedConnection& connection, const Observation& o, const TimelineSettings& settings) {
  if (!connection.is_tcp())
    return o.ts_ns - connection.last_ns > settings.datagram_idle_ns ? 0 : circumstances(connection, o);
  const std::uint8_t flags = o.icmp_error ? 0 : o.flow.tcp_flags;
  if ((flags & tcp_syn) != 0 && (flags & tcp_ack) != 0)
    return fit_begin(connection, o, destination_of(o.flow), o.flow.ack_seq - 1);
  if ((flags & tcp_syn) != 0) return fit_begin(connection, o, source_of(o.flow), o.flow.seq);
  return fit_later(connection, o);
}

int fit_socket(const TrackedConnection& connection, const Observation& o, const SocketObservation& socket) {
  const auto& socks = connection.socks;
  if (socket.sock != 0 && std::find(socks.begin(), socks.end(), socket.sock) != socks.end())
    return exact + circumstances(connection, o);
  return circumstances(connection, o);
}

// Echo, timestamp and information replies; echo replies of IPv6.
bool is_icmp_answer(const pt_flow& flow) {
  if (flow.protocol == protocol_icmp)
    return flow.icmp_type == 0 || flow.icmp_type == 14 || flow.icmp_type == 16;
  return flow.protocol == protocol_icmpv6 && flow.icmp_type == 129;
}

ClientGuess guess_client(const Observation& o) {
  if (const auto* socket = std::get_if<SocketObservation>(&o.detail)) {
    if (socket->old_state == state_syn_sent) return {true, ClientEvidence::syn_ack};
    if (socket->old_state == state_syn_recv && socket->new_state == state_established)
      return {false, ClientEvidence::syn_ack};
  } else if (o.flow.protocol == protocol_tcp && !o.icmp_error) {
    const int flags = o.flow.tcp_flags & (tcp_syn | tcp_ack);
    if (flags == tcp_syn) return {true, ClientEvidence::syn};
    if (flags == (tcp_syn | tcp_ack)) return {false, ClientEvidence::syn_ack};
  }
  if (!o.icmp_error && is_icmp_answer(o.flow)) return {false, ClientEvidence::syn_ack};
  if (o.reversed) return {false, ClientEvidence::reversed};
  if (o.flow.protocol == protocol_tcp && o.flow.sport != o.flow.dport)
    return {o.flow.sport > o.flow.dport, ClientEvidence::guess};
  return {true, ClientEvidence::guess};
}

}  // namespace pathtrace
