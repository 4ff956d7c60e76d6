// SPDX-License-Identifier: GPL-2.0
// The COMMAND after `--`: started once the programs are attached; the trace ends with it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "support/fd.h"
#include "support/result.h"

namespace pathtrace {

class Command {
 public:
  Command(Command&& other) noexcept = default;
  Command& operator=(Command&& other) noexcept = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command() { end(); }

  // Found by PATH, with the caller's own environment, signal mask emptied.
  // ExitStatus::command_failed says why it can't be started. Its standard output is the caller's `output`.
  static Result<Command> start(const std::vector<std::string>& arguments, int output = STDOUT_FILENO);

  // Readable when it has ended.
  [[nodiscard]] int fd() const { return pidfd_.get(); }
  // Once it has ended: its exit status, or 128 + signal.
  int wait();
  // A trace that ends first takes the command with it: SIGTERM, then a second's patience. False if it is
  // still there. Nothing to do once it was waited for.
  bool end();
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  Command(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_;
  Fd pidfd_;
};

}  // namespace pathtrace
