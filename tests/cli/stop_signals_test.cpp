// SPDX-License-Identifier: GPL-2.0
#include "cli/stop_signals.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <string>

namespace pathtrace {
namespace {

bool asked(const StopSignals& signals) {
  pollfd wait{signals.fd(), POLLIN, 0};
  return poll(&wait, 1, 0) == 1;
}

void pause_ms(int milliseconds) { poll(nullptr, 0, milliseconds); }

TEST(StopSignals, TheFirstAsks) {
  auto signals = StopSignals::take();
  ASSERT_TRUE(signals);
  EXPECT_FALSE(asked(*signals));
  raise(SIGTERM);
  EXPECT_TRUE(asked(*signals));
}

TEST(StopSignals, TwoInOneMomentAreOne) {
  auto signals = StopSignals::take();
  ASSERT_TRUE(signals);
  raise(SIGINT);
  raise(SIGINT);
  raise(SIGTERM);
  EXPECT_TRUE(asked(*signals));
}

TEST(StopSignals, ATerminalThatGoesAwayAsksToo) {
  signal(SIGHUP, SIG_DFL);
  auto signals = StopSignals::take();
  ASSERT_TRUE(signals);
  raise(SIGHUP);
  EXPECT_TRUE(asked(*signals));
}

TEST(StopSignals, UnlessThatWasIgnored) {
  signal(SIGHUP, SIG_IGN);
  {
    auto signals = StopSignals::take();
    ASSERT_TRUE(signals);
    raise(SIGHUP);
    EXPECT_FALSE(asked(*signals));
  }
  signal(SIGHUP, SIG_DFL);
}

TEST(StopSignals, AreAsBeforeAfterwards) {
  (void)StopSignals::take();
  struct sigaction now {};
  sigaction(SIGINT, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

// A child that writes into a pipe which nobody reads.
class BlockedWriter : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(pipe2(pipe_.data(), O_CLOEXEC), 0);
    ASSERT_EQ(pipe2(ready_.data(), O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) write_for_ever();
    char byte = 0;
    ASSERT_EQ(read(ready_[0], &byte, 1), 1);
    pause_ms(100);  // until the pipe is full
  }
  void TearDown() override {
    if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    for (const int fd : {pipe_[0], pipe_[1], ready_[0], ready_[1]}) close(fd);
  }
  [[noreturn]] void write_for_ever() {
    auto signals = StopSignals::take();
    if (!signals || write(ready_[1], "r", 1) != 1) _exit(3);
    std::FILE* out = fdopen(pipe_[1], "w");
    const std::string line(4095, 'x');
    while (!asked(*signals))
      if (std::fprintf(out, "%s\n", line.c_str()) < 0 || std::fflush(out) != 0) _exit(4);
    _exit(0);
  }
  // Its status if it ended within two seconds, else -1.
  int status() {
    for (int i = 0; i < 200; ++i, pause_ms(10)) {
      int value = 0;
      if (waitpid(pid_, &value, WNOHANG) != pid_) continue;
      pid_ = -1;
      return value;
    }
    return -1;
  }
  pid_t pid_ = -1;
  std::array<int, 2> pipe_{};
  std::array<int, 2> ready_{};
};

TEST_F(BlockedWriter, EndsInOrderOnceItIsReadFrom) {
  ASSERT_EQ(kill(pid_, SIGINT), 0);
  pause_ms(200);
  ASSERT_EQ(waitpid(pid_, nullptr, WNOHANG), 0);  // still writes its line
  close(pipe_[1]);
  std::string all;
  std::array<char, 65536> buffer{};
  ssize_t got = 0;
  while ((got = read(pipe_[0], buffer.data(), buffer.size())) > 0)
    all.append(buffer.data(), static_cast<std::size_t>(got));
  pipe_[1] = dup(pipe_[0]);
  EXPECT_EQ(status(), 0);
  EXPECT_EQ(all.size() % 4096, 0U);  // whole lines
  EXPECT_EQ(all.back(), '\n');
}

TEST_F(BlockedWriter, EndsAtOnceOnTheSecond) {
  ASSERT_EQ(kill(pid_, SIGINT), 0);
  pause_ms(200);
  ASSERT_EQ(kill(pid_, SIGINT), 0);
  const int ended = status();
  ASSERT_TRUE(WIFSIGNALED(ended));
  EXPECT_EQ(WTERMSIG(ended), SIGINT);
}

}  // namespace
}  // namespace pathtrace
