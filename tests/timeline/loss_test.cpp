// SPDX-License-Identifier: GPL-2.0
// What was lost is told by kind, and to those connections that it may concern.
#include <gtest/gtest.h>

#include <string>

#include "timeline/loss.h"

namespace pathtrace {
namespace {

constexpr std::int64_t s = 1'000'000'000;

LostCounts lost(std::size_t kind, std::uint64_t count) {
  LostCounts counts{};
  counts.at(kind) = count;
  return counts;
}

TEST(Loss, NoneIsNoRecord) {
  LossLog log(s);
  EXPECT_TRUE(log.note({}, 2 * s, 2 * s).empty());
  EXPECT_EQ(log.total(), 0U);
  EXPECT_EQ(log.within(0, 10 * s), 0U);
}

TEST(Loss, ARecordForEachKindSinceItWasLookedForLast) {
  LossLog log(s);
  EXPECT_TRUE(log.note({}, 2 * s, 2 * s + 9).empty());
  LostCounts counts = lost(PT_EVENT_LEGACY_WALK, 3);
  counts[PT_EVENT_DROP] = 4;
  const auto records = log.note(counts, 3 * s, 3 * s + 9);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0],
            (LostRecord{3, 2 * s, "rules of iptables-legacy: ring buffer full, or too many walks at once"}));
  EXPECT_EQ(records[1], (LostRecord{4, 2 * s, "drops: ring buffer full"}));
  EXPECT_TRUE(log.note(counts, 4 * s, 4 * s).empty());
  EXPECT_EQ(log.total(), 7U);
}

TEST(Loss, WhatCouldNotBeReadWasNotLostForWantOfRoom) {
  LossLog log(s);
  EXPECT_EQ(log.note(lost(0, 1), 2 * s, 2 * s).at(0).where, "events that could not be read");
}

TEST(Loss, ConcernsThoseOfItsTime) {
  LossLog log(s);
  (void)log.note({}, 10 * s, 10 * s);
  (void)log.note(lost(PT_EVENT_NFT_WALK, 5), 11 * s, 11 * s);
  EXPECT_EQ(log.within(2 * s, 9 * s), 0U);    // ended before
  EXPECT_EQ(log.within(2 * s, 60 * s), 5U);   // lasted all the while
  EXPECT_EQ(log.within(2 * s, 10 * s), 5U);   // may have ended with it
  EXPECT_EQ(log.within(11 * s, 60 * s), 5U);  // may have begun with it
  EXPECT_EQ(log.within(12 * s, 60 * s), 0U);  // began after
}

TEST(Loss, ThatFollowsALossIsTakenForOne) {
  LossLog log(s);
  for (int i = 1; i <= 1000; ++i)
    (void)log.note(lost(PT_EVENT_DROP, static_cast<std::uint64_t>(i)), s + i * s / 1000, s + i * s / 1000);
  EXPECT_EQ(log.within(0, 60 * s), 1000U);
  EXPECT_GT(log.within(0, s + s / 10), 0U);
  EXPECT_LT(log.within(0, s + s / 10), 1000U);
}

TEST(Loss, OfLongAgoIsNotForgotten) {
  LossLog log(0);
  constexpr std::uint64_t losses = 10'000;
  for (std::uint64_t i = 1; i <= losses; ++i) {
    const auto now = static_cast<std::int64_t>(i) * s;
    (void)log.note(lost(PT_EVENT_DROP, i), now, now);
  }
  EXPECT_EQ(log.within(0, INT64_MAX), losses);
  EXPECT_GT(log.within(0, 5 * s), 0U);
  EXPECT_EQ(log.within(9'999 * s + s / 2, 9'999 * s + s / 2), 1U);
}

}  // namespace
}  // namespace pathtrace
