// SPDX-License-Identifier: GPL-2.0
#include "socket/listeners.h"

#include <algorithm>
#include <unordered_set>

#include "kernel/netns.h"
#include "socket/ask_socket.h"
#include "socket/owners.h"
#include "socket/sock_diag.h"

namespace pathtrace {
namespace {

struct Asked {
  std::vector<FoundSocket> sockets;
  bool answered = false;
};

void ask(const std::string& protocol, std::uint16_t port, const Netns& netns, Asked& asked) {
  const auto found = ask_namespace(protocol, port);
  if (!found) return;
  asked.answered = true;
  for (FoundSocket socket : *found) {
    socket.listener.netns = netns;
    asked.sockets.push_back(std::move(socket));
  }
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

std::optional<std::vector<Listener>> find_listeners(const std::string& protocol, std::uint16_t port) {
  Asked asked;
  const std::uint32_t own = own_netns();
  for (const Netns& netns : all_netns()) {
    const auto work = [&] { ask(protocol, port, netns, asked); };
    // One's own needs no permission to be entered.
    if (netns.inode == own)
      work();
    else
      (void)in_netns(netns.inode, work);
  }
  if (!asked.answered) return std::nullopt;
  std::unordered_set<std::uint64_t> inodes;
  for (const auto& socket : asked.sockets) inodes.insert(socket.inode);
  const auto owners = find_owners(std::move(inodes));
  std::vector<Listener> out;
  for (const auto& socket : asked.sockets) {
    out.push_back(socket.listener);
    const auto owner = owners.find(socket.inode);
    if (owner == owners.end()) continue;
    out.back().pid = owner->second.pid;
    out.back().program = owner->second.program;
    ask_socket(owner->second, socket.inode, out.back());
  }
  drop_repeats(out);
  return out;
}

}  // namespace pathtrace
