// SPDX-License-Identifier: GPL-2.0
// Sockets that listen, and whose they are (sock_diag and /proc).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "socket/owners.h"
#include "socket/sock_diag.h"
#include "timeline/model.h"

namespace pathtrace {

// All of a protocol as of one moment, whatever their port: to ask for one port costs as much. Whose they are
// is looked for when a port is asked for, as that takes longest.
class ListenerSnapshot {
 public:
  // The sockets of `protocol` ("tcp": in LISTEN; "udp": unconnected) in every namespace that can be entered.
  // nullopt if neither sock_diag nor /proc/net answers in any.
  static std::optional<ListenerSnapshot> take(const std::string& protocol, const BuiltInDiag& built_in);

  // Of sockets that were found elsewhere, with their netns; `owners` looks for theirs.
  ListenerSnapshot(std::vector<FoundSocket> sockets, OwnerSearch owners);

  // Those bound to `port`, with pid and program of one process that holds each, where /proc allows it.
  // Listener::address is "0.0.0.0", "::", "127.0.0.1", ...
  [[nodiscard]] std::vector<Listener> on_port(std::uint16_t port);

 private:
  std::vector<FoundSocket> sockets_;  // by port
  OwnerSearch owners_;
};

}  // namespace pathtrace
