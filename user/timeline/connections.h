// SPDX-License-Identifier: GPL-2.0
// Which connection an event belongs to. A tuple alone doesn't tell: it is used again by the next
// attempt, and isolated namespaces may use the same one at the same time. The client's initial
// sequence number does, with the namespaces a connection was seen in for what carries none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "timeline/packets.h"
#include "timeline/tracked.h"

namespace pathtrace {

class ConnectionTable {
 public:
  explicit ConnectionTable(const TimelineSettings& settings) : settings_(settings) {}

  // The connection of a packet that was not seen before; a new one if it is none's.
  TrackedConnection& of_new_packet(const Observation& o);
  // The connection of a socket.
  TrackedConnection& of_socket(const Observation& o, const SocketObservation& socket);

  // Where `o`'s packet is, if it goes on with one that is known.
  struct Found {
    TrackedConnection* connection = nullptr;
    std::size_t position = 0;
  };
  [[nodiscard]] Found find_packet(const Observation& o);
  // Is `o` the end of a packet that was reported for good, and reported as having come to it? A packet has
  // one end: of the next one at the same address that is none. Not found are packets that aren't kept.
  [[nodiscard]] bool take_known_end(const Observation& o);
  // The packet that `o` answers.
  [[nodiscard]] Found find_answered(const Observation& o);

  // What `o` says about who is the client, its sequence number and its namespaces.
  void learn(TrackedConnection& connection, const Observation& o);
  // Appends a packet, or returns nullptr if the connection is full.
  TrackedPacket* append(TrackedConnection& connection, TrackedPacket packet);
  // To be called around a change of the packet's kernel addresses or steps.
  void before_change(TrackedConnection& connection, std::size_t position);
  void after_change(TrackedConnection& connection, std::size_t position);

  void forget_packets(TrackedConnection& connection);
  // It was reported for good: nothing belongs to its packets any more, and those in [from, to) are not kept.
  void retire(TrackedConnection& connection, std::size_t from, std::size_t to);
  void forget(std::uint64_t id);
  [[nodiscard]] TrackedConnection* find(std::uint64_t id);
  // The connection to let go of if there are too many; nullptr if there aren't. Those whose packets
  // are gone come first, then those that were reported for good; of these, that which was silent for longest.
  [[nodiscard]] TrackedConnection* one_too_many();
  // The connection to let go of the packets of if there are too many steps; nullptr if there aren't.
  [[nodiscard]] TrackedConnection* too_long();
  // The connection to forget if too much is kept of those that were reported for good; nullptr if it isn't.
  [[nodiscard]] TrackedConnection* too_much_decided();
  [[nodiscard]] std::size_t size() const { return connections_.size(); }
  [[nodiscard]] std::vector<std::uint64_t> ids() const;  // ascending

  // Is there a connection that this belongs to?
  bool knows(const Observation& o) { return find_packet(o).connection != nullptr || match(o) != nullptr; }

 private:
  TrackedConnection& create(const Observation& o);
  TrackedConnection* match(const Observation& o);
  void erase_from_tuple(const TrackedConnection& connection);
  void put(TrackedConnection& connection, Shelf shelf);
  [[nodiscard]] std::list<std::uint64_t>& on(Shelf shelf) {
    return shelves_.at(static_cast<std::size_t>(shelf));
  }
  // What the table counts as the connection's.
  [[nodiscard]] static std::size_t steps_of(const TrackedConnection& connection);

  TimelineSettings settings_;
  std::unordered_map<std::uint64_t, std::unique_ptr<TrackedConnection>> connections_;
  std::unordered_map<Tuple, std::vector<std::uint64_t>, TupleHash> by_tuple_;  // oldest first
  std::array<std::list<std::uint64_t>, 3> shelves_;                            // silent for longest first
  PacketIndex packets_;
  std::size_t steps_ = 0;          // of those on Shelf::active
  std::size_t decided_steps_ = 0;  // of those on Shelf::decided
  std::uint64_t last_id_ = 0;
};

}  // namespace pathtrace
