// SPDX-License-Identifier: GPL-2.0
// The filter on records, for replay: the same packets as the kernel side would have picked, where a
// record still shows it.
#pragma once

#include <cstdint>
#include <unordered_set>

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

// Which records of a stream to show. A packet that doesn't match by itself but belongs to a
// connection that did (an ICMP error, the far side of a NAT) is kept.
class ReplayFilter {
 public:
  explicit ReplayFilter(const pt_filter& filter) : filter_(filter) {}
  bool keep(const Record& record);

 private:
  bool keep_packet(const Packet& packet);
  bool keep_connection(const Connection& connection);

  pt_filter filter_;
  std::unordered_set<std::uint64_t> kept_;
};

}  // namespace pathtrace
