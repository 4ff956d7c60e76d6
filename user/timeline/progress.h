// SPDX-License-Identifier: GPL-2.0
// How far a connection has come, and when it is worth a report.
#pragma once

#include <cstdint>
#include <string_view>

#include "timeline/tracked.h"

namespace pathtrace {

// `packet` did something that no rule has stopped so far. `is_new`: it was not seen before.
void note_packet(TrackedConnection& connection, const TrackedPacket& packet, std::int64_t ts_ns, bool is_new);
// `packet` was dropped: what it would have brought about did not happen.
void note_loss(TrackedConnection& connection, const TrackedPacket& packet, std::int64_t ts_ns);
void note_socket(TrackedConnection& connection, const SocketFact& fact);

// Does this kernel function free what waits in a socket's queue, when the socket is closed or asked? (6.1
// gives no reason, 6.12 QUEUE_PURGE.) skb_queue_purge() empties other queues, too, as that of packets that
// wait for a neighbour: only `at_input`, where the packet has passed INPUT, is it a socket's.
bool purges_socket_queue(std::string_view function, bool at_input);

// A RST is freed as a "drop" by the socket that takes it, what a socket didn't read with the socket: that is
// no loss.
bool is_loss(const TrackedPacket& packet, const DropObservation& drop);

Phase phase_of(const TrackedConnection& connection);

// When the connection is to be reported, or forgotten if it was; 0 = not by itself.
std::int64_t due_ns(const TrackedConnection& connection, const TimelineSettings& settings);
// Has it come further than was reported?
bool is_news(const TrackedConnection& connection);
// Was it reported for good, and has had packets since that took it no further?
bool is_late(const TrackedConnection& connection);
// Established and closed in order: that can be told without its packets.
bool closed_in_order(const TrackedConnection& connection);
// Has it reached a phase from which nothing more is expected?
bool is_over(const TrackedConnection& connection);

}  // namespace pathtrace
