// SPDX-License-Identifier: GPL-2.0
#include "cli/match.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

namespace pathtrace {
namespace {

// Packets that wait for their connection; of a live stream there are few.
constexpr std::size_t most_waiting = 65536;

bool contains(const pt_prefix& prefix, const std::string& address) {
  if (prefix.family == 0) return true;
  std::array<std::uint8_t, sizeof(prefix.addr)> bytes{};
  if (inet_pton(prefix.family, address.c_str(), bytes.data()) != 1) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if ((bytes[i] & prefix.mask[i]) != prefix.addr[i]) return false;
  return true;
}

bool is_port(std::uint16_t wanted, const Endpoint& end) { return wanted == 0 || end.port == wanted; }

bool ends_match(const pt_filter& filter, const Endpoint& source, const Endpoint& destination) {
  return contains(filter.src, source.address) && contains(filter.dst, destination.address) &&
         is_port(filter.sport, source) && is_port(filter.dport, destination) &&
         (contains(filter.host, source.address) || contains(filter.host, destination.address)) &&
         (is_port(filter.port, source) || is_port(filter.port, destination));
}

bool either_way(const pt_filter& filter, const Endpoint& one, const Endpoint& other) {
  return ends_match(filter, one, other) || ends_match(filter, other, one);
}

bool protocol_matches(const pt_filter& filter, const std::string& protocol) {
  const bool icmp = protocol == "icmp" || protocol == "icmpv6";
  switch (filter.protocol) {
    case IPPROTO_TCP:
      return protocol == "tcp";
    case IPPROTO_UDP:
      return protocol == "udp";
    case IPPROTO_ICMP:
      return icmp;
    case PT_PROTOCOL_ARP:
      return protocol == "arp";
    default:
      break;
  }
  const bool ports = filter.sport != 0 || filter.dport != 0 || filter.port != 0;
  return protocol == "tcp" || protocol == "udp" || ((icmp || protocol == "arp") && !ports);
}

bool family_matches(const pt_filter& filter, const std::string& address) {
  if (filter.family == 0) return true;
  return (address.find(':') != std::string::npos) == (filter.family == AF_INET6);
}

bool netns_matches(const pt_filter& filter, const Netns& netns) {
  return filter.netns == 0 || filter.netns == netns.inode;
}

bool interface_matches(const pt_filter& filter, const Packet& packet) {
  return filter.interface[0] == '\0' || packet.iif == filter.interface || packet.oif == filter.interface;
}

}  // namespace

bool matches(const pt_filter& filter, const Packet& packet) {
  return protocol_matches(filter, packet.protocol) && family_matches(filter, packet.source.address) &&
         netns_matches(filter, packet.netns) && interface_matches(filter, packet) &&
         either_way(filter, packet.source, packet.destination);
}

bool matches(const pt_filter& filter, const Connection& connection) {
  if (!protocol_matches(filter, connection.protocol) || !netns_matches(filter, connection.netns) ||
      !family_matches(filter, connection.client.address))
    return false;
  const auto& nat = connection.nat;
  return either_way(filter, connection.client, connection.server) ||
         (nat && (either_way(filter, nat->original_source, nat->original_destination) ||
                  either_way(filter, nat->translated_source, nat->translated_destination)));
}

bool may_begin(const pt_filter& filter, const Observation& o) {
  if (filter.interface[0] == '\0' || std::holds_alternative<WalkObservation>(o.detail)) return true;
  if (std::holds_alternative<SocketObservation>(o.detail)) return false;
  return o.iif == filter.interface || o.oif == filter.interface;
}

ReplayFilter::ReplayFilter(const pt_filter& filter, std::string words)
    : filter_(filter), words_(std::move(words)) {
  const pt_filter nothing{};
  all_ = std::memcmp(&filter, &nothing, sizeof(filter)) == 0;
}

bool ReplayFilter::picks(const Connection& connection, const std::vector<Packet>& packets) const {
  if (!protocol_matches(filter_, connection.protocol)) return false;
  if (filter_.interface[0] == '\0' && matches(filter_, connection)) return true;
  return std::any_of(packets.begin(), packets.end(), [&](Packet packet) {
    packet.protocol = connection.protocol;
    return matches(filter_, packet);
  });
}

std::vector<Record> ReplayFilter::take_packet(const Packet& packet) {
  if (picked_.contains(packet.connection)) {
    ++packets_;
    return {packet};
  }
  std::vector<Record> due;
  if (n_waiting_ >= most_waiting) due = rest();
  waiting_[packet.connection].push_back(packet);
  ++n_waiting_;
  return due;
}

std::vector<Record> ReplayFilter::take_connection(const Connection& connection) {
  const auto node = waiting_.extract(connection.id);
  const std::vector<Packet> packets = node ? std::move(node.mapped()) : std::vector<Packet>();
  n_waiting_ -= packets.size();
  if (!picked_.contains(connection.id)) {
    if (!picks(connection, packets)) return {};
    picked_.insert(connection.id);
    ++connections_;
  }
  packets_ += packets.size();
  std::vector<Record> due(packets.begin(), packets.end());
  due.emplace_back(connection);
  return due;
}

std::vector<Record> ReplayFilter::rest() {
  std::vector<Record> due;
  for (const auto& [id, packets] : std::exchange(waiting_, {}))
    std::copy_if(packets.begin(), packets.end(), std::back_inserter(due),
                 [this](const Packet& packet) { return matches(filter_, packet); });
  n_waiting_ = 0;
  packets_ += due.size();
  return due;
}

std::vector<Record> ReplayFilter::take(const Record& record) {
  if (all_) return {record};
  if (const auto* packet = std::get_if<Packet>(&record)) return take_packet(*packet);
  if (const auto* connection = std::get_if<Connection>(&record)) return take_connection(*connection);
  if (const auto* start = std::get_if<StartRecord>(&record)) {
    StartRecord picked = *start;
    picked.filter += "; of these " + words_;
    return {picked};
  }
  if (const auto* end = std::get_if<EndRecord>(&record)) {
    std::vector<Record> due = rest();
    EndRecord picked = *end;
    picked.connections = connections_;
    picked.packets = packets_;
    due.emplace_back(std::move(picked));
    return due;
  }
  return {record};
}

}  // namespace pathtrace
