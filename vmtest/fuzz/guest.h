// SPDX-License-Identifier: GPL-2.0
// What the parts of the guest's program share.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

[[noreturn]] inline void die(const std::string& what) {
  std::fprintf(stderr, "player: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(2);
}

inline void enter(const std::string& netns) {
  const int fd = ::open(("/run/netns/" + netns).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::setns(fd, CLONE_NEWNET) != 0) die("namespace " + netns);
  ::close(fd);
}

inline void sleep_ms(long ms) {
  const timespec time{ms / 1000, ms % 1000 * 1'000'000};
  ::nanosleep(&time, nullptr);
}

// nftables' trace records of a namespace, a line each, from now on (nftables.cpp).
int nftrace(const std::string& netns);
// "family table chain handle" of each rule of our namespace, in order.
void save_rules(const std::string& path);
