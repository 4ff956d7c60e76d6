// SPDX-License-Identifier: GPL-2.0
#include "socket/listeners.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <fstream>

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

TEST(Listeners, WithoutSockDiagProcNetAnswers) {
  const Bound bound = bind_socket(SOCK_STREAM, AF_INET);
  const auto sockets = ask_proc_net(true, bound.port);
  ASSERT_TRUE(sockets);
  ASSERT_EQ(sockets->size(), 1U);
  EXPECT_EQ(sockets->front().listener.address, "0.0.0.0");
  EXPECT_EQ(sockets->front().listener.backlog, 0U);
  EXPECT_NE(sockets->front().inode, 0U);
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
    const auto from_proc = ask_proc_net(true, bound.port);
    ASSERT_TRUE(from_proc);
    EXPECT_EQ(from_proc->front().listener.v6only, std::nullopt);
  }
}

TEST(Listeners, WhatProcNetDoesNotTellTheSocketDoes) {
  const Bound bound = bind_socket(SOCK_STREAM, AF_INET);
  // unprivileged since 5.7; lo is there in every namespace
  ASSERT_EQ(setsockopt(bound.fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
  auto found = ask_proc_net(true, bound.port);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1U);
  Listener& listener = found->front().listener;
  EXPECT_FALSE(listener.max_backlog);
  const Owner own{static_cast<std::uint32_t>(getpid()), "", bound.fd.get()};
  ask_socket(own, found->front().inode + 1, listener);
  EXPECT_FALSE(listener.max_backlog) << "another file's";
  ask_socket(own, found->front().inode, listener);
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
