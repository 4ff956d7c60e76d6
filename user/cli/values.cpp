// SPDX-License-Identifier: GPL-2.0
#include "cli/values.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>

namespace pathtrace {
namespace {

constexpr double longest_duration = 365.0 * 24 * 3600;  // beyond a year it is a typing error

std::string quoted(const std::string& text) { return "'" + text + "'"; }

template <typename T>
std::optional<T> whole(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stopped, reason] = std::from_chars(text.data(), end, value);
  if (text.empty() || stopped != end || reason != std::errc()) return std::nullopt;
  return value;
}

bool all_digits(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

Error not_an_address(const std::string& text) {
  return usage(quoted(text) +
               " is not an address or prefix such as 10.0.0.9, 10.0.0.0/8 or fd00::1; names are not looked "
               "up, use numbers");
}

void mask_off(pt_prefix& prefix, unsigned bits) {
  for (unsigned i = 0; i < sizeof(prefix.addr); ++i) {
    const unsigned left = bits > i * 8 ? std::min(bits - i * 8, 8U) : 0;
    prefix.mask[i] = static_cast<std::uint8_t>(0xff00U >> left);
    prefix.addr[i] &= prefix.mask[i];
  }
}

}  // namespace

Result<std::uint64_t> parse_number(const std::string& text, std::uint64_t least, std::uint64_t most) {
  const auto value = whole<std::uint64_t>(text);
  if (value && *value >= least && *value <= most) return *value;
  if (most == UINT64_MAX)
    return usage(quoted(text) + " is not a whole number of at least " + std::to_string(least));
  return usage(quoted(text) + " is not a whole number from " + std::to_string(least) + " to " +
               std::to_string(most));
}

Result<std::uint16_t> parse_port(const std::string& text, const char* protocol) {
  if (text.find(',') != std::string::npos || text.find(':') != std::string::npos ||
      (text.find('-') != std::string::npos && all_digits(text.substr(0, 1))))
    return usage(quoted(text) + " is a range or list; one port can be traced, or all without this option");
  if (all_digits(text)) {
    const auto port = whole<std::uint16_t>(text);
    if (port && *port != 0) return *port;
    return usage("port " + text + " does not exist; ports are 1 to 65535");
  }
  const servent* service = text.empty() ? nullptr : getservbyname(text.c_str(), protocol);
  if (service != nullptr) return ntohs(static_cast<std::uint16_t>(service->s_port));
  return usage(quoted(text) + " is neither a port number nor a " +
               (protocol == nullptr ? "" : std::string(protocol) + " ") + "service in /etc/services");
}

Result<pt_prefix> parse_prefix(const std::string& text) {
  const std::size_t slash = text.find('/');
  const std::string address = text.substr(0, slash);
  pt_prefix prefix{};
  if (inet_pton(AF_INET, address.c_str(), prefix.addr) == 1)
    prefix.family = AF_INET;
  else if (inet_pton(AF_INET6, address.c_str(), prefix.addr) == 1)
    prefix.family = AF_INET6;
  else
    return not_an_address(text);
  const unsigned longest = prefix.family == AF_INET ? 32 : 128;
  unsigned bits = longest;
  if (slash != std::string::npos) {
    const auto given = whole<unsigned>(text.substr(slash + 1));
    if (!given || *given > longest)
      return usage(quoted(text) + ": the prefix length is a number from 0 to " + std::to_string(longest));
    bits = *given;
  }
  mask_off(prefix, bits);
  return prefix;
}

Result<std::uint32_t> parse_buffer(const std::string& text) {
  constexpr std::uint64_t least = 64ULL << 10, most = 1ULL << 30;
  const std::string units = "KMG";
  const std::size_t unit =
      text.empty() ? std::string::npos
                   : units.find(static_cast<char>(std::toupper(static_cast<unsigned char>(text.back()))));
  const auto number =
      whole<std::uint64_t>(unit == std::string::npos ? text : text.substr(0, text.size() - 1));
  const unsigned shift = unit == std::string::npos ? 0 : static_cast<unsigned>(10 * (unit + 1));
  if (number && *number <= most >> shift && *number << shift >= least)
    return static_cast<std::uint32_t>(std::bit_ceil(*number << shift));
  return usage(quoted(text) + " is not a size from 64K to 1G, such as 512K, 8M or 1G");
}

Result<double> parse_duration(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, reason] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  const std::string unit(stopped, end);
  double scale = 0;
  if (unit.empty() || unit == "s") scale = 1;
  if (unit == "m") scale = 60;
  if (unit == "h") scale = 3600;
  const double seconds = value * scale;
  if (reason == std::errc() && std::isfinite(seconds) && seconds > 0 && seconds <= longest_duration)
    return seconds;
  return usage(quoted(text) + " is not a time such as 30, 30s, 5m or 1h");
}

Result<std::string> parse_interface(const std::string& text) {
  if (text.ends_with('+'))
    return usage(quoted(text) + ": a pattern can't be used here; give the name of one interface");
  if (text.size() >= PT_IFNAMSIZ)
    return usage(quoted(text) + " is longer than the 15 characters an interface's name can have");
  if (text.empty() || text.find_first_of("/ \t\n\r\v\f") != std::string::npos)
    return usage(quoted(text) + " can't be the name of an interface");
  return text;
}

Result<ProtocolChoice> parse_protocol(const std::string& text) {
  struct Name {
    const char *name, *number;
    ProtocolChoice choice;
  };
  static constexpr std::array<Name, 6> names = {{
      {"tcp", "6", {IPPROTO_TCP, 0}},
      {"udp", "17", {IPPROTO_UDP, 0}},
      {"icmp", "1", {IPPROTO_ICMP, AF_INET}},
      {"icmpv6", "58", {IPPROTO_ICMP, AF_INET6}},
      {"ipv6-icmp", "58", {IPPROTO_ICMP, AF_INET6}},  // its name in /etc/protocols
      {"arp", "", {PT_PROTOCOL_ARP, AF_INET}},        // no protocol of IP: it has no number
  }};
  for (const auto& one : names)
    if (strcasecmp(text.c_str(), one.name) == 0 || (!text.empty() && text == one.number)) return one.choice;
  return usage(quoted(text) + " is not traced; tcp, udp, icmp, icmpv6 and arp are");
}

}  // namespace pathtrace
