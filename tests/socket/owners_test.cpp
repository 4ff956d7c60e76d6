// SPDX-License-Identifier: GPL-2.0
#include "socket/owners.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "support/fd.h"

namespace pathtrace {
namespace {

namespace fs = std::filesystem;

// A /proc of our own making: what was looked at once may go, and must not be needed again.
class OwnerSearchTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "owners-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    proc = name;
    fs::create_directory(proc / "sys");
  }
  void TearDown() override { fs::remove_all(proc); }

  void process(int pid, const std::string& name) {
    fs::create_directories(fd_directory(pid));
    std::ofstream(proc / std::to_string(pid) / "comm") << name << '\n';
  }
  void descriptor(int pid, int number, const std::string& target) {
    fs::create_symlink(target, fd_directory(pid) / std::to_string(number));
  }
  [[nodiscard]] fs::path fd_directory(int pid) const { return proc / std::to_string(pid) / "fd"; }
  [[nodiscard]] OwnerSearch search(std::unordered_set<std::uint64_t> inodes) const {
    return OwnerSearch(std::move(inodes), proc);
  }

  fs::path proc;
};

TEST_F(OwnerSearchTest, TheProcessOfTheLowestPidIsNamed) {
  process(10, "worker");
  descriptor(10, 5, "socket:[77]");
  process(9, "a\rmaster");
  descriptor(9, 4, "socket:[77]");
  int pid = 0;
  for (const char* other :
       {"/dev/null", "socket:[7]", "pipe:[77]", "socket:[77", "socket:[]", "socket:[77x]"}) {
    process(++pid, "other");
    descriptor(pid, 3, other);
  }
  OwnerSearch owners = search({77});
  const Owner* owner = owners.find(77);
  ASSERT_NE(owner, nullptr);
  EXPECT_EQ(owner->pid, 9U);
  EXPECT_EQ(owner->program, "a\rmaster");
  EXPECT_EQ(owner->fd, 4);
}

TEST_F(OwnerSearchTest, ItGoesNoFurtherThanItMust) {
  process(1, "one");
  descriptor(1, 3, "socket:[11]");
  process(2, "two");
  OwnerSearch owners = search({11, 22, 33});
  ASSERT_NE(owners.find(11), nullptr);
  descriptor(2, 3, "socket:[22]");  // seen only by who hasn't been there yet
  ASSERT_NE(owners.find(22), nullptr);
  EXPECT_EQ(owners.find(22)->program, "two");
}

TEST_F(OwnerSearchTest, NoProcessIsLookedAtTwice) {
  for (int pid = 1; pid <= 5; ++pid) {
    process(pid, "one");
    descriptor(pid, 3, "socket:[" + std::to_string(10 + pid) + "]");
  }
  OwnerSearch owners = search({11, 12, 13, 14, 99});
  ASSERT_NE(owners.find(14), nullptr);
  for (int pid = 1; pid <= 4; ++pid) fs::remove_all(fd_directory(pid));
  for (std::uint64_t inode = 11; inode <= 14; ++inode) EXPECT_NE(owners.find(inode), nullptr) << inode;
  EXPECT_EQ(owners.find(99), nullptr);
  process(6, "late");
  descriptor(6, 3, "socket:[99]");
  EXPECT_EQ(owners.find(99), nullptr) << "the pass is over";
}

// It goes on in the middle of a process, too.
TEST(OwnerSearchInProc, AllSocketsOfThisProcess) {
  std::vector<Fd> sockets;
  std::vector<std::uint64_t> inodes;
  for (int i = 0; i < 50; ++i) {
    sockets.emplace_back(socket(AF_INET, SOCK_STREAM, 0));
    struct stat file {};
    ASSERT_EQ(fstat(sockets.back().get(), &file), 0);
    inodes.push_back(file.st_ino);
  }
  OwnerSearch owners({inodes.begin(), inodes.end()});
  for (const std::size_t i : {20U, 10U, 21U, 49U, 0U, 48U}) {
    const Owner* owner = owners.find(inodes[i]);
    ASSERT_NE(owner, nullptr) << i;
    EXPECT_EQ(owner->pid, static_cast<std::uint32_t>(getpid()));
    EXPECT_EQ(owner->fd, sockets[i].get());
  }
}

TEST_F(OwnerSearchTest, NobodyHasASocketWithoutAFile) {
  process(1, "one");
  descriptor(1, 3, "socket:[0]");
  EXPECT_EQ(search({0}).find(0), nullptr);
}

TEST_F(OwnerSearchTest, WithoutProcNobodyIsFound) {
  EXPECT_EQ(OwnerSearch({5}, proc / "none").find(5), nullptr);
}

}  // namespace
}  // namespace pathtrace
