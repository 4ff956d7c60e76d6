// SPDX-License-Identifier: GPL-2.0
#include "ruleset/legacy_text.h"

#include <fmt/format.h>

#include <bit>

#include "ruleset/legacy_options.h"

namespace pathtrace::legacy {
namespace {

// "-s 10.0.0.0/8"; nothing for any address.
std::string address_option(Data& header, const char* option, std::size_t at, std::size_t mask_at, bool ip6,
                           bool inverted) {
  const std::size_t size = ip6 ? 16 : 4;
  unsigned prefix = 0;
  bool contiguous = true;
  bool empty = true;
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint8_t byte = header.u8(mask_at + i);
    if (byte != 0 && prefix != 8 * i) contiguous = false;
    const auto ones = static_cast<unsigned>(std::countl_one(byte));
    if (ones + static_cast<unsigned>(std::countr_zero(byte)) < 8) contiguous = false;
    prefix += ones;
    if (byte != 0 || header.u8(at + i) != 0) empty = false;
  }
  if (empty && !inverted) return {};
  const std::string mask = contiguous ? fmt::format("{}", prefix) : header.address(mask_at, ip6);
  return fmt::format("{} {} {}/{}", invert(inverted), option, header.address(at, ip6), mask);
}

// "-i eth0", "-i veth+": the mask covers the terminating NUL unless the name is a prefix.
std::string interface_option(Data& header, const char* option, std::size_t at, std::size_t mask_at,
                             bool inverted) {
  constexpr std::size_t kInterfaceName = 16;
  if (header.u8(at) == 0) return {};
  std::string name;
  for (std::size_t i = 0; i < kInterfaceName; ++i) {
    if (header.u8(mask_at + i) == 0) {
      name += '+';
      break;
    }
    if (header.u8(at + i) == 0) break;
    name += static_cast<char>(header.u8(at + i));
  }
  return fmt::format("{} {} {}", invert(inverted), option, name);
}

std::string protocol_name(std::uint16_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_UDPLITE:
      return "udplite";
    case IPPROTO_SCTP:
      return "sctp";
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_ICMPV6:
      return "ipv6-icmp";
    case IPPROTO_ESP:
      return "esp";
    case IPPROTO_AH:
      return "ah";
    case IPPROTO_GRE:
      return "gre";
    default:
      return fmt::format("{}", protocol);
  }
}

std::string protocol_option(std::uint16_t protocol, bool inverted) {
  if (protocol == 0 && !inverted) return {};
  return fmt::format("{} -p {}", invert(inverted), protocol_name(protocol));
}

std::string ip_header(Data& header) {  // struct ipt_ip; IPT_INV_*
  const std::uint8_t inverted = header.u8(83);
  std::string text = address_option(header, "-s", 0, 8, false, (inverted & 0x08) != 0) +
                     address_option(header, "-d", 4, 12, false, (inverted & 0x10) != 0) +
                     interface_option(header, "-i", 16, 48, (inverted & 0x01) != 0) +
                     interface_option(header, "-o", 32, 64, (inverted & 0x02) != 0) +
                     protocol_option(header.u16(80), (inverted & 0x40) != 0);
  if ((header.u8(82) & 1) != 0) text += invert((inverted & 0x20) != 0) + " -f";
  return text;
}

std::string ip6_header(Data& header) {  // struct ip6t_ip6; IP6T_INV_*
  const std::uint8_t inverted = header.u8(132);
  return address_option(header, "-s", 0, 32, true, (inverted & 0x08) != 0) +
         address_option(header, "-d", 16, 48, true, (inverted & 0x10) != 0) +
         interface_option(header, "-i", 64, 96, (inverted & 0x01) != 0) +
         interface_option(header, "-o", 80, 112, (inverted & 0x02) != 0) +
         protocol_option(header.u16(128), (inverted & 0x40) != 0);
}

std::string arp_header(Data& header) {  // struct arpt_arp; ARPT_INV_*
  const std::uint16_t inverted = header.u16(160);
  std::string text = address_option(header, "-s", 0, 8, false, (inverted & 0x04) != 0) +
                     address_option(header, "-d", 4, 12, false, (inverted & 0x08) != 0) +
                     interface_option(header, "-i", 94, 126, (inverted & 0x01) != 0) +
                     interface_option(header, "-o", 110, 142, (inverted & 0x02) != 0);
  if (header.u16(84) != 0)
    text += fmt::format("{} --opcode {}", invert((inverted & 0x40) != 0), header.port(82));
  bool devices = false;
  for (std::size_t i = 0; i < 16; ++i) devices = devices || header.u8(34 + i) != 0 || header.u8(66 + i) != 0;
  return devices ? text + " [device addresses]" : text;
}

std::string header_text(const Table& table, const Entry& entry) {
  Data header(table.header(entry));
  return table.family == Family::ip6   ? ip6_header(header)
         : table.family == Family::arp ? arp_header(header)
                                       : ip_header(header);
}

std::string target_text(const Table& table, const Entry& entry) {
  const Target& target = entry.target;
  switch (target.kind) {
    case TargetKind::verdict:
      return target.verdict == 0 ? " -j DROP" : target.verdict == 1 ? " -j ACCEPT" : " -j QUEUE";
    case TargetKind::return_:
      return " -j RETURN";
    case TargetKind::jump:
      return " -j " + table.chain_of(table.entries[target.to]).name;
    case TargetKind::go_to:
      return " -g " + table.chain_of(table.entries[target.to]).name;
    case TargetKind::extension: {
      const auto known = target_options(table, target.extension);
      return " -j " + target.extension.name +
             known.value_or(fmt::format(" [target {}]", target.extension.name));
    }
    case TargetKind::fall_through:
    case TargetKind::error:
      break;
  }
  return {};
}

}  // namespace

std::string rule_text(const Table& table, const Entry& entry) {
  std::string text = header_text(table, entry);
  for (const Extension& match : entry.matches) {
    const auto known = match_options(table, match);
    // conntrack is also what -m state becomes, with a flag that says so.
    const bool as_state = match.name == "conntrack" && known && known->find(" --state ") != std::string::npos;
    text += known ? fmt::format(" -m {}{}", as_state ? "state" : match.name, *known)
                  : fmt::format(" [match {}]", match.name);
  }
  text += target_text(table, entry);
  return text.empty() ? text : text.substr(1);
}

}  // namespace pathtrace::legacy
