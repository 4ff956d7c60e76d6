// SPDX-License-Identifier: GPL-2.0
// nftables by netlink: its trace records and its rules.
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <vector>

#include "guest.h"

namespace {

class Netlink {
 public:
  Netlink() {
    fd_ = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd_ < 0) die("netlink");
    // Without a port of its own, a socket gets no multicast.
    sockaddr_nl local{};
    local.nl_family = AF_NETLINK;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) die("netlink bind");
    const int size = 64 << 20;
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  }
  ~Netlink() { ::close(fd_); }
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  void join(int group) const {
    if (::setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) die("group");
  }
  void dump(int type) const {
    struct {
      nlmsghdr header;
      nfgenmsg body;
    } request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    if (::send(fd_, &request, sizeof request, 0) < 0) die("netlink send");
  }
  // Calls `each` with type, family and attributes of every message; false at a dump's end.
  template <typename Each>
  bool receive(Each each) {
    const ssize_t got = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
    if (got < 0) {
      if (errno == ENOBUFS) std::cout << "LOST" << std::endl;
      return errno == ENOBUFS || errno == EINTR;
    }
    auto left = static_cast<std::size_t>(got);
    for (auto* m = reinterpret_cast<nlmsghdr*>(buffer_.data()); NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) return false;
      const auto* body = static_cast<nfgenmsg*>(NLMSG_DATA(m));
      each(m->nlmsg_type & 0xff, body->nfgen_family,
           reinterpret_cast<const std::uint8_t*>(body) + sizeof *body,
           m->nlmsg_len - NLMSG_HDRLEN - sizeof *body);
    }
    return true;
  }

 private:
  int fd_ = -1;
  std::vector<char> buffer_ = std::vector<char>(1 << 20);
};

using Attributes = std::map<int, std::pair<const std::uint8_t*, std::size_t>>;

Attributes attributes(const std::uint8_t* data, std::size_t size) {
  Attributes found;
  while (size >= sizeof(nlattr)) {
    nlattr head{};
    std::memcpy(&head, data, sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > size) break;
    found[head.nla_type & NLA_TYPE_MASK] = {data + sizeof head, head.nla_len - sizeof head};
    const std::size_t step = std::min<std::size_t>((head.nla_len + 3U) & ~3U, size);
    data += step;
    size -= step;
  }
  return found;
}

std::string text(const Attributes& all, int which) {
  const auto it = all.find(which);
  return it == all.end()
             ? "-"
             : std::string(reinterpret_cast<const char*>(it->second.first), it->second.second - 1);
}

// An unsigned number in network order, of whatever size.
std::uint64_t number(const Attributes& all, int which) {
  std::uint64_t value = 0;
  if (const auto it = all.find(which); it != all.end())
    for (std::size_t i = 0; i < it->second.second; ++i) value = value << 8 | it->second.first[i];
  return value;
}

std::string hex(const Attributes& all, int which) {
  const auto it = all.find(which);
  if (it == all.end()) return "-";
  std::string out;
  char byte[3];
  for (std::size_t i = 0; i < it->second.second; ++i) {
    std::snprintf(byte, sizeof byte, "%02x", it->second.first[i]);
    out += byte;
  }
  return out;
}

// id family table chain type handle verdict target policy oif header, where there is none "-" or 0
void print_trace(int family, const Attributes& all) {
  std::int32_t code = 0x7fff;
  std::string target = "-";
  if (const auto it = all.find(NFTA_TRACE_VERDICT); it != all.end()) {
    const Attributes verdict = attributes(it->second.first, it->second.second);
    code = static_cast<std::int32_t>(number(verdict, NFTA_VERDICT_CODE));
    target = text(verdict, NFTA_VERDICT_CHAIN);
  }
  std::cout << number(all, NFTA_TRACE_ID) << ' ' << family << ' ' << text(all, NFTA_TRACE_TABLE) << ' '
            << text(all, NFTA_TRACE_CHAIN) << ' ' << number(all, NFTA_TRACE_TYPE) << ' '
            << number(all, NFTA_TRACE_RULE_HANDLE) << ' ' << code << ' ' << target << ' '
            << number(all, NFTA_TRACE_POLICY) << ' ' << number(all, NFTA_TRACE_OIF) << ' '
            << hex(all, NFTA_TRACE_NETWORK_HEADER) << '\n';
}

}  // namespace

int nftrace(const std::string& netns) {
  enter(netns);
  Netlink netlink;
  netlink.join(NFNLGRP_NFTRACE);
  std::cout << "READY" << std::endl;
  for (;;) {
    netlink.receive([](int type, int family, const std::uint8_t* data, std::size_t size) {
      if (type == NFT_MSG_TRACE) print_trace(family, attributes(data, size));
    });
    std::cout.flush();
  }
}

void save_rules(const std::string& path) {
  std::ofstream out(path);
  Netlink netlink;
  netlink.dump(NFT_MSG_GETRULE);
  while (netlink.receive([&](int, int family, const std::uint8_t* data, std::size_t size) {
    const Attributes all = attributes(data, size);
    out << family << ' ' << text(all, NFTA_RULE_TABLE) << ' ' << text(all, NFTA_RULE_CHAIN) << ' '
        << number(all, NFTA_RULE_HANDLE) << '\n';
  })) {
  }
}
