// SPDX-License-Identifier: GPL-2.0
// Whose a socket is: /proc/PID/fd/N is a link to "socket:[INODE]".
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace pathtrace {

struct Owner {
  std::uint32_t pid = 0;
  std::string program;  // /proc/PID/comm
  int fd = -1;          // the socket's number in that process
};

// One process of each, the one with the lowest pid (the master of a server that forks). Stops after
// a bounded time: what isn't in the result is not known.
std::unordered_map<std::uint64_t, Owner> find_owners(std::unordered_set<std::uint64_t> inodes);

}  // namespace pathtrace
