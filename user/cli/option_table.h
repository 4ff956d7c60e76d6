// SPDX-License-Identifier: GPL-2.0
// Every option once: the parser, the help and the tests of the man page and the completion read
// this table.
#pragma once

#include <array>

namespace pathtrace {

enum class OptionGroup { filter, output, control };

struct OptionSpec {
  const char* names;  // "-s,--src": the last is the one that messages use
  const char* value;  // what stands for its value in the help; nullptr = a flag
  OptionGroup group;
  const char* help;
};

inline constexpr auto option_table = std::to_array<OptionSpec>({
    {"-p,--proto", "PROTO", OptionGroup::filter, "tcp, udp, icmp, icmpv6 or arp"},
    {"-s,--src", "ADDR[/LEN]", OptionGroup::filter, "the source, or of replies the destination"},
    {"-d,--dst", "ADDR[/LEN]", OptionGroup::filter, "the destination, or of replies the source"},
    {"--host", "ADDR[/LEN]", OptionGroup::filter, "either end's address"},
    {"--sport", "PORT", OptionGroup::filter, "the source port, likewise"},
    {"--dport", "PORT", OptionGroup::filter, "the destination port, likewise"},
    {"--port", "PORT", OptionGroup::filter, "either end's port"},
    {"-i,--interface", "NAME", OptionGroup::filter, "in or out through this interface"},
    {"--netns", "NS", OptionGroup::filter, "one network namespace: name, pid, path or self"},
    {"-4,--ipv4", nullptr, OptionGroup::filter, "IPv4 only"},
    {"-6,--ipv6", nullptr, OptionGroup::filter, "IPv6 only"},
    {"--all-packets", nullptr, OptionGroup::filter, "bulk data of a connection, too, packet by packet"},
    {"--json", nullptr, OptionGroup::output, "JSON Lines instead of text"},
    {"-w,--write", "FILE", OptionGroup::output, "keep the trace in FILE as well (-: --json)"},
    {"-r,--read", "FILE", OptionGroup::output, "show a kept trace, as any user (-: stdin)"},
    {"-n,--numeric", nullptr, OptionGroup::output, "addresses and ports as numbers, as they always are"},
    {"-q,--quiet", nullptr, OptionGroup::output, "no notices on stderr, errors only"},
    {"-v,--verbose", nullptr, OptionGroup::output, "more details on stderr"},
    {"-c,--count", "N", OptionGroup::control, "end after N connections"},
    {"--duration", "TIME", OptionGroup::control, "end after 30, 30s, 5m or 1h"},
    {"--ready-fd", "FD", OptionGroup::control, "write \"ready\" to FD when tracing has begun"},
    {"--trace-key", nullptr, OptionGroup::control, "nftables' tracing even if it may cause a warning"},
    {"--no-trace-key", nullptr, OptionGroup::control, "leave it off: only nftables rules with a verdict"},
    {"--no-fentry", nullptr, OptionGroup::control, "attach by kprobes, which cost more"},
    {"--max-rules", "N", OptionGroup::control, "rules of an iptables table (16384; up to 65536)"},
    {"--buffer", "SIZE", OptionGroup::control, "room for events that wait to be read (8M)"},
    {"-V,--version", nullptr, OptionGroup::control, "print the version and end"},
    {"-h,--help", nullptr, OptionGroup::control, "print this and end"},
});

}  // namespace pathtrace
