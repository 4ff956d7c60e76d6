// SPDX-License-Identifier: GPL-2.0
// Follows the save functions of libxt_*.c, libipt_*.c and libip6t_*.c of iptables 1.8. The
// structs are those of <linux/netfilter/xt_*.h>, read by offset: an extension's data comes
// from the kernel, but its size is checked before every read.
#include "ruleset/legacy_text.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <string_view>

namespace pathtrace::legacy {
namespace {

using Bytes = std::span<const std::uint8_t>;

// An extension's data, and whether all that was asked of it was there.
class Data {
 public:
  explicit Data(Bytes bytes) : bytes_(bytes) {}

  template <typename T>
  T get(std::size_t offset) {
    T value{};
    if (offset + sizeof value > bytes_.size()) {
      complete_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  std::uint8_t u8(std::size_t offset) { return get<std::uint8_t>(offset); }
  std::uint16_t u16(std::size_t offset) { return get<std::uint16_t>(offset); }
  std::uint32_t u32(std::size_t offset) { return get<std::uint32_t>(offset); }
  std::uint16_t port(std::size_t offset) { return ntohs(u16(offset)); }
  std::string string(std::size_t offset, std::size_t size) {
    std::string text;
    for (std::size_t i = offset; i < offset + size; ++i) {
      const auto c = static_cast<char>(u8(i));
      if (c == '\0') break;
      text += c;
    }
    return text;
  }
  std::string address(std::size_t offset, bool ip6) {
    std::array<std::uint8_t, 16> raw{};
    for (std::size_t i = 0; i < (ip6 ? 16U : 4U); ++i) raw.at(i) = u8(offset + i);
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(ip6 ? AF_INET6 : AF_INET, raw.data(), text.data(), text.size());
    return text.data();
  }
  [[nodiscard]] bool complete() const { return complete_; }

 private:
  Bytes bytes_;
  bool complete_ = true;
};

struct Context {
  Family family;
  std::uint8_t revision;
  [[nodiscard]] bool ip6() const { return family == Family::ip6; }
};

// The options of an extension, each with a leading blank; nullopt: not in this repertoire.
using Writer = std::optional<std::string> (*)(Data&, const Context&);

std::string invert(bool inverted) { return inverted ? " !" : ""; }

// xtables_save_string() of iptables.
std::string quoted(std::string_view text) {
  constexpr std::string_view plain = "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  if (!text.empty() && text.find_first_not_of(plain) == std::string_view::npos) return std::string(text);
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\' || c == '\'') result += '\\';
    result += c;
  }
  return result + '"';
}

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

struct Bit {
  std::uint32_t bit;
  const char* name;
};

template <std::size_t N>
std::string bits(std::uint32_t value, const std::array<Bit, N>& names) {
  std::string text;
  for (const Bit& entry : names)
    if ((value & entry.bit) != 0) text += (text.empty() ? "" : ",") + std::string(entry.name);
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

struct Known {
  std::string_view name;
  Writer writer;
};

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
constexpr auto kTargets = std::to_array<Known>({{"REJECT", reject},
                                                {"LOG", log},
                                                {"MARK", mark_target},
                                                {"DNAT", dnat},
                                                {"SNAT", snat},
                                                {"MASQUERADE", to_ports},
                                                {"REDIRECT", to_ports},
                                                {"CONNMARK", connmark_target},
                                                {"TCPMSS", tcpmss}});

template <std::size_t N>
std::optional<std::string> options(const std::array<Known, N>& known, const Table& table,
                                   const Extension& extension) {
  for (const Known& entry : known) {
    if (entry.name != extension.name) continue;
    Data data(table.data(extension));
    auto text = entry.writer(data, Context{table.family, extension.revision});
    return data.complete() ? text : std::nullopt;
  }
  // TRACE and its like: without data there are no options
  return extension.data_size == 0 ? std::optional<std::string>("") : std::nullopt;
}

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
      const auto known = options(kTargets, table, target.extension);
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
    const auto known = options(kMatches, table, match);
    // conntrack is also what -m state becomes, with a flag that says so.
    const bool as_state = match.name == "conntrack" && known && known->find(" --state ") != std::string::npos;
    text += known ? fmt::format(" -m {}{}", as_state ? "state" : match.name, *known)
                  : fmt::format(" [match {}]", match.name);
  }
  text += target_text(table, entry);
  return text.empty() ? text : text.substr(1);
}

}  // namespace pathtrace::legacy
