// SPDX-License-Identifier: GPL-2.0
#include "socket/listeners.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "kernel/netns.h"
#include "socket/ask_socket.h"

namespace pathtrace {
namespace {

std::uint16_t port_of(const FoundSocket& socket) { return socket.listener.port; }

std::unordered_set<std::uint64_t> inodes_of(const std::vector<FoundSocket>& sockets) {
  std::unordered_set<std::uint64_t> inodes;
  for (const FoundSocket& socket : sockets) inodes.insert(socket.inode);
  return inodes;
}

// Several sockets of a program may share address and port (SO_REUSEPORT): one says it all.
void drop_repeats(std::vector<Listener>& listeners) {
  std::vector<Listener> kept;
  for (auto& one : listeners) {
    const bool known = std::any_of(kept.begin(), kept.end(), [&](const Listener& other) {
      return other.address == one.address && other.pid == one.pid && other.netns == one.netns &&
             other.v6only == one.v6only;
    });
    if (!known) kept.push_back(std::move(one));
  }
  listeners = std::move(kept);
}

}  // namespace

ListenerSnapshot::ListenerSnapshot(std::vector<FoundSocket> sockets, OwnerSearch owners)
    : sockets_(std::move(sockets)), owners_(std::move(owners)) {
  std::ranges::stable_sort(sockets_, {}, port_of);
}

std::optional<ListenerSnapshot> ListenerSnapshot::take(const std::string& protocol,
                                                       const BuiltInDiag& built_in) {
  std::vector<FoundSocket> sockets;
  if (protocol != "tcp" && protocol != "udp") return ListenerSnapshot({}, OwnerSearch({}));
  bool answered = false;
  const std::uint32_t own = own_netns();
  for (const Netns& netns : all_netns()) {
    const auto ask = [&] {
      auto found = ask_namespace(protocol, built_in);
      if (!found) return;
      answered = true;
      for (FoundSocket& socket : *found) socket.listener.netns = netns;
      std::ranges::move(*found, std::back_inserter(sockets));
    };
    // One's own needs no permission to be entered.
    if (netns.inode == own)
      ask();
    else
      (void)in_netns(netns.inode, ask);
  }
  if (!answered) return std::nullopt;
  OwnerSearch owners(inodes_of(sockets));
  return ListenerSnapshot(std::move(sockets), std::move(owners));
}

std::vector<Listener> ListenerSnapshot::on_port(std::uint16_t port) {
  std::vector<Listener> out;
  for (const FoundSocket& socket : std::ranges::equal_range(sockets_, port, {}, port_of)) {
    out.push_back(socket.listener);
    const Owner* owner = owners_.find(socket.inode);
    if (owner == nullptr) continue;
    out.back().pid = owner->pid;
    out.back().program = owner->program;
    ask_socket(*owner, socket.inode, out.back());
  }
  drop_repeats(out);
  return out;
}

}  // namespace pathtrace
