// SPDX-License-Identifier: GPL-2.0
// A connection and its packets as the lines of the text view. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "render/style.h"
#include "timeline/model.h"

namespace pathtrace {

// The packets' lines. Offsets count from `start_ns`; retransmitted SYNs that took the same path
// are folded into one line.
std::string packet_lines(const std::vector<Packet>& packets, std::int64_t start_ns, const Style& style);

// The whole block, each line with its newline. `again`: the connection was shown before and these
// are its new packets.
std::string connection_block(const Connection& connection, const std::vector<Packet>& packets,
                             std::int64_t start_ns, bool again, const Style& style);

// Packets whose connection was never reported.
std::string unfinished_block(const std::vector<Packet>& packets, const Style& style);

}  // namespace pathtrace
