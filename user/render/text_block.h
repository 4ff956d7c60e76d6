// SPDX-License-Identifier: GPL-2.0
// A connection and its packets as the lines of the text view. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "render/style.h"
#include "timeline/model.h"

namespace pathtrace {

// What the blocks of a connection have told already. Texts are kept as hashes: this is remembered of many.
struct Told {
  struct Handshake {
    std::size_t path = 0;
    std::int64_t ts_ns = 0;  // of the first that took it
  };
  bool shown = false;
  std::int64_t start_ns = 0;  // of the first packet: offsets count from here
  std::size_t cause = 0;      // the last one
  std::vector<Handshake> handshake;
};

// The packets' lines. Retransmitted SYNs that took the same path are folded into one line, which is all that
// is said of them where an earlier block showed the path.
std::string packet_lines(const std::vector<Packet>& packets, Told& told, const Style& style);

// The whole block, each line with its newline. If `told.shown`, these are the new packets of a connection
// that was shown before.
std::string connection_block(const Connection& connection, const std::vector<Packet>& packets, Told& told,
                             const Style& style);

// Packets whose connection was never reported.
std::string unfinished_block(const std::vector<Packet>& packets, const Style& style);

}  // namespace pathtrace
