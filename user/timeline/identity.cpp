// SPDX-License-Identifier: GPL-2.0
#include "timeline/identity.h"

#include <arpa/inet.h>  // inet_ntop: text from bytes, no system call

#include <algorithm>
#include <charconv>
#include <cstring>
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
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](std::uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  };
  for (const End* end : {&tuple.low, &tuple.high}) {
    std::array<std::uint64_t, 2> halves{};
    std::memcpy(halves.data(), end->address.data(), sizeof halves);
    for (const std::uint64_t half : halves) mix(half);
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
    case PT_PROTOCOL_ARP:
      return "arp";
    default:
      return std::to_string(protocol);
  }
}

// Not by inet_ntop() where it can be helped: it takes ten times as long, and there are two for every packet.
std::string address_text(const std::uint8_t* address, std::uint8_t family) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family == family_ipv6) {
    inet_ntop(AF_INET6, address, text.data(), text.size());
    return text.data();
  }
  char* end = text.data();
  for (std::size_t i = 0; i < 4; ++i) {
    if (i != 0) *end++ = '.';
    end = std::to_chars(end, text.data() + text.size(), address[i]).ptr;
  }
  return {text.data(), end};
}

Endpoint endpoint_of(const End& end, std::uint8_t family, std::uint8_t protocol) {
  Endpoint endpoint{address_text(end.address.data(), family), std::nullopt};
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
