// SPDX-License-Identifier: GPL-2.0
// How well an event fits a connection that has its tuple.
#pragma once

#include "timeline/tracked.h"

namespace pathtrace {

// 0: it is not this connection's. Else the larger the better.
int fit_packet(const TrackedConnection& connection, const Observation& o, const TimelineSettings& settings);
int fit_socket(const TrackedConnection& connection, const Observation& o, const SocketObservation& socket);

// Who is the client, as far as this event tells.
struct ClientGuess {
  bool source_is_client = true;
  ClientEvidence evidence = ClientEvidence::guess;
};
ClientGuess guess_client(const Observation& o);

}  // namespace pathtrace
