// SPDX-License-Identifier: GPL-2.0
#include "cli/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace pathtrace {
namespace {

bool ended_within(const Command& command, int milliseconds) {
  pollfd ended{command.fd(), POLLIN, 0};
  return poll(&ended, 1, milliseconds) == 1;
}

TEST(Command, ItsStatusIsThatOfAShell) {
  auto command = Command::start({"sh", "-c", "exit 7"});
  ASSERT_TRUE(command);
  ASSERT_TRUE(ended_within(*command, 10'000));
  EXPECT_EQ(command->wait(), 7);
  auto killed = Command::start({"sh", "-c", "kill -KILL $$"});
  ASSERT_TRUE(killed);
  EXPECT_EQ(killed->wait(), 128 + SIGKILL);
}

TEST(Command, ItsOutputGoesWhereItIsTold) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  auto command = Command::start({"echo", "here"}, writing.get());
  ASSERT_TRUE(command);
  writing.reset();
  std::array<char, 16> said{};
  EXPECT_EQ(read(reading.get(), said.data(), said.size()), 5);
  EXPECT_STREQ(said.data(), "here\n");
  EXPECT_EQ(command->wait(), 0);
}

TEST(Command, OneThatIsNotThereSaysSo) {
  const auto command = Command::start({"/nowhere/at-all"});
  ASSERT_FALSE(command);
  EXPECT_EQ(command.error().status, ExitStatus::command_failed);
  EXPECT_EQ(command.error().message, "/nowhere/at-all can't be started: No such file or directory");
}

TEST(Command, EndsWithTheTrace) {
  pid_t pid = 0;
  {
    auto command = Command::start({"sleep", "1000"});
    ASSERT_TRUE(command);
    pid = command->pid();
    EXPECT_FALSE(ended_within(*command, 0));
    EXPECT_TRUE(command->end());
    EXPECT_TRUE(command->end());  // nothing left to do
  }
  EXPECT_NE(kill(pid, 0), 0);
}

TEST(Command, OneThatIgnoresSigtermIsLeftAndSaid) {
  auto command = Command::start({"sh", "-c", "trap '' TERM; while :; do sleep 1; done"});
  ASSERT_TRUE(command);
  poll(nullptr, 0, 200);  // until it has set its trap
  EXPECT_FALSE(command->end());
  EXPECT_EQ(kill(command->pid(), SIGKILL), 0);
  EXPECT_EQ(command->wait(), 128 + SIGKILL);
}

}  // namespace
}  // namespace pathtrace
