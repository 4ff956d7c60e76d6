// SPDX-License-Identifier: GPL-2.0
#include "cli/stop_signals.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <utility>

namespace pathtrace {

namespace {

constexpr std::array<int, 3> signals{SIGINT, SIGTERM, SIGHUP};
// timeout(1) signals its child and then its group: what comes this soon is the same wish again.
constexpr std::int64_t same_wish_ns = 100'000'000;

// What the handler reads.
std::atomic<int> asked_fd{-1};
std::atomic<std::int64_t> asked_ns{0};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free);

// Calls nothing but what may be called in a handler: signal-safety(7).
void on_signal(int number) {
  const int error = errno;
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  const std::int64_t now = time.tv_sec * 1'000'000'000LL + time.tv_nsec;
  std::int64_t first = 0;
  if (asked_ns.compare_exchange_strong(first, now)) {
    const std::uint64_t one = 1;
    (void)!write(asked_fd.load(), &one, sizeof(one));
  } else if (now - first >= same_wish_ns) {
    // is delivered when this handler returns
    struct sigaction fatal {};
    fatal.sa_handler = SIG_DFL;
    sigaction(number, &fatal, nullptr);
    kill(getpid(), number);
  }
  errno = error;
}

}  // namespace

Result<StopSignals> StopSignals::take() {
  StopSignals taken(Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
  if (!taken.asked_)
    return Error{
        ExitStatus::failure, fmt::format("signals can't be waited for: {}", std::strerror(errno)), {}};
  asked_fd = taken.fd();
  asked_ns = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  // A write that a signal interrupts goes on: what stdio was writing would be lost in mid-line.
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  for (std::size_t i = 0; i < signals.size(); ++i) {
    sigaction(signals.at(i), &action, &taken.before_.at(i));
    // nohup: the terminal's end is not ours
    if (signals.at(i) == SIGHUP && taken.before_.at(i).sa_handler == SIG_IGN)
      sigaction(SIGHUP, &taken.before_.at(i), nullptr);
  }
  return taken;
}

StopSignals::~StopSignals() {
  if (!asked_) return;
  for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals.at(i), &before_.at(i), nullptr);
}

}  // namespace pathtrace
