// SPDX-License-Identifier: GPL-2.0
#include "capture/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

namespace pathtrace {
namespace {

namespace fs = std::filesystem;

class CaptureTest : public testing::Test {
 protected:
  CaptureTest() {
    std::string name = testing::TempDir() + "pathtrace-XXXXXX";
    directory_ = mkdtemp(name.data());
  }
  ~CaptureTest() override { fs::remove_all(directory_); }

  [[nodiscard]] std::string path() const { return (directory_ / "t.jsonl").string(); }
  void put(const std::string& content) const { std::ofstream(path(), std::ios::binary) << content; }

  // Replays the file; the records are in taken_.
  Result<ReplayResult> read() {
    taken_.clear();
    return replay(path(), [&](const Record& record) -> Result<void> {
      taken_.push_back(record);
      return {};
    });
  }
  // The error's message without the directory.
  std::string error() {
    const auto result = read();
    if (result) return "";
    EXPECT_EQ(result.error().status, ExitStatus::input_failed);
    std::string message = result.error().message;
    if (const auto at = message.find(directory_.string()); at != std::string::npos)
      message.erase(at, directory_.string().size() + 1);
    return message;
  }

  fs::path directory_;
  std::vector<Record> taken_;
};

const std::string start = to_json_line(StartRecord{}) + "\n";
const std::string packet = to_json_line(Packet{}) + "\n";
const std::string end = to_json_line(EndRecord{}) + "\n";
const std::string hint = "; this is not a capture of pathtrace (-w or --json makes one)";

TEST_F(CaptureTest, WhatIsWrittenIsRead) {
  Packet one;
  one.id = 5;
  one.iif = "eth0";
  const std::vector<Record> records = {StartRecord{}, one, Connection{}, LostRecord{3, 4, "x"}, EndRecord{}};
  {
    auto sink = create_capture(path());
    ASSERT_TRUE(sink) << sink.error().message;
    for (const auto& record : records) ASSERT_TRUE((*sink)->write(record));
  }
  const auto result = read();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_TRUE(result->has_end);
  EXPECT_FALSE(result->truncated);
  EXPECT_EQ(taken_, records);
}

// A kill at any moment: what is on disk ends with a whole connection.
TEST_F(CaptureTest, AConnectionIsOnDiskWhenItIsWritten) {
  auto sink = create_capture(path());
  ASSERT_TRUE(sink);
  for (const Record& record : {Record(StartRecord{}), Record(Packet{}), Record(Connection{})})
    ASSERT_TRUE((*sink)->write(record));
  ASSERT_TRUE(read());
  EXPECT_EQ(taken_.size(), 3U);
}

TEST_F(CaptureTest, TheDescriptorIsNotInherited) {
  const auto sink = create_capture(path());
  ASSERT_TRUE(sink);
  int found = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (fs::read_symlink(entry.path(), gone) != path()) continue;
    ++found;
    EXPECT_TRUE(fcntl(std::stoi(entry.path().filename()), F_GETFD) & FD_CLOEXEC);
  }
  EXPECT_EQ(found, 1);
}

TEST_F(CaptureTest, CreateSaysWhyNot) {
  const auto missing = create_capture("/nonexistent/t.jsonl");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().status, ExitStatus::output_failed);
  EXPECT_EQ(
      missing.error().message,
      "cannot create the capture file /nonexistent/t.jsonl: No such file or directory; create its directory "
      "first");
  const auto directory = create_capture("/tmp");
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().message,
            "cannot create the capture file /tmp: Is a directory; name a file in it");
}

TEST_F(CaptureTest, AFullDiskIsAnError) {
  auto sink = create_capture("/dev/full");
  ASSERT_TRUE(sink);
  const auto result = (*sink)->write(StartRecord{});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().status, ExitStatus::output_failed);
  EXPECT_EQ(
      result.error().message,
      "/dev/full: cannot write the output: No space left on device; free some space or write elsewhere");
}

