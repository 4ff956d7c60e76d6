// SPDX-License-Identifier: GPL-2.0
#include "socket/listener_cache.h"

#include <gtest/gtest.h>

namespace pathtrace {
namespace {

constexpr std::int64_t ms = 1'000'000;

struct ListenerCacheTest : testing::Test {
  std::int64_t now = 1'000'000 * ms;
  std::int64_t asking_takes = 0;
  std::int64_t looking_up_takes = 0;
  int asked = 0;
  int looked_up = 0;
  std::vector<Listener> listening;
  ListenerCache cache{[this](const std::string&) {
                        ++asked;
                        now += asking_takes;
                        return snapshot();
                      },
                      [this] { return now; }};

  std::optional<ListenerCache::Snapshot> snapshot() {
    return [this, as_of = listening](std::uint16_t port) {
      ++looked_up;
      now += looking_up_takes;
      std::vector<Listener> out = as_of;
      std::erase_if(out, [port](const Listener& listener) { return listener.port != port; });
      return out;
    };
  }
};

TEST_F(ListenerCacheTest, AServiceStartedAfterTheEventIsNotInTheAnswer) {
  cache.prepare("tcp", 80);
  const std::int64_t as_of = now;
  listening.push_back({.address = "0.0.0.0", .port = 80});
  now += 150 * ms;
  EXPECT_TRUE(cache.get("tcp", 80, as_of)->empty());
  EXPECT_EQ(asked, 1);
}

TEST_F(ListenerCacheTest, AnOldAnswerIsNotUsed) {
  cache.prepare("tcp", 80);
  const std::int64_t as_of = now;
  now += 500 * ms;
  listening.push_back({.address = "0.0.0.0", .port = 80});
  EXPECT_EQ(cache.get("tcp", 80, as_of)->size(), 1U);
}

TEST_F(ListenerCacheTest, WhatBeganToListenLaterWasNotThere) {
  listening = {{.address = "0.0.0.0", .port = 80, .netns = {1, {}}},
               {.address = "10.0.0.1", .port = 80, .netns = {1, {}}}};
  cache.began(1, "10.0.0.1", 80, 2000);
  cache.began(2, "0.0.0.0", 80, 2000);  // in another namespace
  EXPECT_EQ(cache.get("tcp", 80, 1999)->size(), 1U);
  EXPECT_EQ(cache.get("tcp", 80, 2000)->size(), 2U);
}

TEST_F(ListenerCacheTest, OneQuestionIsAboutAllPorts) {
  for (std::uint16_t port = 1; port <= 2000; ++port)
    listening.push_back({.address = "0.0.0.0", .port = port});
  const std::int64_t as_of = now;
  for (std::uint16_t port = 1; port <= 2000; ++port) cache.prepare("tcp", port);
  now += 150 * ms;
  for (std::uint16_t port = 1; port <= 2000; ++port) {
    const auto answer = cache.get("tcp", port, as_of);
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->size(), 1U);
    EXPECT_EQ(answer->front().port, port);
  }
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(looked_up, 2000) << "each port once";
}

TEST_F(ListenerCacheTest, EachProtocolIsAskedForItself) {
  cache.prepare("tcp", 80);
  cache.prepare("udp", 80);
  EXPECT_EQ(asked, 2);
}

TEST_F(ListenerCacheTest, ManyEventsDoNotKeepItAsking) {
  asking_takes = 20 * ms;
  for (int i = 0; i < 100; ++i) {
    cache.prepare("tcp", static_cast<std::uint16_t>(80 + i));
    now += 4 * ms;
  }
  EXPECT_LE(asked, 4);
  EXPECT_GE(asked, 2);
}

TEST_F(ListenerCacheTest, WhatIsLookedUpInAnAnswerCountsAsAsking) {
  looking_up_takes = 20 * ms;
  for (int i = 0; i < 100; ++i) {
    cache.prepare("tcp", 80);
    now += 4 * ms;
  }
  EXPECT_LE(asked, 4);
  EXPECT_GE(asked, 2);
}

TEST_F(ListenerCacheTest, AnAnswerFromBeforeTheConnectionIsUsedForAMomentOnly) {
  asking_takes = 5 * ms;
  cache.prepare("udp", 1);
  now += 44 * ms;  // 49 since it was asked
  cache.get("udp", 80, now);
  EXPECT_EQ(asked, 1);
  now += 2 * ms;
  cache.get("udp", 80, now);
  EXPECT_EQ(asked, 2);
  const std::int64_t as_of = now - 10 * ms;  // before the second answer
  now += 400 * ms;
  cache.get("udp", 80, as_of);
  EXPECT_EQ(asked, 2);
}

TEST_F(ListenerCacheTest, AnAnswerLacksWhatBeganToListenSince) {
  asking_takes = 20 * ms;
  cache.prepare("tcp", 1);
  now += 10 * ms;
  listening = {{.address = "127.0.0.1", .port = 80, .netns = {1, {}}}};
  cache.began(1, "127.0.0.1", 80, now);
  now += 10 * ms;
  EXPECT_TRUE(cache.get("tcp", 81, now)->empty());
  EXPECT_EQ(asked, 1) << "on another port";
  EXPECT_EQ(cache.get("tcp", 80, now)->size(), 1U);
  EXPECT_EQ(asked, 2);
}

TEST_F(ListenerCacheTest, OfManyThatBeganTheLatestAreRemembered) {
  listening = {{.address = "0.0.0.0", .port = 80}};
  for (std::uint16_t port = 1; port <= 3000; ++port) cache.began(0, "0.0.0.0", port, 1000 + port);
  cache.began(0, "0.0.0.0", 80, 5000);
  for (std::uint16_t port = 3001; port <= 4000; ++port) cache.began(0, "0.0.0.0", port, 1000 + port);
  EXPECT_TRUE(cache.get("tcp", 80, 4999)->empty());
}

// All that is left is diagnosed when the trace is over. Nothing tells then what begins to listen meanwhile.
TEST_F(ListenerCacheTest, OnceTheTraceIsOverItsLastAnswersHold) {
  asking_takes = 30 * ms;
  cache.prepare("tcp", 1);
  now += 400 * ms;
  cache.hold();
  EXPECT_EQ(asked, 3) << "one of each protocol";
  listening = {{.address = "0.0.0.0", .port = 80}};
  const std::int64_t as_of = now;
  for (int i = 0; i < 100; ++i) {
    now += 100 * ms;
    cache.prepare("tcp", 80);
    EXPECT_TRUE(cache.get("tcp", 80, as_of)->empty());
    EXPECT_TRUE(cache.get("udp", 80, as_of)->empty());
  }
  EXPECT_EQ(asked, 3);
}

TEST_F(ListenerCacheTest, NoAnswerIsNotNobody) {
  ListenerCache refused([](const std::string&) { return std::nullopt; }, [this] { return now; });
  refused.prepare("tcp", 80);
  EXPECT_EQ(refused.get("tcp", 80, now), std::nullopt);
}

}  // namespace
}  // namespace pathtrace
