// SPDX-License-Identifier: GPL-2.0
// The filter on records, for replay: the same packets as the kernel side would have picked, where a
// record still shows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "pathtrace/filter.h"
#include "timeline/model.h"
#include "timeline/observation.h"

namespace pathtrace {

// In its own direction or with source and destination exchanged. Pure.
bool matches(const pt_filter& filter, const Packet& packet);
// By its ends, before or after NAT. A connection has no interface: that part is not tested.
bool matches(const pt_filter& filter, const Connection& connection);

// Does this tell by itself that a connection uses the interface of -i? What sockets did, and a packet whose
// device is no longer known, belong to such a connection only if something else does. Pure.
bool may_begin(const pt_filter& filter, const Observation& observation);

// The part of a stream that a filter picks, as a stream of its own: `start` says what was picked, `end`
// counts it. A connection is in it if it or one of its packets matches, and with it all of its packets: an
// ICMP error is of the protocol that it quotes, the far side of a NAT has other addresses. So packets wait
// for their connection, which comes right after them. A filter that asks for nothing changes nothing.
class ReplayFilter {
 public:
  // `words`: the filter, for `start`.
  ReplayFilter(const pt_filter& filter, std::string words);
  // The next record of the stream → those of the picked stream that are due now, in order.
  std::vector<Record> take(const Record& record);
  // Does it pick at all? How many connections it has passed on.
  [[nodiscard]] bool picks() const { return !all_; }
  [[nodiscard]] std::uint64_t connections() const { return connections_; }
  // The stream is over: packets whose connection never came, each by itself.
  std::vector<Record> rest();

 private:
  std::vector<Record> take_packet(const Packet& packet);
  std::vector<Record> take_connection(const Connection& connection);
  [[nodiscard]] bool picks(const Connection& connection, const std::vector<Packet>& packets) const;

  pt_filter filter_;
  std::string words_;
  bool all_;
  std::unordered_set<std::uint64_t> picked_;              // connections
  std::map<std::uint64_t, std::vector<Packet>> waiting_;  // by connection
  std::size_t n_waiting_ = 0;                             // packets
  std::uint64_t packets_ = 0, connections_ = 0;           // passed on
};

}  // namespace pathtrace
