// SPDX-License-Identifier: GPL-2.0
// Which events speak of the same packet, and what each adds to its record.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "timeline/tracked.h"

namespace pathtrace {

// Is `o` the next thing that happens to `packet`? Addresses of packets are used again within
// microseconds, and every retransmission of a segment shares its skb->head; so the headers must be
// the same and the hooks must go on, not begin again.
bool continues(const TrackedPacket& packet, const Observation& o);

// The record of a packet that `o` shows for the first time.
TrackedPacket begin_packet(const Observation& o);

// Takes the walk's steps.
void add_walk(TrackedPacket& packet, const Observation& o, WalkObservation& walk);
void add_reject(TrackedPacket& packet, const Observation& o, const RejectObservation& reject);
void add_stack_reset(TrackedPacket& packet, const Observation& o);
void add_neighbour(TrackedPacket& packet, const Observation& o, const NeighbourObservation& neighbour);
void add_icmp_answer(TrackedPacket& packet, const Observation& o);
void add_listener_syn(TrackedPacket& packet, const Observation& o, const ListenerSynObservation& syn);
void add_drop(TrackedPacket& packet, const Observation& o, const DropObservation& drop);

// The record as it is reported: with its way out, if it has left since.
Packet finished(const TrackedPacket& packet);

// Where the packets at kernel addresses are remembered. The latest packet at an address wins.
class PacketIndex {
 public:
  struct Place {
    std::uint64_t connection = 0;
    std::size_t position = 0;
  };

  void insert(const TrackedPacket& packet, Place place);
  void erase(const TrackedPacket& packet, Place place);
  [[nodiscard]] const Place* find(std::uint64_t address) const;
  [[nodiscard]] std::size_t size() const { return places_.size(); }

 private:
  std::unordered_map<std::uint64_t, Place> places_;
};

}  // namespace pathtrace
