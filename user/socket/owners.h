// SPDX-License-Identifier: GPL-2.0
// Whose a socket is: /proc/PID/fd/N is a link to "socket:[INODE]".
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace pathtrace {

struct Owner {
  std::uint32_t pid = 0;
  std::string program;  // /proc/PID/comm
  int fd = -1;          // the socket's number in that process
};

// One pass over the descriptors of all processes, which goes only as far as it is asked to: /proc of a large
// host has 100,000 of them.
class OwnerSearch {
 public:
  // `proc` is where /proc is.
  explicit OwnerSearch(std::unordered_set<std::uint64_t> inodes, std::string proc = "/proc");

  // Of the process with the lowest pid that has the socket (the master of a server that forks); nullptr if
  // none has, if it may not be seen, or if the time that the pass may take as a whole (half a second) was up
  // before. `inode` is one of those given. Valid until the next call.
  const Owner* find(std::uint64_t inode);

 private:
  [[nodiscard]] bool is_over() const;
  void list_processes();
  void go_on(std::uint64_t inode);
  bool look_at(int directory, const char* name, std::uint64_t inode);

  std::string proc_;
  std::unordered_set<std::uint64_t> sought_;
  std::unordered_map<std::uint64_t, Owner> found_;
  std::optional<std::vector<std::uint32_t>> processes_;
  std::size_t next_ = 0;  // of them
  int looked_at_ = -1;    // the highest descriptor of that one; the kernel lists them in order
  std::chrono::steady_clock::duration spent_{};
};

}  // namespace pathtrace
