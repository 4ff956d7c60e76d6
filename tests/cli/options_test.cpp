// SPDX-License-Identifier: GPL-2.0
#include "cli/options.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <sstream>

#include "cli/values.h"

namespace pathtrace {
namespace {

// "-p tcp --dport 80" → arguments, split at blanks; '' is an empty argument.
std::vector<std::string> split(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word == "''" ? "" : word);
  return out;
}

Options accepted(const std::string& line) {
  const auto options = parse_options(split(line));
  EXPECT_TRUE(options) << line << ": " << (options ? "" : options.error().message);
  return options ? *options : Options{};
}

std::string words(const std::string& line) {
  const Options options = accepted(line);
  return describe(options.filter, options.netns);
}

struct Line {
  const char *line, *result;
};

TEST(Options, AcceptedFiltersInWords) {
  constexpr Line lines[] = {
      {"", "tcp,udp,icmp, all network namespaces"},
      {"--dport 80", "tcp,udp port 80, all network namespaces"},
      {"--dport=80", "tcp,udp port 80, all network namespaces"},
      {"-p tcp --dport 80", "tcp port 80, all network namespaces"},
      {"-p 17 --port 53", "udp port 53 (either end), all network namespaces"},
      {"-p TCP --dport ssh", "tcp port 22, all network namespaces"},
      {"-p tcp -s 10.0.0.9 --dport 80 -i eth0",
       "tcp port 80, from 10.0.0.9, interface eth0, all network namespaces"},
      {"-s 10.1.2.3/8 -d 192.168.0.0/16",
       "tcp,udp,icmp, from 10.0.0.0/8, to 192.168.0.0/16, all network namespaces"},
      {"--host fd00::1", "tcp,udp,icmp, host fd00::1, all network namespaces"},
      {"-d fd00:1:2::/33", "tcp,udp,icmp, to fd00:1::/33, all network namespaces"},
      {"-d 0.0.0.0/0", "tcp,udp,icmp, to 0.0.0.0/0, all network namespaces"},
      {"--sport 1024 --dport 80", "tcp,udp port 80, from port 1024, all network namespaces"},
      {"-4 --dport 80", "tcp,udp port 80, IPv4, all network namespaces"},
      {"-6", "tcp,udp,icmp, IPv6, all network namespaces"},
      {"-p icmp", "icmp, all network namespaces"},
      {"-p arp -s 10.0.0.1", "arp, from 10.0.0.1, all network namespaces"},
      {"-p icmpv6", "icmpv6, all network namespaces"},
      {"-p 58 -6 -s fd00::1", "icmpv6, from fd00::1, all network namespaces"},
      {"--netns web --port 80", "tcp,udp port 80 (either end), network namespace web"},
      {"--all-packets -i lo", "tcp,udp,icmp, interface lo, all packets, all network namespaces"},
      {"-i abcdefghijklmno", "tcp,udp,icmp, interface abcdefghijklmno, all network namespaces"},
  };
  for (const auto& [line, result] : lines) EXPECT_EQ(words(line), result) << line;
}

TEST(Options, TheFilterIsWhatTheKernelSideReads) {
  const pt_filter filter = accepted("-p icmpv6 -s fd00:1:2:3::1/40").filter;
  EXPECT_EQ(filter.protocol, IPPROTO_ICMP);
  EXPECT_EQ(filter.family, AF_INET6);
  EXPECT_EQ(filter.src.family, AF_INET6);
  EXPECT_EQ(filter.src.mask[4], 0xff);
  EXPECT_EQ(filter.src.mask[5], 0);
  EXPECT_EQ(filter.src.addr[5], 0);
  EXPECT_EQ(filter.dst.family, 0);
  const pt_filter v4 = accepted("-s 10.255.0.0/9").filter;
  EXPECT_EQ(v4.family, AF_INET);
  EXPECT_EQ(v4.src.addr[1], 0x80);
  EXPECT_EQ(v4.src.mask[1], 0x80);
  EXPECT_EQ(v4.src.mask[4], 0);
  EXPECT_EQ(accepted("-p icmp").filter.family, AF_INET);
}

TEST(Options, Values) {
  EXPECT_TRUE(accepted("--json").json);
  EXPECT_EQ(accepted("-w t.jsonl").write_file, "t.jsonl");
  EXPECT_FALSE(accepted("-w t.jsonl").json);
  EXPECT_EQ(accepted("-r -").read_file, "-");
  EXPECT_EQ(accepted("-c 3").count, 3U);
  EXPECT_EQ(accepted("--duration 30").duration, 30.0);
  EXPECT_EQ(accepted("--duration 30s").duration, 30.0);
  EXPECT_EQ(accepted("--duration 5m").duration, 300.0);
  EXPECT_EQ(accepted("--duration 1.5h").duration, 5400.0);
  EXPECT_EQ(accepted("--duration .5").duration, 0.5);
  EXPECT_EQ(accepted("--ready-fd 3").ready_fd, 3);
  EXPECT_EQ(accepted("-vv").verbosity, 2);
  EXPECT_EQ(accepted("-v --verbose -v").verbosity, 3);
  EXPECT_TRUE(accepted("-q").quiet);
  EXPECT_EQ(accepted("--netns self").netns, "self");
  EXPECT_EQ(accepted("").trace_key, TraceKeyUse::if_safe);
  EXPECT_EQ(accepted("--trace-key").trace_key, TraceKeyUse::always);
  EXPECT_EQ(accepted("--no-trace-key").trace_key, TraceKeyUse::never);
  EXPECT_EQ(accepted("").max_rules, 16384U);
  EXPECT_EQ(accepted("--max-rules 10").max_rules, 10U);
  EXPECT_EQ(accepted("").buffer_bytes, 8U << 20);
  EXPECT_EQ(accepted("--buffer 512k").buffer_bytes, 512U << 10);
  EXPECT_EQ(accepted("--buffer 1G").buffer_bytes, 1U << 30);
  EXPECT_EQ(accepted("--buffer 100000").buffer_bytes, 128U << 10);
  EXPECT_TRUE(accepted("-h --dprot 80").help);
  EXPECT_TRUE(accepted("-V").version);
}

TEST(Options, ADashAsOutputFileMeansJson) {
  const Options options = accepted("-w -");
  EXPECT_TRUE(options.json);
  EXPECT_FALSE(options.write_file);
}

TEST(Options, WhatFollowsTwoDashesIsTheCommandsOwn) {
  const Options options = accepted("--dport 80 -- curl -4 --json -- x");
  EXPECT_EQ(options.command, split("curl -4 --json -- x"));
  EXPECT_FALSE(options.json);
  EXPECT_EQ(options.filter.family, 0);
}

TEST(Options, RefusedWithTheReason) {
  constexpr Line lines[] = {
      {"--dport 0", "--dport: port 0 does not exist; ports are 1 to 65535"},
      {"--dport 65536", "--dport: port 65536 does not exist; ports are 1 to 65535"},
      {"--sport 80:90",
       "--sport: '80:90' is a range or list; one port can be traced, or all without this option"},
      {"--port 80,443",
       "--port: '80,443' is a range or list; one port can be traced, or all without this option"},
      {"--port 80-90",
       "--port: '80-90' is a range or list; one port can be traced, or all without this option"},
      {"--dport htpt", "--dport: 'htpt' is neither a port number nor a service in /etc/services"},
      {"-p udp --dport tcpmux",
       "--dport: 'tcpmux' is neither a port number nor a udp service in /etc/services"},
      {"--dport ''", "--dport: '' is neither a port number nor a service in /etc/services"},
      {"-s db.example",
       "--src: 'db.example' is not an address or prefix such as 10.0.0.9, 10.0.0.0/8 or fd00::1; names are "
       "not "
       "looked up, use numbers"},
      {"-d 10.0.0.1:80",
       "--dst: '10.0.0.1:80' is not an address or prefix such as 10.0.0.9, 10.0.0.0/8 or fd00::1; names are "
       "not "
       "looked up, use numbers"},
      {"-s 10.0.0.0/33", "--src: '10.0.0.0/33': the prefix length is a number from 0 to 32"},
      {"--host fd00::/", "--host: 'fd00::/': the prefix length is a number from 0 to 128"},
      {"-4 -s fd00::1", "--ipv4 is IPv4 and --src fd00::1 is IPv6: no packet is both"},
      {"-6 --host 10.0.0.1", "--ipv6 is IPv6 and --host 10.0.0.1 is IPv4: no packet is both"},
      {"-s 10.0.0.1 -d fd00::1", "--src 10.0.0.1 is IPv4 and --dst fd00::1 is IPv6: no packet is both"},
      {"-p icmp -6", "--ipv6 is IPv6 and -p icmp is IPv4: no packet is both"},
      {"-p icmpv6 -d 10.0.0.1", "-p icmpv6 is IPv6 and --dst 10.0.0.1 is IPv4: no packet is both"},
      {"-4 -6", "--ipv4 and --ipv6 don't go together: without them both are traced"},
      {"-p icmp --dport 80", "--dport has no meaning with -p icmp: it has no ports"},
      {"-p arp --dport 80", "--dport has no meaning with -p arp: it has no ports"},
      {"-p arp -6", "--ipv6 is IPv6 and -p arp is IPv4: no packet is both"},
      {"-p sctp", "--proto: 'sctp' is not traced; tcp, udp, icmp, icmpv6 and arp are"},
      {"-p 132", "--proto: '132' is not traced; tcp, udp, icmp, icmpv6 and arp are"},
      {"--port 80 --dport 80", "--port and --dport don't go together: --port is either end's port"},
      {"--host 10.0.0.1 -s 10.0.0.2", "--host and --src don't go together: --host is either end's address"},
      {"-i eth+", "--interface: 'eth+': a pattern can't be used here; give the name of one interface"},
      {"-i abcdefghijklmnop",
       "--interface: 'abcdefghijklmnop' is longer than the 15 characters an interface's name can have"},
      {"-i a/b", "--interface: 'a/b' can't be the name of an interface"},
      {"-q -v", "--quiet and --verbose don't go together: one asks for less, the other for more"},
      {"-r f --netns web", "--read and --netns don't go together: a kept trace is not read from a namespace"},
      {"-r f --duration 5", "--read and --duration don't go together: a kept trace ends with its file"},
      {"-r f -- curl", "--read and a command don't go together: a kept trace needs no traffic"},
      {"-r f -w f", "--read and --write name the same file, which would be lost"},
      {"-w ''", "--write: the value is empty"},
      {"-c 0", "--count: '0' is not a whole number of at least 1"},
      {"-c 3x", "--count: '3x' is not a whole number of at least 1"},
      {"--duration 0", "--duration: '0' is not a time such as 30, 30s, 5m or 1h"},
      {"--duration inf", "--duration: 'inf' is not a time such as 30, 30s, 5m or 1h"},
      {"--duration 5d", "--duration: '5d' is not a time such as 30, 30s, 5m or 1h"},
      {"--duration ''", "--duration: '' is not a time such as 30, 30s, 5m or 1h"},
      {"--ready-fd x", "--ready-fd: 'x' is not a whole number from 0 to 2147483647"},
      {"--max-rules 0", "--max-rules: '0' is not a whole number from 1 to 65536"},
      {"--buffer 63K", "--buffer: '63K' is not a size from 64K to 1G, such as 512K, 8M or 1G"},
      {"--buffer 2G", "--buffer: '2G' is not a size from 64K to 1G, such as 512K, 8M or 1G"},
      {"--buffer M", "--buffer: 'M' is not a size from 64K to 1G, such as 512K, 8M or 1G"},
      {"--dport 80 --dport 81", "--dport was given 2 times; once is enough"},
      {"--dport", "--dport needs a value; see pathtrace --help"},
      {"-s", "--src needs a value; see pathtrace --help"},
      {"--json=false", "--json takes no value; see pathtrace --help"},
      {"--quiet=0", "--quiet takes no value; see pathtrace --help"},
      {"--dprot 80", "unknown option --dprot; did you mean --dport?"},
      {"--dprot=80", "unknown option --dprot; did you mean --dport?"},
      {"--protocol tcp", "unknown option --protocol; did you mean --proto?"},
      {"--destination-port 80", "unknown option --destination-port; did you mean --dport?"},
      {"--source 10.0.0.1", "unknown option --source; did you mean --src?"},
      {"-o eth0", "unknown option -o; did you mean --interface?"},
      {"--frobnicate", "unknown option --frobnicate; see pathtrace --help"},
      {"-x", "unknown option -x; see pathtrace --help"},
      {"! -s 10.0.0.1", "'!' is not supported: a filter can't be negated"},
      {"--dport 80 curl",
       "'curl' is not an option; a command to run goes after --, as in: pathtrace --dport 80 -- curl"},
      {"--dport 80 --", "no command after --; name one, or leave -- out"},
  };
  for (const auto& [line, result] : lines) {
    const auto options = parse_options(split(line));
    ASSERT_FALSE(options) << line;
    EXPECT_EQ(options.error().message, result) << line;
    EXPECT_EQ(options.error().status, ExitStatus::usage) << line;
  }
}

TEST(Options, TheHelpNamesEveryOptionAndFitsATerminal) {
  const std::string help = help_text();
  for (const auto name : option_names()) EXPECT_NE(help.find(name), std::string::npos) << name;
  std::istringstream in(help);
  int lines = 0;
  for (std::string line; std::getline(in, line); ++lines) EXPECT_LE(line.size(), 80U) << line;
  EXPECT_LE(lines, 48);
}

}  // namespace
}  // namespace pathtrace
