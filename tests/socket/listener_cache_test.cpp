// SPDX-License-Identifier: GPL-2.0
#include "socket/listener_cache.h"

#include <gtest/gtest.h>

namespace pathtrace {
namespace {

constexpr std::int64_t ms = 1'000'000;

struct ListenerCacheTest : testing::Test {
  std::int64_t now = 1'000'000 * ms;
  std::int64_t asking_takes = 0;
  int asked = 0;
  std::vector<Listener> listening;
  ListenerCache cache{[this](const std::string&, std::uint16_t) -> ListenerCache::Answer {
                        ++asked;
                        now += asking_takes;
                        return listening;
                      },
                      [this] { return now; }};
};

TEST_F(ListenerCacheTest, AServiceStartedAfterTheEventIsNotInTheAnswer) {
  cache.prepare("tcp", 80);
  listening.push_back({.address = "0.0.0.0", .port = 80});
  now += 150 * ms;
  EXPECT_TRUE(cache.get("tcp", 80, now)->empty());
  EXPECT_EQ(asked, 1);
}

TEST_F(ListenerCacheTest, AnOldAnswerIsNotUsed) {
  cache.prepare("tcp", 80);
  now += 501 * ms;
  listening.push_back({.address = "0.0.0.0", .port = 80});
  EXPECT_EQ(cache.get("tcp", 80, now)->size(), 1U);
}

TEST_F(ListenerCacheTest, WhatBeganToListenLaterWasNotThere) {
  listening = {{.address = "0.0.0.0", .port = 80, .netns = {1, {}}},
               {.address = "10.0.0.1", .port = 80, .netns = {1, {}}}};
  cache.began(1, "10.0.0.1", 80, 2000);
  cache.began(2, "0.0.0.0", 80, 2000);  // in another namespace
  EXPECT_EQ(cache.get("tcp", 80, 1999)->size(), 1U);
  EXPECT_EQ(cache.get("tcp", 80, 2000)->size(), 2U);
}

TEST_F(ListenerCacheTest, EachPortIsAskedForItself) {
  cache.prepare("tcp", 80);
  cache.prepare("tcp", 81);
  cache.prepare("udp", 80);
  EXPECT_EQ(asked, 3);
}

TEST_F(ListenerCacheTest, ManyEventsDoNotKeepItAsking) {
  asking_takes = 20 * ms;
  for (int i = 0; i < 100; ++i) {
    cache.prepare("tcp", 80);
    now += 4 * ms;
  }
  EXPECT_LE(asked, 4);
  EXPECT_GE(asked, 2);
}

}  // namespace
}  // namespace pathtrace
