// SPDX-License-Identifier: GPL-2.0
// What an event adds to a packet and to what is known of its connection.
#pragma once

#include "timeline/connections.h"
#include "timeline/tracked.h"

namespace pathtrace {

// True if the packet is lost by it. Takes the steps of a walk.
bool apply(TrackedConnection& connection, TrackedPacket& packet, Observation& o);

// `packet`, seen first in `o`, is the RST or ICMP error that answers `answered`.
void link_answer(TrackedConnection& connection, TrackedPacket& packet, const Observation& o,
                 const ConnectionTable::Found& answered);

}  // namespace pathtrace
