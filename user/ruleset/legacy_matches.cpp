// SPDX-License-Identifier: GPL-2.0
// The options of matches: libxt_*.c, libipt_*.c and libip6t_*.c, see legacy_options.h.
#include <fmt/format.h>

#include "ruleset/legacy_options.h"

namespace pathtrace::legacy {
namespace {

std::string port_range(std::uint16_t low, std::uint16_t high) {
  return low == high ? fmt::format("{}", low) : fmt::format("{}:{}", low, high);
}

std::string port_option(std::string_view option, std::uint16_t low, std::uint16_t high, bool inverted) {
  if (low == 0 && high == 0xffff && !inverted) return {};
  return fmt::format("{} {} {}", invert(inverted), option, port_range(low, high));
}

std::string tcp_flags(std::uint8_t flags) {
  static constexpr std::array names{"FIN", "SYN", "RST", "PSH", "ACK", "URG"};
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    if ((flags & (1U << i)) != 0) text += (text.empty() ? "" : ",") + std::string(names.at(i));
  return text.empty() ? "NONE" : text;
}

std::optional<std::string> tcp(Data& data, const Context&) {  // struct xt_tcp
  const std::uint8_t inverted = data.u8(11);
  std::string text = port_option("--sport", data.u16(0), data.u16(2), (inverted & 1) != 0) +
                     port_option("--dport", data.u16(4), data.u16(6), (inverted & 2) != 0);
  if (const std::uint8_t option = data.u8(8); option != 0 || (inverted & 8) != 0)
    text += fmt::format("{} --tcp-option {}", invert((inverted & 8) != 0), option);
  if (const std::uint8_t mask = data.u8(9); mask != 0 || (inverted & 4) != 0)
    text += fmt::format("{} --tcp-flags {} {}", invert((inverted & 4) != 0), tcp_flags(mask),
                        tcp_flags(data.u8(10)));
  return text;
}

std::optional<std::string> udp(Data& data, const Context&) {  // struct xt_udp
  const std::uint8_t inverted = data.u8(8);
  return port_option("--sport", data.u16(0), data.u16(2), (inverted & 1) != 0) +
         port_option("--dport", data.u16(4), data.u16(6), (inverted & 2) != 0);
}

std::optional<std::string> multiport(Data& data, const Context& context) {  // xt_multiport_v1
  static constexpr std::array options{"--sports", "--dports", "--ports"};
  const std::uint8_t kind = data.u8(0);
  const std::uint8_t count = data.u8(1);
  if (context.revision != 1 || kind >= options.size() || count > 15) return std::nullopt;
  std::string text = fmt::format("{} {} ", invert(data.u8(47) != 0), options.at(kind));
  for (std::uint8_t i = 0; i < count; ++i) {
    const bool range_ends = i > 0 && data.u8(32U + i - 1U) != 0;  // pflags: the next one ends a range
    if (i > 0) text += range_ends ? ':' : ',';
    text += fmt::format("{}", data.u16(2U + 2U * i));
  }
  return text;
}

constexpr std::array<Bit, 7> kCtStates{{{1, "INVALID"},
                                        {8, "NEW"},
                                        {4, "RELATED"},
                                        {2, "ESTABLISHED"},
                                        {256, "UNTRACKED"},
                                        {64, "SNAT"},
                                        {128, "DNAT"}}};
constexpr std::array<Bit, 5> kStates{
    {{1, "INVALID"}, {8, "NEW"}, {4, "RELATED"}, {2, "ESTABLISHED"}, {64, "UNTRACKED"}}};

std::optional<std::string> conntrack(Data& data, const Context& context) {  // xt_conntrack_mtinfo2, 3
  constexpr std::uint16_t only_state = 1;                                   // XT_CONNTRACK_STATE
  if (context.revision < 2 || context.revision > 3) return std::nullopt;
  const bool alias = (data.u16(146) & 0x2000) != 0;  // XT_CONNTRACK_STATE_ALIAS: typed as -m state
  if ((data.u16(146) & ~0x2000) != only_state) return std::nullopt;
  return fmt::format("{} {} {}", invert((data.u16(148) & 1) != 0), alias ? "--state" : "--ctstate",
                     bits(data.u16(150), kCtStates));
}

std::optional<std::string> state(Data& data, const Context&) {  // struct xt_state_info
  return " --state " + bits(data.u32(0), kStates);
}

std::optional<std::string> comment_option(Data& data, const Context&) {
  return " --comment " + quoted(data.string(0, 256));
}

std::optional<std::string> mark(Data& data, const Context& context) {  // xt_mark_mtinfo1
  if (context.revision != 1) return std::nullopt;
  std::string text = fmt::format("{} --mark {:#x}", invert(data.u8(8) != 0), data.u32(0));
  if (data.u32(4) != 0xffffffff) text += fmt::format("/{:#x}", data.u32(4));
  return text;
}

std::optional<std::string> icmp(Data& data, const Context& context) {  // struct ipt_icmp, ip6t_icmp
  const char* option = context.ip6() ? "--icmpv6-type" : "--icmp-type";
  const std::string inverted = invert((data.u8(3) & 1) != 0);
  if (!context.ip6() && data.u8(0) == 0xff) return fmt::format("{} {} any", inverted, option);
  std::string text = fmt::format("{} {} {}", inverted, option, data.u8(0));
  if (data.u8(1) != 0 || data.u8(2) != 0xff) text += fmt::format("/{}", data.u8(1));
  return text;
}

std::optional<std::string> limit(Data& data, const Context&) {  // struct xt_rateinfo
  struct Unit {
    const char* name;
    std::uint32_t scale;  // XT_LIMIT_SCALE a second
  };
  static constexpr std::array<Unit, 4> units{
      {{"day", 864'000'000}, {"hour", 36'000'000}, {"min", 600'000}, {"sec", 10'000}}};
  const std::uint32_t period = data.u32(0);
  if (period == 0) return std::nullopt;
  std::size_t unit = 1;
  while (unit < units.size() && period <= units.at(unit).scale &&
         units.at(unit).scale / period >= units.at(unit).scale % period)
    ++unit;
  std::string text =
      fmt::format(" --limit {}/{}", units.at(unit - 1).scale / period, units.at(unit - 1).name);
  if (data.u32(4) != 5) text += fmt::format(" --limit-burst {}", data.u32(4));
  return text;
}

std::optional<std::string> addrtype(Data& data, const Context& context) {  // xt_addrtype_info_v1
  static constexpr std::array<Bit, 12> types{{{1, "UNSPEC"},
                                              {2, "UNICAST"},
                                              {4, "LOCAL"},
                                              {8, "BROADCAST"},
                                              {16, "ANYCAST"},
                                              {32, "MULTICAST"},
                                              {64, "BLACKHOLE"},
                                              {128, "UNREACHABLE"},
                                              {256, "PROHIBIT"},
                                              {512, "THROW"},
                                              {1024, "NAT"},
                                              {2048, "XRESOLVE"}}};
  if (context.revision != 1) return std::nullopt;
  const std::uint32_t flags = data.u32(4);
  std::string text;
  if (data.u16(0) != 0)
    text += fmt::format("{} --src-type {}", invert((flags & 1) != 0), bits(data.u16(0), types));
  if (data.u16(2) != 0)
    text += fmt::format("{} --dst-type {}", invert((flags & 2) != 0), bits(data.u16(2), types));
  if ((flags & 4) != 0) text += " --limit-iface-in";
  if ((flags & 8) != 0) text += " --limit-iface-out";
  return text;
}

std::optional<std::string> owner(Data& data, const Context& context) {  // xt_owner_match_info
  if (context.revision != 1) return std::nullopt;
  const std::uint8_t match = data.u8(16);
  const std::uint8_t inverted = data.u8(17);
  const auto range = [&](std::size_t at) {
    return data.u32(at) == data.u32(at + 4) ? fmt::format("{}", data.u32(at))
                                            : fmt::format("{}-{}", data.u32(at), data.u32(at + 4));
  };
  std::string text;
  if ((match & 1) != 0) text += invert((inverted & 1) != 0) + " --uid-owner " + range(0);
  if ((match & 2) != 0) text += invert((inverted & 2) != 0) + " --gid-owner " + range(8);
  if ((match & 4) != 0) text += invert((inverted & 4) != 0) + " --socket-exists";
  return text;
}

// struct xt_set_info. The kernel gives the set's index; its name needs another question to it.
std::optional<std::string> set(Data& data, const Context&) {
  const std::uint8_t dimensions = data.u8(2);
  const std::uint8_t flags = data.u8(3);
  if (dimensions == 0 || dimensions > 6) return std::nullopt;
  std::string text = fmt::format("{} --match-set [set {}] ", invert((flags & 1) != 0), data.u16(0));
  for (unsigned i = 1; i <= dimensions; ++i) {
    if (i > 1) text += ',';
    text += (flags & (1U << i)) != 0 ? "src" : "dst";
  }
  return text;
}

std::optional<std::string> statistic(Data& data, const Context&) {  // struct xt_statistic_info
  const std::string inverted = invert((data.u16(2) & 1) != 0);
  if (data.u16(0) == 0) {
    const double probability = static_cast<double>(data.u32(4)) / 0x80000000U;
    return fmt::format(" --mode random{} --probability {:.11f}", inverted, probability);
  }
  return fmt::format(" --mode nth{} --every {} --packet {}", inverted, std::uint64_t{data.u32(4)} + 1,
                     data.u32(8));
}

std::optional<std::string> rpfilter(Data& data, const Context&) {  // struct xt_rpfilter_info
  static constexpr std::array<Bit, 4> flags{
      {{1, "--loose"}, {2, "--validmark"}, {4, "--accept-local"}, {8, "--invert"}}};
  std::string text;
  for (const Bit& flag : flags)
    if ((data.u8(0) & flag.bit) != 0) text += std::string(" ") + flag.name;
  return text;
}

constexpr auto kMatches = std::to_array<Known>({{"tcp", tcp},
                                                {"udp", udp},
                                                {"udplite", udp},
                                                {"multiport", multiport},
                                                {"conntrack", conntrack},
                                                {"state", state},
                                                {"comment", comment_option},
                                                {"mark", mark},
                                                {"connmark", mark},
                                                {"icmp", icmp},
                                                {"icmp6", icmp},
                                                {"limit", limit},
                                                {"addrtype", addrtype},
                                                {"owner", owner},
                                                {"set", set},
                                                {"rpfilter", rpfilter},
                                                {"statistic", statistic}});

}  // namespace

std::optional<std::string> match_options(const Table& table, const Extension& match) {
  return options_of(kMatches, table, match);
}

}  // namespace pathtrace::legacy
