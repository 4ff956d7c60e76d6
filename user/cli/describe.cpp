// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>
#include <bit>
#include <cstring>
#include <numeric>

#include "cli/options.h"

namespace pathtrace {
namespace {

std::string protocols(const pt_filter& filter) {
  if (filter.protocol == IPPROTO_TCP) return "tcp";
  if (filter.protocol == IPPROTO_UDP) return "udp";
  if (filter.protocol == PT_PROTOCOL_ARP) return "arp";
  if (filter.protocol == IPPROTO_ICMP) return filter.family == AF_INET6 ? "icmpv6" : "icmp";
  return filter.sport != 0 || filter.dport != 0 || filter.port != 0 ? "tcp,udp" : "tcp,udp,icmp";
}

std::string words(const pt_prefix& prefix) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(prefix.family, prefix.addr, text.data(), text.size());
  const int bits = std::accumulate(std::begin(prefix.mask), std::end(prefix.mask), 0,
                                   [](int sum, std::uint8_t byte) { return sum + std::popcount(byte); });
  const int longest = prefix.family == AF_INET ? 32 : 128;
  return bits == longest ? text.data() : std::string(text.data()) + "/" + std::to_string(bits);
}

}  // namespace

std::string describe(const pt_filter& filter, const std::optional<std::string>& netns) {
  std::string out = protocols(filter);
  if (filter.dport != 0) out += " port " + std::to_string(filter.dport);
  if (filter.port != 0) out += " port " + std::to_string(filter.port) + " (either end)";
  if (filter.sport != 0) out += ", from port " + std::to_string(filter.sport);
  if (filter.src.family != 0) out += ", from " + words(filter.src);
  if (filter.dst.family != 0) out += ", to " + words(filter.dst);
  if (filter.host.family != 0) out += ", host " + words(filter.host);
  const bool family_is_plain = filter.src.family != 0 || filter.dst.family != 0 || filter.host.family != 0 ||
                               filter.protocol == IPPROTO_ICMP;
  if (filter.family != 0 && !family_is_plain) out += filter.family == AF_INET ? ", IPv4" : ", IPv6";
  if (filter.interface[0] != '\0')
    out += ", interface " + std::string(filter.interface, strnlen(filter.interface, PT_IFNAMSIZ));
  if (filter.all_packets != 0) out += ", all packets";
  return out + (netns ? ", network namespace " + *netns : ", all network namespaces");
}

}  // namespace pathtrace
