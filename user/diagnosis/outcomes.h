// SPDX-License-Identifier: GPL-2.0
// What became of a packet on this host.
#pragma once

#include "timeline/timeline.h"

namespace pathtrace {

PacketOutcome outcome_of(const ConnectionTrace& trace, const Packet& packet);

}  // namespace pathtrace
