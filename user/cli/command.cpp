// SPDX-License-Identifier: GPL-2.0
#include "cli/command.h"

#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace pathtrace {

namespace {

constexpr int patience_ms = 1000;

}  // namespace

Result<Command> Command::start(const std::vector<std::string>& arguments, int output) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (output != STDOUT_FILENO) posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0)
    return Error{ExitStatus::command_failed,
                 fmt::format("{} can't be started: {}", arguments[0], std::strerror(error)),
                 {}};
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd)
    return Error{ExitStatus::command_failed,
                 fmt::format("{} can't be waited for: {}", arguments[0], std::strerror(errno)),
                 {}};
  return Command(pid, std::move(pidfd));
}

int Command::wait() {
  int status = 0;
  const pid_t ended = waitpid(pid_, &status, 0);
  pidfd_.reset();
  if (ended < 0) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Command::end() {
  if (!pidfd_) return true;
  syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGTERM, nullptr, 0);
  pollfd ended{pidfd_.get(), POLLIN, 0};
  int ready = -1;
  do ready = poll(&ended, 1, patience_ms);
  while (ready < 0 && errno == EINTR);
  if (ready <= 0) return false;
  wait();
  return true;
}

}  // namespace pathtrace
