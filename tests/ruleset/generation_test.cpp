// SPDX-License-Identifier: GPL-2.0
#include "ruleset/generation.h"

#include <gtest/gtest.h>

namespace pathtrace {
namespace {

constexpr pt_generation kNever{0, 0, 0};

TEST(Generation, NothingEverChanged) {
  EXPECT_TRUE(is_tied({10, 20, std::nullopt}, 30, kNever, kNever)) << "read before the walk";
  EXPECT_TRUE(is_tied({10, 20, 0U}, 15, kNever, kNever)) << "walk while it was read";
  EXPECT_TRUE(is_tied({10, 20, 0U}, 5, kNever, kNever)) << "walk before it was read";
}

TEST(Generation, ReadBeforeTheWalkAndChangedInBetween) {
  const pt_generation walk{25, 1, 0};
  EXPECT_FALSE(is_tied({10, 20, std::nullopt}, 30, walk, walk));
  EXPECT_FALSE(is_tied({10, 20, 0U}, 30, walk, walk));
}

TEST(Generation, AChangeWithinTheReadingSpoilsIt) {
  const pt_generation walk{15, 1, 0};
  EXPECT_FALSE(is_tied({10, 20, std::nullopt}, 30, walk, walk));
  EXPECT_FALSE(is_tied({10, 20, 1U}, 30, walk, walk));
}

TEST(Generation, ChangedBeforeTheReading) {
  const pt_generation walk{5, 1, 0};
  EXPECT_TRUE(is_tied({10, 20, std::nullopt}, 30, walk, walk));
  EXPECT_TRUE(is_tied({10, 20, 1U}, 7, walk, walk)) << "read after the walk, same number";
}

TEST(Generation, ReadAfterTheWalkAndChangedInBetween) {
  const pt_generation walk{5, 1, 0};
  const pt_generation now{8, 2, 0};
  EXPECT_FALSE(is_tied({10, 20, 2U}, 7, walk, now));
  EXPECT_FALSE(is_tied({10, 20, std::nullopt}, 7, walk, now));
}

TEST(Generation, AReadingWithoutNumberNeedsTheNumberOfNow) {
  EXPECT_TRUE(is_tied({10, 20, std::nullopt}, 7, {5, 1, 0}, {5, 1, 0}));
  EXPECT_FALSE(is_tied({10, 20, std::nullopt}, 7, {5, 1, 0}, {kChanging, 2, 0}));
}

TEST(Generation, AWalkDuringAChange) {
  EXPECT_FALSE(is_tied({10, 20, 1U}, 30, {kChanging, 1, 0}, {5, 1, 0}));
}

TEST(Generation, AChangeThatBeganAfterTheWalkDoesNotMatterToIt) {
  EXPECT_TRUE(is_tied({10, 20, std::nullopt}, 30, {5, 1, 0}, {kChanging, 2, 0}));
}

// The first rule that matches is told of: the walk had begun by then.
TEST(Generation, AWalkThatMayHaveBegunBeforeTheLastChange) {
  EXPECT_TRUE(may_be_older(35'000'000, {10'000'000, 1, 0}));
  EXPECT_FALSE(may_be_older(45'000'000, {10'000'000, 1, 0}));
  EXPECT_TRUE(may_be_older(9'000'000, {10'000'000, 1, 0}))
      << "told with its answer, which came before the change";
  EXPECT_FALSE(may_be_older(5, {0, 0, 0}));
  EXPECT_FALSE(may_be_older(5, {kChanging, 1, 0}));
}

TEST(Generation, NobodyCounts) {
  EXPECT_FALSE(is_tied({10, 20, std::nullopt}, 30, kNever, {kChanging, 0, 0}));
}

}  // namespace
}  // namespace pathtrace
