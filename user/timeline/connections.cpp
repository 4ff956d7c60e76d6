// SPDX-License-Identifier: GPL-2.0
#include "timeline/connections.h"

#include <algorithm>
#include <utility>

#include "timeline/match.h"

namespace pathtrace {

namespace {

// Attempts on one tuple that are remembered for a match. A tuple used more often than this within
// forget_ns has older attempts that are over.
constexpr std::size_t attempts_per_tuple = 16;

void remember(std::vector<std::uint32_t>& values, std::uint32_t value) {
  if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
}

}  // namespace

TrackedConnection* ConnectionTable::match(const Observation& o) {
  const auto bucket = by_tuple_.find(tuple_of(o.flow));
  if (bucket == by_tuple_.end()) return nullptr;
  const auto* socket = std::get_if<SocketObservation>(&o.detail);
  TrackedConnection* best = nullptr;
  int best_fit = 0;
  const auto& ids = bucket->second;
  for (std::size_t i = ids.size(); i > 0; --i) {
    TrackedConnection& candidate = *connections_.at(ids[i - 1]);
    const int fit =
        socket != nullptr ? fit_socket(candidate, o, *socket) : fit_packet(candidate, o, settings_);
    if (fit <= best_fit) continue;
    best = &candidate;
    best_fit = fit;
  }
  return best;
}

TrackedConnection& ConnectionTable::create(const Observation& o) {
  auto owned = std::make_unique<TrackedConnection>();
  TrackedConnection& connection = *owned;
  connection.id = ++last_id_;
  connection.tuple = tuple_of(o.flow);
  const ClientGuess guess = guess_client(o);
  connection.client = guess.source_is_client ? source_of(o.flow) : destination_of(o.flow);
  connection.server = guess.source_is_client ? destination_of(o.flow) : source_of(o.flow);
  connection.client_evidence = guess.evidence;
  connection.started_ns = o.ts_ns;
  connection.last_ns = o.ts_ns;
  auto& active = on(Shelf::active);
  connection.by_age = active.insert(active.end(), connection.id);
  auto& ids = by_tuple_[connection.tuple];
  if (ids.size() == attempts_per_tuple) ids.erase(ids.begin());
  ids.push_back(connection.id);
  connections_.emplace(connection.id, std::move(owned));
  return connection;
}

TrackedConnection& ConnectionTable::of_new_packet(const Observation& o) {
  if (o.parent != 0) {
    const Found answered = find_answered(o);
    if (answered.connection != nullptr) return *answered.connection;
  }
  TrackedConnection* known = match(o);
  return known == nullptr ? create(o) : *known;
}

TrackedConnection& ConnectionTable::of_socket(const Observation& o, const SocketObservation& socket) {
  TrackedConnection* known = match(o);
  TrackedConnection& connection = known == nullptr ? create(o) : *known;
  auto& socks = connection.socks;
  if (socket.sock != 0 && std::find(socks.begin(), socks.end(), socket.sock) == socks.end())
    socks.push_back(socket.sock);
  return connection;
}

ConnectionTable::Found ConnectionTable::find_packet(const Observation& o) {
  for (const std::uint64_t address : {o.head, o.skb}) {
    const auto* place = packets_.find(address);
    if (place == nullptr) continue;
    TrackedConnection& connection = *connections_.at(place->connection);
    if (continues(connection.packets[place->position], o)) return {&connection, place->position};
  }
  return {};
}

bool ConnectionTable::take_known_end(const Observation& o) {
  const auto bucket = by_tuple_.find(tuple_of(o.flow));
  if (!std::holds_alternative<DropObservation>(o.detail) || bucket == by_tuple_.end()) return false;
  constexpr unsigned answered = TrackedPacket::stack_reset | TrackedPacket::icmp_answer;
  const auto is_its_end = [&o](const TrackedPacket& packet) {
    const bool resets = packet.flow.protocol == protocol_tcp && (packet.flow.tcp_flags & tcp_rst) != 0;
    const bool ended = packet.dropped || resets || (packet.facts & answered) != 0;
    const bool same_address = (o.skb != 0 && o.skb == packet.skb) || (o.head != 0 && o.head == packet.head);
    return ended && same_address && continues(packet, o);
  };
  for (const std::uint64_t id : bucket->second) {
    TrackedConnection& connection = *connections_.at(id);
    if (!connection.decided) continue;
    auto& packets = connection.packets;
    const auto told =
        packets.begin() + static_cast<std::ptrdiff_t>(std::min(connection.decided->packets, packets.size()));
    const auto packet = std::find_if(packets.begin(), told, is_its_end);
    if (packet == told) continue;
    packet->facts |= TrackedPacket::freed;
    return true;
  }
  return false;
}

// An answer goes the other way between the same ends, or quotes the packet itself.
ConnectionTable::Found ConnectionTable::find_answered(const Observation& o) {
  const auto* place = packets_.find(o.parent);
  if (place == nullptr) return {};
  TrackedConnection& connection = *connections_.at(place->connection);
  if (!(connection.tuple == tuple_of(o.flow)) || connection.packets[place->position].skb != o.parent)
    return {};
  return {&connection, place->position};
}

void ConnectionTable::learn(TrackedConnection& connection, const Observation& o) {
  const ClientGuess guess = guess_client(o);
  if (guess.evidence > connection.client_evidence) {
    connection.client_evidence = guess.evidence;
    connection.client = guess.source_is_client ? source_of(o.flow) : destination_of(o.flow);
    connection.server = guess.source_is_client ? destination_of(o.flow) : source_of(o.flow);
  }
  const bool is_packet = !std::holds_alternative<SocketObservation>(o.detail);
  if (is_packet && connection.is_tcp() && !o.icmp_error && (o.flow.tcp_flags & tcp_syn) != 0) {
    const bool is_answer = (o.flow.tcp_flags & tcp_ack) != 0;
    if (!connection.isn) connection.isn = is_answer ? o.flow.ack_seq - 1 : o.flow.seq;
    if (is_answer) connection.server_isn = o.flow.seq;
  }
  remember(connection.namespaces, o.netns.inode);
  connection.last_ns = std::max(connection.last_ns, o.ts_ns);
  put(connection, connection.shelf);
}

TrackedPacket* ConnectionTable::append(TrackedConnection& connection, TrackedPacket packet) {
  if (connection.packets.size() >= settings_.max_packets) {
    ++connection.packets_omitted;
    return nullptr;
  }
  put(connection, Shelf::active);
  steps_ += packet.record.steps.size();
  connection.packets.push_back(std::move(packet));
  packets_.insert(connection.packets.back(), {connection.id, connection.packets.size() - 1});
  return &connection.packets.back();
}

void ConnectionTable::before_change(TrackedConnection& connection, std::size_t position) {
  const TrackedPacket& packet = connection.packets[position];
  steps_ -= packet.record.steps.size();
  packets_.erase(packet, {connection.id, position});
}

void ConnectionTable::after_change(TrackedConnection& connection, std::size_t position) {
  const TrackedPacket& packet = connection.packets[position];
  steps_ += packet.record.steps.size();
  packets_.insert(packet, {connection.id, position});
}

std::size_t ConnectionTable::steps_of(const TrackedConnection& connection) {
  std::size_t steps = 0;
  for (const TrackedPacket& packet : connection.packets) steps += packet.record.steps.size();
  return steps;
}

// At the end of the shelf, as what was active last.
void ConnectionTable::put(TrackedConnection& connection, Shelf shelf) {
  auto& to = on(shelf);
  to.splice(to.end(), on(connection.shelf), connection.by_age);
  if (shelf == connection.shelf) return;
  const std::size_t steps = steps_of(connection);
  if (connection.shelf == Shelf::active) steps_ -= steps;
  if (connection.shelf == Shelf::decided) decided_steps_ -= steps;
  if (shelf == Shelf::active) steps_ += steps;
  if (shelf == Shelf::decided) decided_steps_ += steps;
  connection.shelf = shelf;
}

void ConnectionTable::forget_packets(TrackedConnection& connection) {
  put(connection, Shelf::active);
  for (std::size_t i = 0; i < connection.packets.size(); ++i) before_change(connection, i);
  connection.packets = {};
  put(connection, Shelf::bare);
}

void ConnectionTable::retire(TrackedConnection& connection, std::size_t from, std::size_t to) {
  put(connection, Shelf::active);
  auto& packets = connection.packets;
  for (std::size_t i = 0; i < packets.size(); ++i) {
    packets_.erase(packets[i], {connection.id, i});
    if (i >= from && i < to) steps_ -= packets[i].record.steps.size();
  }
  const auto at = [&packets](std::size_t i) { return packets.begin() + static_cast<std::ptrdiff_t>(i); };
  packets.erase(at(from), at(to));
  packets.shrink_to_fit();
  put(connection, packets.empty() ? Shelf::bare : Shelf::decided);
}

void ConnectionTable::erase_from_tuple(const TrackedConnection& connection) {
  const auto bucket = by_tuple_.find(connection.tuple);
  if (bucket == by_tuple_.end()) return;
  auto& ids = bucket->second;
  const auto id = std::find(ids.begin(), ids.end(), connection.id);
  if (id != ids.end()) ids.erase(id);
  if (ids.empty()) by_tuple_.erase(bucket);
}

void ConnectionTable::forget(std::uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  TrackedConnection& connection = *found->second;
  forget_packets(connection);
  erase_from_tuple(connection);
  on(connection.shelf).erase(connection.by_age);
  connections_.erase(found);
}

TrackedConnection* ConnectionTable::find(std::uint64_t id) {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second.get();
}

TrackedConnection* ConnectionTable::one_too_many() {
  if (connections_.size() <= settings_.max_connections) return nullptr;
  for (const Shelf shelf : {Shelf::bare, Shelf::decided, Shelf::active})
    if (!on(shelf).empty()) return connections_.at(on(shelf).front()).get();
  return nullptr;
}

TrackedConnection* ConnectionTable::too_long() {
  if (steps_ <= settings_.max_steps || on(Shelf::active).empty()) return nullptr;
  return connections_.at(on(Shelf::active).front()).get();
}

TrackedConnection* ConnectionTable::too_much_decided() {
  if (decided_steps_ <= settings_.max_decided_steps) return nullptr;
  return connections_.at(on(Shelf::decided).front()).get();
}

std::vector<std::uint64_t> ConnectionTable::ids() const {
  std::vector<std::uint64_t> all;
  all.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) all.push_back(id);
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace pathtrace
