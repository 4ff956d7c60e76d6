// SPDX-License-Identifier: GPL-2.0
// Kernel events → observations: numbers become names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "pathtrace/event.h"
#include "timeline/observation.h"

namespace pathtrace {

// The event in `data`, or nullptr if it is not as long as its kind and its counts say.
const pt_event* checked_event(const void* data, std::size_t size);

// What decoding asks the host. Pure functions of their arguments as far as the decoder cares, so
// that tests need no kernel.
struct Names {
  std::function<WalkObservation(const pt_legacy_walk&)> legacy_walk;
  std::function<WalkObservation(const pt_nft_walk&)> nft_walk;
  std::function<std::optional<std::string>(std::uint32_t netns)> netns;
  std::function<std::optional<std::string>(std::uint32_t netns, std::uint32_t ifindex)> interface;
  std::function<std::optional<std::string>(std::uint32_t reason)> drop_reason;   // without SKB_DROP_REASON_
  std::function<std::optional<std::string>(std::uint32_t reason)> reset_reason;  // without SK_RST_REASON_
  std::function<std::optional<std::string>(std::uint64_t address)> symbol;
};

class Decoder {
 public:
  // `realtime_offset_ns`: CLOCK_REALTIME - CLOCK_MONOTONIC.
  Decoder(Names names, std::int64_t realtime_offset_ns);
  // nullopt for events that say nothing about a packet or socket.
  [[nodiscard]] std::optional<Observation> decode(const pt_event& event) const;

 private:
  [[nodiscard]] Observation header(const pt_event& event) const;
  Names names_;
  std::int64_t realtime_offset_ns_;
};

}  // namespace pathtrace
