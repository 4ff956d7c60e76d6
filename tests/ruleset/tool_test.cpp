// SPDX-License-Identifier: GPL-2.0
#include "ruleset/tool.h"

#include <gtest/gtest.h>

namespace pathtrace {
namespace {

using std::chrono::milliseconds;

TEST(Tool, OutputAndCleanEnvironment) {
  EXPECT_EQ(run_tool({"/bin/echo", "a b", "$HOME", "*"}), "a b $HOME *\n");
  const auto environment = run_tool({"/usr/bin/env"});
  ASSERT_TRUE(environment);
  EXPECT_EQ(*environment, "LC_ALL=C\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n");
}

TEST(Tool, FailureIsNoOutput) {
  EXPECT_FALSE(run_tool({"/bin/false"}));
  EXPECT_FALSE(run_tool({"/no/such/program"}));
  EXPECT_FALSE(run_tool({}));
}

TEST(Tool, TimeAndOutputAreLimited) {
  const auto before = std::chrono::steady_clock::now();
  EXPECT_FALSE(run_tool({"/bin/sleep", "60"}, {milliseconds(50), 1000}));
  EXPECT_FALSE(run_tool({"/usr/bin/yes"}, {milliseconds(5000), 1000}));
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(30));
}

TEST(Tool, OnlySystemDirectories) {
  EXPECT_FALSE(find_tool("no-such-tool"));
  EXPECT_EQ(find_tool("env"), "/usr/bin/env");
}

}  // namespace
}  // namespace pathtrace
