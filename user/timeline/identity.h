// SPDX-License-Identifier: GPL-2.0
// What makes two events speak of the same addresses, and how those are written.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "pathtrace/event.h"
#include "timeline/model.h"

namespace pathtrace {

inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t protocol_tcp = 6;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint8_t protocol_icmpv6 = 58;
inline constexpr std::uint8_t family_ipv6 = 10;

inline constexpr std::uint8_t tcp_fin = 1;
inline constexpr std::uint8_t tcp_syn = 2;
inline constexpr std::uint8_t tcp_rst = 4;
inline constexpr std::uint8_t tcp_ack = 16;

struct End {
  std::array<std::uint8_t, 16> address{};
  std::uint16_t port = 0;

  auto operator<=>(const End&) const = default;
};

End source_of(const pt_flow& flow);
End destination_of(const pt_flow& flow);

// Both directions of a connection have the same tuple.
struct Tuple {
  End low, high;
  std::uint8_t family = 0;
  std::uint8_t protocol = 0;

  bool operator==(const Tuple&) const = default;
};

Tuple tuple_of(const pt_flow& flow);

struct TupleHash {
  std::size_t operator()(const Tuple& tuple) const noexcept;
};

// a is at or after b in sequence space (RFC 1982).
constexpr bool seq_reached(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) >= 0; }

constexpr bool has_ports(std::uint8_t protocol) {
  return protocol == protocol_tcp || protocol == protocol_udp;
}

// Of AF_INET or AF_INET6, numeric.
std::string address_text(const std::uint8_t* address, std::uint8_t family);
std::string protocol_text(std::uint8_t protocol);
Endpoint endpoint_of(const End& end, std::uint8_t family, std::uint8_t protocol);
// "S", "SA", "R", "FA", ...
std::string tcp_flags_text(std::uint8_t flags);
// A code of ICMP (ICMPv6) destination unreachable, in the words of -j REJECT --reject-with.
std::string reject_word(bool ipv6, std::uint8_t code);

}  // namespace pathtrace