TEST_F(CaptureTest, AReaderThatWentAwayIsNoError) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  ASSERT_EQ(mkfifo(path().c_str(), 0600), 0);
  const int reader = open(path().c_str(), O_RDONLY | O_NONBLOCK);
  auto sink = create_capture(path());
  ASSERT_TRUE(sink);
  close(reader);
  const auto result = (*sink)->write(StartRecord{});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().status, ExitStatus::success);
}

TEST_F(CaptureTest, ACutOffLastLineIsToldNotRefused) {
  put(start + packet + packet.substr(0, 50));
  const auto result = read();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_TRUE(result->truncated);
  EXPECT_FALSE(result->has_end);
  EXPECT_EQ(taken_.size(), 2U);
}

TEST_F(CaptureTest, OnlyTheLastNewlineIsMissing) {
  put(start + end.substr(0, end.size() - 1));
  const auto result = read();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_FALSE(result->truncated);
  EXPECT_TRUE(result->has_end);
}

TEST_F(CaptureTest, WhatIsWrongIsNamedWithFileAndLine) {
  struct Case {
    std::string content, message;
  };
  const Case cases[] = {
      {"", "t.jsonl is empty; it holds no capture"},
      {"hello\n", "t.jsonl:1: is not JSON" + hint},
      {std::string("\x7f"
                   "ELF\0\x01\n\n",
                   8),
       "t.jsonl:1: is not JSON" + hint},
      {"\n", "t.jsonl:1: is not JSON" + hint},
      {packet, "t.jsonl:1: the first record is not \"start\"" + hint},
      {start.substr(0, 40), "t.jsonl:1: is not JSON" + hint},
      {R"({"type":"start","schema":7})"
       "\n",
       "t.jsonl:1: \"schema\" is 7, this pathtrace reads schema 1; another version of pathtrace made it"},
      {start + packet + "garbage\n" + end, "t.jsonl:3: is not JSON"},
      {start + packet.substr(0, 60) + "\n" + packet, "t.jsonl:2: is not JSON"},
      {start + R"({"type":"lost","count":1})"
               "\n",
       "t.jsonl:2: \"since_ns\" is missing"},
      {start + start, "t.jsonl:2: a second \"start\": split the file, it holds more than one capture"},
      {start + end + packet, "t.jsonl:3: a record after \"end\""},
      {std::string(5'000'000, 'x'), "t.jsonl:1: the line is longer than 4194304 bytes" + hint},
      {start + std::string(5'000'000, 'x'), "t.jsonl:2: the line is longer than 4194304 bytes"},
  };
  for (const auto& [content, message] : cases) {
    put(content);
    EXPECT_EQ(error(), message);
  }
}

TEST_F(CaptureTest, NoFileADirectoryAnEndlessOne) {
  EXPECT_EQ(error(), "cannot open the capture t.jsonl: No such file or directory; check its name and rights");
  fs::create_directory(path());
  EXPECT_EQ(error(), "t.jsonl:1: cannot read on: Is a directory");
  const auto endless = replay("/dev/zero", [](const Record&) { return Result<void>(); });
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().message, "/dev/zero:1: the line is longer than 4194304 bytes" + hint);
}

TEST_F(CaptureTest, TheTakersErrorEndsTheReplay) {
  put(start + packet + end);
  int taken = 0;
  const auto result = replay(path(), [&](const Record&) -> Result<void> {
    if (++taken == 2) return Error{ExitStatus::success, "enough", {}};
    return {};
  });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "enough");
  EXPECT_EQ(taken, 2);
}

TEST_F(CaptureTest, GarbageIsAnErrorNeverACrash) {
  std::mt19937 random(1);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  const std::string whole = start + packet + to_json_line(Connection{}) + "\n" + end;
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string content = i % 4 == 0 ? "" : whole;
    if (content.empty())
      for (std::size_t n = below(3000); n > 0; --n) content += static_cast<char>(below(256));
    for (std::size_t n = below(6); n > 0 && !content.empty(); --n) {
      const std::size_t at = below(content.size());
      if (below(2) == 0)
        content[at] = static_cast<char>(below(256));
      else
        content.erase(at, below(300));
    }
    put(content);
    const auto result = read();
    if (!result) {
      ++refused;
      EXPECT_EQ(sanitise(result.error().message), result.error().message);
    }
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace pathtrace
