// SPDX-License-Identifier: GPL-2.0
#include "ruleset/tool.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "support/fd.h"

namespace pathtrace {
namespace {

using Clock = std::chrono::steady_clock;

// LC_ALL: numbers and messages in one form. PATH: for what the program itself may run.
std::array<char*, 3> clean_environment() {
  static std::string locale = "LC_ALL=C";
  static std::string path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  return {locale.data(), path.data(), nullptr};
}

class Child {
 public:
  Child() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      wait();
    }
  }

  // The signals that we block for our signalfd must be the child's again; a group of its
  // own keeps a Ctrl-C at the terminal from killing it half-way.
  bool start(const std::vector<std::string>& argv, int output) {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, output, 1);
    posix_spawn_file_actions_addopen(&actions_, 2, "/dev/null", O_WRONLY, 0);
    std::vector<std::string> copy = argv;
    std::vector<char*> arguments;
    arguments.reserve(copy.size() + 1);
    for (std::string& argument : copy) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    auto environment = clean_environment();
    return ::posix_spawn(&pid_, arguments[0], &actions_, &attributes_, arguments.data(),
                         environment.data()) == 0;
  }

  bool succeeded() {
    const int status = wait();
    return status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  int wait() {
    int status = -1;
    while (::waitpid(pid_, &status, 0) < 0) {
      if (errno != EINTR) {
        status = -1;
        break;
      }
    }
    pid_ = 0;
    return status;
  }

  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
  pid_t pid_ = 0;
};

// Until the end of file. False: too late or too much.
bool read_all(int fd, const ToolLimits& limits, std::string& output) {
  const auto deadline = Clock::now() + limits.time;
  std::array<char, 65536> buffer{};
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd waiting{fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) return true;
    output.append(buffer.data(), static_cast<std::size_t>(got));
    if (output.size() > limits.output) return false;
  }
}

}  // namespace

std::optional<std::string> find_tool(const std::string& name) {
  for (const char* directory : {"/usr/sbin/", "/sbin/", "/usr/bin/"}) {
    std::string path = directory + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return std::nullopt;
}

std::optional<std::string> real_path(const std::string& path) {
  struct Free {
    void operator()(char* text) const { std::free(text); }  // NOLINT: realpath() allocates it by malloc()
  };
  const std::unique_ptr<char, Free> resolved(::realpath(path.c_str(), nullptr));
  return resolved ? std::optional<std::string>(resolved.get()) : std::nullopt;
}

std::optional<std::string> run_tool(const std::vector<std::string>& argv, const ToolLimits& limits) {
  std::array<int, 2> ends{};
  if (argv.empty() || ::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  Child child;
  if (!child.start(argv, writing.get())) return std::nullopt;
  writing.reset();
  std::string output;
  if (!read_all(reading.get(), limits, output) || !child.succeeded()) return std::nullopt;
  return output;
}

}  // namespace pathtrace
