// SPDX-License-Identifier: GPL-2.0
#include "socket/listeners.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "kernel/netns.h"
#include "socket/ask_socket.h"
#include "socket/proc_net.h"
#include "socket/sock_diag.h"
#include "support/fd.h"

namespace pathtrace {
namespace {

// A bound socket of this process; TCP ones listen, with room for 7.
struct Bound {
  Fd fd;
  std::uint16_t port = 0;
};

Bound bind_socket(int type, int family, bool v6only = false) {
  Bound out{Fd(socket(family, type, 0)), 0};
  sockaddr_storage address{};
  address.ss_family = static_cast<sa_family_t>(family);
  const int only = v6only ? 1 : 0;
  if (family == AF_INET6) setsockopt(out.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
  socklen_t length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  EXPECT_EQ(bind(out.fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  if (type == SOCK_STREAM && listen(out.fd.get(), 7) != 0) ADD_FAILURE() << "listen";
  getsockname(out.fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  out.port = ntohs(family == AF_INET ? reinterpret_cast<sockaddr_in*>(&address)->sin_port
                                     : reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  return out;
}

std::optional<std::vector<Listener>> find_listeners(const std::string& protocol, std::uint16_t port) {
  auto taken = ListenerSnapshot::take(protocol, {});
  return taken ? std::optional(taken->on_port(port)) : std::nullopt;
}

std::optional<FoundSocket> in_proc_net(std::uint16_t port) {
  const auto sockets = ask_proc_net(true);
  if (!sockets) return std::nullopt;
  const auto found = std::ranges::find(*sockets, port, [](const FoundSocket& s) { return s.listener.port; });
  return found == sockets->end() ? std::nullopt : std::optional(*found);
}

TEST(Listeners, AListenerIsFoundWithItsProcess) {
  const Bound bound = bind_socket(SOCK_STREAM, AF_INET);
  const auto found = find_listeners("tcp", bound.port);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1U);
  const Listener& listener = found->front();
  EXPECT_EQ(listener.address, "0.0.0.0");
  EXPECT_EQ(listener.port, bound.port);
  EXPECT_EQ(listener.pid, static_cast<std::uint32_t>(getpid()));
  std::array<char, 16> name{};
  prctl(PR_GET_NAME, name.data());
  EXPECT_EQ(listener.program, name.data());
  EXPECT_EQ(listener.netns.inode, own_netns());
  EXPECT_EQ(listener.backlog, 0U);
  // /proc/net doesn't tell it.
  EXPECT_EQ(listener.max_backlog.value_or(7), 7U);
}

TEST(Listeners, UdpAndNothing) {
  const Bound bound = bind_socket(SOCK_DGRAM, AF_INET);
  const auto found = find_listeners("udp", bound.port);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1U);
  EXPECT_FALSE(found->front().backlog);
  const auto none = find_listeners("tcp", 1);
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());
  EXPECT_TRUE(find_listeners("icmp", 1)->empty());
}

// A connection on every port, as one asks for them all at the end of a trace.
TEST(Listeners, OneSnapshotHasAllPorts) {
  const std::array<Bound, 3> bound{bind_socket(SOCK_STREAM, AF_INET), bind_socket(SOCK_STREAM, AF_INET),
                                   bind_socket(SOCK_STREAM, AF_INET)};
  auto taken = ListenerSnapshot::take("tcp", {});
  ASSERT_TRUE(taken);
  const Bound later = bind_socket(SOCK_STREAM, AF_INET);
  for (const Bound& one : bound) {
    const auto found = taken->on_port(one.port);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found.front().port, one.port);
    EXPECT_EQ(found.front().pid, static_cast<std::uint32_t>(getpid()));
  }
  EXPECT_TRUE(taken->on_port(later.port).empty());
}

TEST(Listeners, SocketsThatShareAPortAreAllThere) {
  ListenerSnapshot snapshot({{{.address = "10.0.0.1", .port = 80, .netns = {1, {}}}, 11},
                             {{.address = "127.0.0.1", .port = 443, .netns = {1, {}}}, 12},
                             {{.address = "10.0.0.1", .port = 80, .netns = {1, {}}}, 13},  // SO_REUSEPORT
                             {{.address = "10.0.0.1", .port = 80, .netns = {2, {}}}, 14}},
                            OwnerSearch({}));
  const auto found = snapshot.on_port(80);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].netns.inode, 1U);
  EXPECT_EQ(found[1].netns.inode, 2U);
  EXPECT_EQ(found[0].pid, std::nullopt);
}

TEST(Listeners, WithoutSockDiagProcNetAnswers) {
  const Bound bound = bind_socket(SOCK_STREAM, AF_INET);
  const auto socket = in_proc_net(bound.port);
  ASSERT_TRUE(socket);
  EXPECT_EQ(socket->listener.address, "0.0.0.0");
  EXPECT_EQ(socket->listener.backlog, 0U);
  EXPECT_NE(socket->inode, 0U);
}

// The kernel lists those that listen before those that are connected.
TEST(Listeners, ConnectionsInProcNetHideNoListener) {
  std::vector<Bound> bound;
  std::vector<Fd> connected;
  for (int i = 0; i < 100; ++i) {  // more than fit in what the kernel prints at a time
    bound.push_back(bind_socket(SOCK_STREAM, AF_INET));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(bound.back().port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected.emplace_back(socket(AF_INET, SOCK_STREAM, 0));
    ASSERT_EQ(connect(connected.back().get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  }
  const auto sockets = ask_proc_net(true);
  ASSERT_TRUE(sockets);
  std::set<std::uint16_t> ports;
  for (const FoundSocket& socket : *sockets) ports.insert(socket.listener.port);
  for (const Bound& one : bound) EXPECT_TRUE(ports.contains(one.port)) << one.port;
}

TEST(Listeners, WhetherAWildcardServesIpv4) {
  if (!std::ifstream("/proc/net/if_inet6")) GTEST_SKIP() << "no IPv6 here";
  for (const bool only : {false, true}) {
    const Bound bound = bind_socket(SOCK_STREAM, AF_INET6, only);
    const auto found = find_listeners("tcp", bound.port);
    ASSERT_TRUE(found);
    ASSERT_EQ(found->size(), 1U);
    EXPECT_EQ(found->front().address, "::");
    EXPECT_EQ(found->front().v6only, only);
    const auto from_proc = in_proc_net(bound.port);
    ASSERT_TRUE(from_proc);
    EXPECT_EQ(from_proc->listener.v6only, std::nullopt);
  }
}

TEST(Listeners, WhatProcNetDoesNotTellTheSocketDoes) {
  const Bound bound = bind_socket(SOCK_STREAM, AF_INET);
  // unprivileged since 5.7; lo is there in every namespace
  ASSERT_EQ(setsockopt(bound.fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
  auto found = in_proc_net(bound.port);
  ASSERT_TRUE(found);
  Listener& listener = found->listener;
  EXPECT_FALSE(listener.max_backlog);
  const Owner own{static_cast<std::uint32_t>(getpid()), "", bound.fd.get()};
  ask_socket(own, found->inode + 1, listener);
  EXPECT_FALSE(listener.max_backlog) << "another file's";
  ask_socket(own, found->inode, listener);
  EXPECT_EQ(listener.max_backlog, 7U);
  EXPECT_EQ(listener.device, "lo");
  EXPECT_FALSE(listener.v6only);
}

TEST(ProcNet, Lines) {
  const auto v4 = parse_proc_line(
      "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000     0        0 12345 1 "
      "0000000000000000 100 0 0 10 0",
      true);
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->listener.address, "127.0.0.1");
  EXPECT_EQ(v4->listener.port, 8080);
  EXPECT_EQ(v4->listener.backlog, 2U);
  EXPECT_FALSE(v4->listener.max_backlog);
  EXPECT_EQ(v4->inode, 12345U);
  const auto v6 = parse_proc_line(
      " 1: 000000FD000000000000000001000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 "
      "00:00000000 00000000 0 0 99 2 0000000000000000 0",
      false);
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->listener.address, "fd00::1");
  EXPECT_EQ(v6->listener.port, 53);
}

TEST(ProcNet, OtherLines) {
  for (const char* line :
       {"",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        "0: 0100007F:1F90 0100007F:1000 01 0:0 0:0 0 0 0 12345", "0: 0100007F 0 0A 0:0 0:0 0 0 0 12345",
        "0: 0100007:1F90 0 0A 0:0 0:0 0 0 0 12345", "0: 0100007F:1F90F 0 0A 0:0 0:0 0 0 0 12345",
        "0: 0100007F:1F90 0 0A 0:0 0:0 0 0 0 x"})
    EXPECT_FALSE(parse_proc_line(line, true)) << line;
}

}  // namespace
}  // namespace pathtrace
