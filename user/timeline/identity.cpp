// SPDX-License-Identifier: GPL-2.0
#include "timeline/identity.h"

#include <arpa/inet.h>  // inet_ntop: text from bytes, no system call

#include <algorithm>
#include <string_view>
#include <utility>

namespace pathtrace {

namespace {

End end_of(const __u8 (&address)[16], std::uint16_t port, std::uint8_t family) {
  End end;
  std::copy_n(address, family == family_ipv6 ? 16 : 4, end.address.begin());
  end.port = port;
  return end;
}

}  // namespace

End source_of(const pt_flow& flow) { return end_of(flow.saddr, flow.sport, flow.family); }
End destination_of(const pt_flow& flow) { return end_of(flow.daddr, flow.dport, flow.family); }

Tuple tuple_of(const pt_flow& flow) {
  Tuple tuple{source_of(flow), destination_of(flow), flow.family, flow.protocol};
  if (tuple.high < tuple.low) std::swap(tuple.low, tuple.high);
  return tuple;
}

std::size_t TupleHash::operator()(const Tuple& tuple) const noexcept {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  const auto mix = [&hash](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };
  for (const End* end : {&tuple.low, &tuple.high}) {
    for (const std::uint8_t byte : end->address) mix(byte);
    mix(end->port);
  }
  mix(tuple.family);
  mix(tuple.protocol);
  return static_cast<std::size_t>(hash ^ (hash >> 29));
}

std::string protocol_text(std::uint8_t protocol) {
  switch (protocol) {
    case protocol_tcp:
      return "tcp";
    case protocol_udp:
      return "udp";
    case protocol_icmp:
      return "icmp";
    case protocol_icmpv6:
      return "icmpv6";
    default:
      return std::to_string(protocol);
  }
}

Endpoint endpoint_of(const End& end, std::uint8_t family, std::uint8_t protocol) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(family == family_ipv6 ? AF_INET6 : AF_INET, end.address.data(), text.data(), text.size());
  Endpoint endpoint{text.data(), std::nullopt};
  if (has_ports(protocol)) endpoint.port = end.port;
  return endpoint;
}

std::string tcp_flags_text(std::uint8_t flags) {
  static constexpr std::array<std::pair<std::uint8_t, char>, 8> letters{
      {{2, 'S'}, {1, 'F'}, {4, 'R'}, {8, 'P'}, {16, 'A'}, {32, 'U'}, {64, 'E'}, {128, 'C'}}};
  std::string text;
  for (const auto& [bit, letter] : letters)
    if ((flags & bit) != 0) text += letter;
  return text.empty() ? "none" : text;
}

std::string reject_word(bool ipv6, std::uint8_t code) {
  static constexpr std::array<std::string_view, 14> v4{"net-unreachable",
                                                       "host-unreachable",
                                                       "proto-unreachable",
                                                       "port-unreachable",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "net-prohibited",
                                                       "host-prohibited",
                                                       "",
                                                       "",
                                                       "admin-prohibited"};
  static constexpr std::array<std::string_view, 7> v6{"no-route",         "adm-prohibited",   "",
                                                      "addr-unreachable", "port-unreachable", "policy-fail",
                                                      "reject-route"};
  const std::string prefix = ipv6 ? "icmp6-" : "icmp-";
  const std::size_t known = ipv6 ? v6.size() : v4.size();
  const std::string_view name = code >= known ? std::string_view() : (ipv6 ? v6.at(code) : v4.at(code));
  return name.empty() ? prefix + "code-" + std::to_string(code) : prefix + std::string(name);
}

}  // namespace pathtrace
