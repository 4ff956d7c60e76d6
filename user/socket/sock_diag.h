// SPDX-License-Identifier: GPL-2.0
// The sockets of one namespace that wait for packets to their port: from sock_diag, or from /proc/net
// where sock_diag can't be asked without loading a module.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "timeline/model.h"

namespace pathtrace {

// Which of the diag modules are part of the kernel itself (CONFIG_INET_TCP_DIAG=y).
struct BuiltInDiag {
  bool tcp = false;
  bool udp = false;
};

struct FoundSocket {
  Listener listener;        // without pid, program and netns
  std::uint64_t inode = 0;  // of the socket
};

// Asks the caller's own namespace ("tcp": those in LISTEN; "udp": unconnected ones). nullopt if neither
// source can be read.
std::optional<std::vector<FoundSocket>> ask_namespace(const std::string& protocol,
                                                      const BuiltInDiag& built_in);

// A line of /proc/net/tcp, tcp6, udp or udp6. nullopt: it is no listening (tcp) or unconnected
// (udp) socket, or not such a line.
std::optional<FoundSocket> parse_proc_line(std::string_view line, bool tcp);

}  // namespace pathtrace
