// SPDX-License-Identifier: GPL-2.0
#include "ruleset/nft_elements.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace pathtrace::nft {
namespace {

std::size_t padded(std::size_t length) { return (length + 3) / 4 * 4; }

bool has_ports(const pt_event& packet) {
  return (packet.flow.protocol == IPPROTO_TCP || packet.flow.protocol == IPPROTO_UDP) &&
         (packet.flags & PT_FLAG_FRAGMENT) == 0;
}

std::string port_bytes(std::uint16_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 0xff)};
}

// The bytes a rule loads from this packet; "" if that is not known.
std::string bytes_of(const KeyPart& part, const pt_event& packet) {
  const pt_flow& flow = packet.flow;
  const auto address = [&](const std::uint8_t* bytes) {
    if (flow.family != part.family) return std::string();
    return std::string(reinterpret_cast<const char*>(bytes), part.length);
  };
  switch (part.field) {
    case Field::saddr:
      return address(flow.saddr);
    case Field::daddr:
      return address(flow.daddr);
    case Field::sport:
      return has_ports(packet) ? port_bytes(flow.sport) : "";
    case Field::dport:
      return has_ports(packet) ? port_bytes(flow.dport) : "";
    case Field::protocol:
      return {static_cast<char>(flow.protocol)};
  }
  return "";
}

// As many parts as make the set's key.
std::optional<Lookup> used_part(const Lookup& lookup, const Set& set) {
  Lookup used{lookup.set, {}};
  std::size_t length = 0;
  for (const KeyPart& part : lookup.key) {
    if (length >= set.key_length) break;
    length += part.length;
    used.key.push_back(part);
    if (length < set.key_length) length = padded(length);
  }
  return length == set.key_length || padded(length) == set.key_length ? std::optional(used) : std::nullopt;
}

// The whole key, each part padded as in the registers; a key of one part is not padded.
std::string key_of(const Lookup& lookup, const pt_event& packet) {
  std::string key;
  for (const KeyPart& part : lookup.key) {
    const std::string bytes = bytes_of(part, packet);
    if (bytes.empty()) return {};
    key += bytes;
    if (lookup.key.size() > 1) key.resize(padded(key.size()), '\0');
  }
  return key;
}

std::string number_text(std::string_view bytes) {
  unsigned number = 0;
  for (const char byte : bytes) number = number << 8 | static_cast<unsigned char>(byte);
  return std::to_string(number);
}

std::string protocol_text(std::string_view byte) {
  switch (static_cast<unsigned char>(byte.front())) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_ICMPV6:
      return "ipv6-icmp";
    default:
      return number_text(byte);
  }
}

std::string one_text(const KeyPart& part, std::string_view bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (part.field) {
    case Field::saddr:
    case Field::daddr:
      ::inet_ntop(part.family, bytes.data(), text.data(), text.size());
      return text.data();
    case Field::protocol:
      return protocol_text(bytes);
    case Field::sport:
    case Field::dport:
      break;
  }
  return number_text(bytes);
}

// The length of the prefix that holds exactly first..last; nullopt if none does.
std::optional<std::size_t> prefix_length(std::string_view first, std::string_view last) {
  const std::size_t bits = first.size() * 8;
  const auto bit = [](std::string_view bytes, std::size_t i) {
    return (static_cast<unsigned char>(bytes[i / 8]) >> (7 - i % 8) & 1U) != 0;
  };
  std::size_t length = 0;
  while (length < bits && bit(first, length) == bit(last, length)) ++length;
  for (std::size_t i = length; i < bits; ++i)
    if (bit(first, i) || !bit(last, i)) return std::nullopt;
  return length;
}

std::string range_text(const KeyPart& part, std::string_view first, std::string_view last) {
  if (first == last) return one_text(part, first);
  const bool address = part.field == Field::saddr || part.field == Field::daddr;
  if (address)
    if (const auto length = prefix_length(first, last))
      return fmt::format("{}/{}", one_text(part, first), *length);
  return one_text(part, first) + "-" + one_text(part, last);
}

std::string text_of(const Lookup& lookup, std::string_view first, std::string_view last) {
  std::string text;
  for (const KeyPart& part : lookup.key) {
    if (!text.empty()) text += " . ";
    text += range_text(part, first.substr(0, part.length), last.substr(0, part.length));
    const std::size_t step = std::min(padded(part.length), first.size());
    first.remove_prefix(step);
    last.remove_prefix(step);
  }
  return text;
}

// Of a concatenation, each part is a range of its own.
bool holds(const Lookup& lookup, std::string_view first, std::string_view last, std::string_view key) {
  if (first.size() != key.size() || last.size() != key.size()) return false;
  std::size_t at = 0;
  for (const KeyPart& part : lookup.key) {
    const std::string_view value = key.substr(at, part.length);
    if (value < first.substr(at, part.length) || value > last.substr(at, part.length)) return false;
    at += padded(part.length);
  }
  return true;
}

std::optional<std::string> in_elements(const Lookup& lookup, const Set& set, std::string_view key) {
  for (const Element& element : set.elements) {
    const std::string& last = element.key_end.empty() ? element.key : element.key_end;
    if (!element.catch_all && !element.ends && holds(lookup, element.key, last, key))
      return text_of(lookup, element.key, last);
  }
  return std::nullopt;
}

// The key before, of bytes that are a number.
std::string before(std::string key) {
  for (std::size_t i = key.size(); i-- > 0;)
    if (key[i]-- != '\0') break;
  return key;
}

// An interval is told by its first key and by the first one behind it, which may be another's first, and is
// missing where the interval goes up to the largest key.
std::optional<std::string> in_intervals(const Lookup& lookup, const Set& set, std::string_view key) {
  const Element* first = nullptr;
  const Element* behind = nullptr;
  for (const Element& element : set.elements) {
    if (element.catch_all || element.key.size() != key.size()) continue;
    if (std::string_view(element.key) <= key) {
      // an end and a beginning at the same key: the beginning counts
      if (first == nullptr || element.key > first->key || (element.key == first->key && first->ends))
        first = &element;
    } else if (behind == nullptr || element.key < behind->key) {
      behind = &element;
    }
  }
  if (first == nullptr || first->ends) return std::nullopt;
  const std::string last = behind == nullptr ? std::string(key.size(), '\xff') : before(behind->key);
  return text_of(lookup, first->key, last);
}

bool has_catch_all(const Set& set) {
  return std::any_of(set.elements.begin(), set.elements.end(), [](const Element& e) { return e.catch_all; });
}

}  // namespace

std::optional<std::string> find_element(const Lookup& lookup, const Set& set, const pt_event& packet) {
  if (set.changes || !set.whole) return std::nullopt;
  if ((packet.flags & PT_FLAG_ICMP_ERROR) != 0) return std::nullopt;  // the flow is another packet's
  const auto used = used_part(lookup, set);
  const std::string key = used ? key_of(*used, packet) : "";
  if (key.empty()) return std::nullopt;
  const bool by_ends = std::none_of(set.elements.begin(), set.elements.end(),
                                    [](const Element& e) { return !e.key_end.empty(); });
  const bool intervals = set.interval && used->key.size() == 1 && by_ends;
  auto element = intervals ? in_intervals(*used, set, key) : in_elements(*used, set, key);
  if (!element && has_catch_all(set)) element = "*";
  return element;
}

}  // namespace pathtrace::nft
