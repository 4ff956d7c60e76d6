// SPDX-License-Identifier: GPL-2.0
// The options of targets, see legacy_options.h.
#include <fmt/format.h>

#include "ruleset/legacy_options.h"

namespace pathtrace::legacy {
namespace {

// xt_connmark_tginfo1; the second revision has a shift before the mode.
std::optional<std::string> connmark_target(Data& data, const Context& context) {
  static constexpr std::array modes{"--set-xmark", "--save-mark", "--restore-mark"};
  const bool shifted = context.revision == 2 && data.u8(13) != 0;
  if (context.revision < 1 || context.revision > 2 || shifted) return std::nullopt;
  const std::uint8_t mode = data.u8(context.revision == 1 ? 12 : 14);
  if (mode >= modes.size()) return std::nullopt;
  if (mode == 0) return fmt::format(" --set-xmark {:#x}/{:#x}", data.u32(0), data.u32(4));
  return fmt::format(" {} --nfmask {:#x} --ctmask {:#x}", modes.at(mode), data.u32(8), data.u32(4));
}

std::optional<std::string> reject(Data& data, const Context& context) {
  static constexpr std::array ip{
      "icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable", "icmp-port-unreachable",
      "echo-reply",           "icmp-net-prohibited",   "icmp-host-prohibited",   "tcp-reset",
      "icmp-admin-prohibited"};
  static constexpr std::array ip6{
      "icmp6-no-route",         "icmp6-adm-prohibited", "icmp6-not-neighbour", "icmp6-addr-unreachable",
      "icmp6-port-unreachable", "icmp6-echo-reply",     "tcp-reset",           "icmp6-policy-fail",
      "icmp6-reject-route"};
  const std::uint32_t with = data.u32(0);
  if (with >= ip.size()) return std::nullopt;
  return fmt::format(" --reject-with {}", context.ip6() ? ip6.at(with) : ip.at(with));
}

std::optional<std::string> log(Data& data, const Context&) {  // struct ipt_log_info
  static constexpr std::array<Bit, 5> flags{{{1, "--log-tcp-sequence"},
                                             {2, "--log-tcp-options"},
                                             {4, "--log-ip-options"},
                                             {8, "--log-uid"},
                                             {0x20, "--log-macdecode"}}};
  std::string text;
  if (const std::string prefix = data.string(2, 30); !prefix.empty())
    text += " --log-prefix " + quoted(prefix);
  if (data.u8(0) != 4) text += fmt::format(" --log-level {}", data.u8(0));
  for (const Bit& flag : flags)
    if ((data.u8(1) & flag.bit) != 0) text += std::string(" ") + flag.name;
  return text;
}

std::optional<std::string> mark_target(Data& data, const Context& context) {  // xt_mark_tginfo2
  if (context.revision != 2) return std::nullopt;
  return fmt::format(" --set-xmark {:#x}/{:#x}", data.u32(0), data.u32(4));
}

std::optional<std::string> tcpmss(Data& data, const Context&) {
  if (data.u16(0) == 0xffff) return " --clamp-mss-to-pmtu";
  return fmt::format(" --set-mss {}", data.u16(0));
}

// struct nf_nat_range(2), or for IPv4's first revision nf_nat_ipv4_multi_range_compat.
struct NatRange {
  std::uint32_t flags;  // NF_NAT_RANGE_*
  std::string low, high;
  std::uint16_t low_port, high_port;
};

NatRange nat_range(Data& data, bool ip6, bool compat) {
  if (compat)
    return {data.u32(4), data.address(8, false), data.address(12, false), data.port(16), data.port(18)};
  return {data.u32(0), data.address(4, ip6), data.address(20, ip6), data.port(36), data.port(38)};
}

std::string nat_flags(std::uint32_t flags) {
  std::string text;
  if ((flags & 4) != 0) text += " --random";
  if ((flags & 16) != 0) text += " --random-fully";
  if ((flags & 8) != 0) text += " --persistent";
  return text;
}

std::string nat_ports(const NatRange& range) {
  return range.low_port == range.high_port ? fmt::format("{}", range.low_port)
                                           : fmt::format("{}-{}", range.low_port, range.high_port);
}

std::string nat_to(const char* option, const NatRange& range, bool ip6) {
  std::string to;
  const bool ports = (range.flags & 2) != 0;
  if ((range.flags & 1) != 0) {
    to = range.low + (range.low == range.high ? "" : "-" + range.high);
    if (ip6 && ports) to = "[" + to + "]";
  }
  if (ports) to += ":" + nat_ports(range);
  return fmt::format(" {} {}", option, to) + nat_flags(range.flags);
}

std::optional<std::string> dnat(Data& data, const Context& context) {
  if (context.revision > 2) return std::nullopt;
  const bool compat = !context.ip6() && context.revision == 0;
  return nat_to("--to-destination", nat_range(data, context.ip6(), compat), context.ip6());
}

std::optional<std::string> snat(Data& data, const Context& context) {
  if (context.revision > 2) return std::nullopt;
  const bool compat = !context.ip6() && context.revision == 0;
  return nat_to("--to-source", nat_range(data, context.ip6(), compat), context.ip6());
}

// MASQUERADE and REDIRECT
std::optional<std::string> to_ports(Data& data, const Context& context) {
  if (context.revision != 0) return std::nullopt;
  const NatRange range = nat_range(data, context.ip6(), !context.ip6());
  return ((range.flags & 2) != 0 ? " --to-ports " + nat_ports(range) : std::string{}) +
         nat_flags(range.flags);
}

constexpr auto kTargets = std::to_array<Known>({{"REJECT", reject},
                                                {"LOG", log},
                                                {"MARK", mark_target},
                                                {"DNAT", dnat},
                                                {"SNAT", snat},
                                                {"MASQUERADE", to_ports},
                                                {"REDIRECT", to_ports},
                                                {"CONNMARK", connmark_target},
                                                {"TCPMSS", tcpmss}});

}  // namespace

std::optional<std::string> target_options(const Table& table, const Extension& target) {
  return options_of(kTargets, table, target);
}

}  // namespace pathtrace::legacy
