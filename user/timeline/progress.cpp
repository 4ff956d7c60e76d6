// SPDX-License-Identifier: GPL-2.0
#include "timeline/progress.h"

#include <algorithm>

namespace pathtrace {

namespace {

constexpr std::uint32_t error_timed_out = 110;  // ETIMEDOUT

// A refused client that keeps trying would put off its report for ever.
constexpr std::int64_t most_settles = 20;

// What a client sends before it has seen an ACK is less than this: an old packet of the same ports, whose
// sequence numbers lie anywhere, is hardly taken for it.
constexpr std::uint32_t first_window = 65536;

// One that goes on after its report for good (datagrams to a closed port) is reported ever less often: after
// settle_ns, twice that, ... up to this many doublings, 25.6 s.
constexpr unsigned most_doublings = 9;

enum State : std::uint32_t {  // enum in net/tcp_states.h
  established = 1,
  syn_sent = 2,
  close_ = 7,
  last_ack = 9,
  closing = 11,
};

bool is_open(const Progress& progress) {
  return progress.established || (!progress.opened && !progress.syn_ack);
}

void open_at(TrackedConnection& connection, std::int64_t ts_ns) {
  if (!connection.progress.opened) connection.opened_ns = ts_ns;
  connection.progress.opened = true;
}

void establish_at(TrackedConnection& connection, std::int64_t ts_ns) {
  if (connection.progress.established) return;
  connection.progress.established = true;
  connection.progress.reset = false;
  connection.established_ns = ts_ns;
  connection.answers_before = connection.answers.size();
}

// Has this namespace sent or received the same SYN before?
bool is_sent_again(const TrackedConnection& connection, const TrackedPacket& packet) {
  return std::any_of(connection.packets.begin(), connection.packets.end(),
                     [&packet](const TrackedPacket& other) {
                       return &other != &packet && other.flow.tcp_flags == packet.flow.tcp_flags &&
                              !other.icmp_error && other.record.netns.inode == packet.record.netns.inode;
                     });
}

void note_syn(TrackedConnection& connection, const TrackedPacket& packet, std::int64_t ts_ns, bool is_new) {
  if ((packet.flow.tcp_flags & tcp_ack) != 0) {
    connection.progress.syn_ack = true;
    return;
  }
  open_at(connection, ts_ns);
  connection.opened_in = packet.record.netns;
  if (is_new && is_sent_again(connection, packet)) ++connection.retransmissions;
}

void note_end(Progress& progress, std::int64_t ts_ns) {
  if (progress.closed_ns == 0) progress.closed_ns = ts_ns;
}

// A FIN, and the ACK of the other end's.
void note_fin(TrackedConnection& connection, const pt_flow& flow, bool from_client, std::int64_t ts_ns) {
  if ((flow.tcp_flags & tcp_fin) != 0) {
    (from_client ? connection.progress.fin_client : connection.progress.fin_server) = true;
    (from_client ? connection.client_fin : connection.server_fin) = flow.seq;
  }
  const auto& fin = from_client ? connection.server_fin : connection.client_fin;
  if (fin && (flow.tcp_flags & tcp_ack) != 0 && seq_reached(flow.ack_seq, *fin + 1))
    (from_client ? connection.server_fin_acked : connection.client_fin_acked) = true;
  if (connection.client_fin_acked && connection.server_fin_acked) note_end(connection.progress, ts_ns);
}

// A client that goes on after its SYN has got a SYN-ACK, be it by a way on which it was not seen.
bool acks_syn_ack(const TrackedConnection& connection, const pt_flow& flow) {
  if (connection.progress.syn_ack)
    return !connection.server_isn || seq_reached(flow.ack_seq, *connection.server_isn + 1);
  const bool answered =
      connection.progress.reset || !connection.answers.empty() || !connection.icmp_errors.empty();
  return !answered && connection.progress.opened && connection.isn &&
         flow.seq - (*connection.isn + 1) < first_window;
}

void note_tcp(TrackedConnection& connection, const TrackedPacket& packet, std::int64_t ts_ns, bool is_new) {
  Progress& progress = connection.progress;
  const std::uint8_t flags = packet.flow.tcp_flags;
  const bool from_client = connection.is_from_client(packet.flow);
  if ((flags & tcp_rst) != 0) {
    progress.reset |= progress.closed_ns == 0;
    return;
  }
  if ((flags & tcp_syn) != 0) {
    note_syn(connection, packet, ts_ns, is_new);
    return;
  }
  if (from_client && (flags & tcp_ack) != 0 && acks_syn_ack(connection, packet.flow))
    establish_at(connection, ts_ns);
  note_fin(connection, packet.flow, from_client, ts_ns);
  if (is_new) progress.stalled = false;
}

void note_close(TrackedConnection& connection, const SocketFact& fact) {
  Progress& progress = connection.progress;
  (fact.at_client ? progress.client_closed : progress.server_closed) = true;
  if (fact.what.old_state != State::last_ack && fact.what.old_state != State::closing) return;
  progress.last_ack = true;
  if (fact.what.error == 0) note_end(progress, fact.ts_ns);
}

// Did the client's socket learn of a refusal? Its own giving up, by time-out or by the application, is none.
bool is_refusal(const SocketFact& fact) {
  if (fact.what.what == SocketObservation::What::received_reset) return true;
  return fact.what.what == SocketObservation::What::state_change && fact.what.old_state == State::syn_sent &&
         fact.what.new_state == State::close_ && fact.what.error != 0 && fact.what.error != error_timed_out;
}

bool is_answered(const TrackedConnection& connection) {
  return connection.progress.reset || !connection.answers.empty() || !connection.icmp_errors.empty() ||
         std::any_of(connection.sockets.begin(), connection.sockets.end(), is_refusal);
}

bool both_closed(const Progress& progress) {
  return progress.last_ack || (progress.fin_client && progress.fin_server) ||
         (progress.client_closed && progress.server_closed);
}

bool one_closed(const Progress& progress) { return progress.client_closed || progress.server_closed; }

bool is_reset(const TrackedConnection& connection) {
  return connection.progress.reset || connection.answers.size() > connection.answers_before;
}

Phase tcp_phase(const TrackedConnection& connection) {
  const Progress& progress = connection.progress;
  if (!is_open(progress)) {
    if (is_answered(connection)) return Phase::answered;
    return progress.opened ? Phase::unanswered : Phase::observed;
  }
  const bool ends_unseen = !progress.established && (progress.fin_client || progress.fin_server);
  if (is_reset(connection) || both_closed(progress) || one_closed(progress) || ends_unseen)
    return Phase::ended;
  if (progress.stalled) return Phase::stalled;
  return progress.established ? Phase::established : Phase::observed;
}

std::int64_t settled(const TrackedConnection& connection, const TimelineSettings& settings) {
  return std::min(connection.last_ns + settings.settle_ns,
                  connection.phase_ns + most_settles * settings.settle_ns);
}

std::int64_t end_due(const TrackedConnection& connection, const TimelineSettings& settings) {
  const Progress& progress = connection.progress;
  const bool said_all = progress.last_ack || (progress.client_closed && progress.server_closed) ||
                        (connection.client_fin_acked && connection.server_fin_acked);
  if (!connection.is_tcp() || is_reset(connection) || said_all) return settled(connection, settings);
  // The other end's last words, if only the ACK of the last FIN, may take a round trip.
  return connection.last_ns + settings.unanswered_ns;
}

// Once it has settled, but the less often the more often that was.
std::int64_t late_due(const TrackedConnection& connection, const TimelineSettings& settings) {
  const std::int64_t settle = settings.settle_ns;
  const std::int64_t rest = settle * (std::int64_t{1} << std::min(connection.late_reports, most_doublings));
  const std::int64_t quiet =
      std::min(connection.last_ns + settle, connection.late_ns + most_settles * settle);
  return std::max(quiet, connection.reported_ns + rest);
}

}  // namespace

void note_packet(TrackedConnection& connection, const TrackedPacket& packet, std::int64_t ts_ns,
                 bool is_new) {
  if (packet.icmp_error) return;
  if (connection.is_tcp()) {
    note_tcp(connection, packet, ts_ns, is_new);
    return;
  }
  if (connection.is_from_client(packet.flow)) {
    open_at(connection, ts_ns);
    connection.opened_in = packet.record.netns;
  } else {
    establish_at(connection, ts_ns);
  }
}

void note_loss(TrackedConnection& connection, const TrackedPacket& packet, std::int64_t ts_ns) {
  if (packet.icmp_error || !connection.is_tcp()) return;
  Progress& progress = connection.progress;
  const std::uint8_t flags = packet.flow.tcp_flags;
  if ((flags & tcp_fin) != 0)
    (connection.is_from_client(packet.flow) ? progress.fin_client : progress.fin_server) = false;
  if ((flags & tcp_rst) != 0) progress.reset = false;
  if (!is_open(progress) || (flags & (tcp_syn | tcp_rst)) != 0) return;
  if (!progress.stalled) connection.stalled_ns = ts_ns;
  progress.stalled = true;
}

void note_socket(TrackedConnection& connection, const SocketFact& fact) {
  const SocketObservation& what = fact.what;
  if (what.what == SocketObservation::What::active_reset ||
      what.what == SocketObservation::What::received_reset)
    connection.progress.reset = true;
  if (what.old_state == State::syn_sent && fact.at_client) open_at(connection, fact.ts_ns);
  if (what.what != SocketObservation::What::state_change) return;
  if (what.new_state == State::established) establish_at(connection, fact.ts_ns);
  if (what.new_state == State::close_) note_close(connection, fact);
}

bool purges_socket_queue(std::string_view function, bool at_input) {
  const bool any_queue = function == "skb_queue_purge" || function == "skb_queue_purge_reason";
  return any_queue ? at_input
                   : function == "sk_stream_kill_queues" || function == "inet_sock_destruct" ||
                         function == "skb_errqueue_purge";
}

bool is_loss(const TrackedPacket& packet, const DropObservation& drop) {
  const bool is_reset = packet.flow.protocol == protocol_tcp && (packet.flow.tcp_flags & tcp_rst) != 0;
  const bool at_socket = !packet.hook || packet.hook == Hook::input;
  if (at_socket && purges_socket_queue(drop.where, packet.hook == Hook::input)) return false;
  return !is_reset || !at_socket || drop.reason == "NETFILTER_DROP";
}

Phase phase_of(const TrackedConnection& connection) {
  if (connection.is_tcp()) return tcp_phase(connection);
  if (connection.progress.established) return Phase::established;
  if (is_answered(connection)) return Phase::answered;
  return connection.progress.opened ? Phase::unanswered : Phase::observed;
}

std::int64_t due_ns(const TrackedConnection& connection, const TimelineSettings& settings) {
  if (is_late(connection)) return late_due(connection, settings);
  if (!is_news(connection)) return connection.reported ? connection.last_ns + settings.forget_ns : 0;
  switch (connection.phase) {
    case Phase::observed:
      return 0;
    case Phase::unanswered: {
      const std::int64_t due = connection.opened_ns + settings.unanswered_ns;
      // the client has given up: nothing will come
      return connection.progress.client_closed ? std::min(due, settled(connection, settings)) : due;
    }
    case Phase::answered:
      return settled(connection, settings);
    case Phase::established:
      return std::max(connection.established_ns, connection.phase_ns) + settings.settle_ns;
    case Phase::stalled:
      return connection.stalled_ns + settings.unanswered_ns;
    case Phase::ended:
      return end_due(connection, settings);
  }
  return 0;
}

bool is_news(const TrackedConnection& connection) {
  if (!connection.reported) return connection.phase != Phase::observed;
  return connection.phase > connection.reported_phase;
}

bool is_late(const TrackedConnection& connection) {
  return connection.decided && connection.has_unreported() && !is_news(connection);
}

bool closed_in_order(const TrackedConnection& connection) {
  return connection.is_tcp() && connection.phase == Phase::ended && !is_reset(connection) &&
         connection.answers.empty() && !connection.progress.stalled;
}

bool is_over(const TrackedConnection& connection) {
  return connection.phase == Phase::answered || connection.phase == Phase::ended ||
         (connection.phase == Phase::unanswered && connection.progress.client_closed);
}

}  // namespace pathtrace
