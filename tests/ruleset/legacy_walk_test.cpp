// SPDX-License-Identifier: GPL-2.0
#include "ruleset/legacy_walk.h"

#include <gmock/gmock.h>

#include "blob_builder.h"
#include "ruleset/legacy_steps.h"

namespace pathtrace::legacy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint32_t kDrop = 0;
constexpr std::uint32_t kAccept = 1;

using Rule = std::pair<std::string, int>;  // chain, number; 0: its policy or end

struct Case {
  Table table;

  Walk walk(const std::vector<std::pair<Rule, std::uint32_t>>& counts, std::uint32_t verdict,
            std::uint32_t hook = 1) {
    matched.clear();
    for (const auto& [rule, count] : counts)
      matched.push_back({index_of(table, rule.first, rule.second), count});
    return reconstruct(table, {hook, matched, verdict});
  }
  std::vector<Rule> order(const Walk& walk) const {
    std::vector<Rule> rules;
    rules.reserve(walk.entries.size());
    for (const WalkEntry& entry : walk.entries)
      rules.emplace_back(table.chain_of(table.entries[entry.index]).name, table.entries[entry.index].number);
    return rules;
  }
  std::vector<pt_match> matched;
};

// INPUT: 1 → web, 2 -g out, 3 → web, 4 DROP; web: 1 LOG, 2 RETURN, 3 REJECT; out: 1 ACCEPT
Case sample() {
  BlobBuilder builder;
  builder.base(1, {{"web"}, {"out", true}, {"web"}, {"DROP"}}, "DROP")
      .chain("web", {{"LOG"}, {"RETURN"}, {"REJECT"}})
      .chain("out", {{"ACCEPT"}});
  return {builder.table(), {}};
}

TEST(LegacyWalk, Policy) {
  Case c = sample();
  const Walk walk = c.walk({{{"INPUT", 0}, 1}}, kDrop);
  EXPECT_TRUE(walk.known()) << walk.missing;
  EXPECT_THAT(c.order(walk), ElementsAre(Rule{"INPUT", 0}));
}

TEST(LegacyWalk, JumpAndReject) {
  BlobBuilder builder;
  builder.base(1, {{"web"}, {"DROP"}}).chain("web", {{"LOG"}, {"REJECT"}});
  Case c{builder.table(), {}};
  const Walk walk = c.walk({{{"INPUT", 1}, 1}, {{"web", 1}, 1}, {{"web", 2}, 1}}, kDrop);
  EXPECT_THAT(c.order(walk), ElementsAre(Rule{"INPUT", 1}, Rule{"web", 1}, Rule{"web", 2}));
  EXPECT_EQ(walk.end, WalkEnd::verdict);
  EXPECT_THAT(walk.entries[2].path, ElementsAre(PathElement{"INPUT", 1}));
}

TEST(LegacyWalk, ReturnGoesBackBehindTheJump) {
  Case c = sample();
  const Walk walk = c.walk({{{"INPUT", 1}, 1}, {{"web", 2}, 1}, {{"INPUT", 4}, 1}}, kDrop);
  EXPECT_THAT(c.order(walk), ElementsAre(Rule{"INPUT", 1}, Rule{"web", 2}, Rule{"INPUT", 4}));
  EXPECT_THAT(walk.entries[2].path, IsEmpty());
}

TEST(LegacyWalk, ReturnInABaseChainIsFollowedByThePolicy) {
  BlobBuilder builder;
  builder.base(1, {{"RETURN"}, {"DROP"}}, "ACCEPT");
  Case c{builder.table(), {}};
  EXPECT_THAT(c.order(c.walk({{{"INPUT", 1}, 1}, {{"INPUT", 0}, 1}}, kAccept)),
              ElementsAre(Rule{"INPUT", 1}, Rule{"INPUT", 0}));
  // The policy was counted, but the rule before it can't have led there.
  EXPECT_FALSE(c.walk({{{"INPUT", 2}, 1}, {{"INPUT", 0}, 1}}, kAccept).known());
}

TEST(LegacyWalk, EndOfAGotoChainReturnsToTheCallerOfTheCaller) {
  BlobBuilder builder;
  builder.base(1, {{"a"}, {"ACCEPT"}}, "DROP").chain("a", {{"b", true}, {"DROP"}}).chain("b", {{"LOG"}});
  Case c{builder.table(), {}};
  const Walk walk =
      c.walk({{{"INPUT", 1}, 1}, {{"a", 1}, 1}, {{"b", 1}, 1}, {{"b", 0}, 1}, {{"INPUT", 2}, 1}}, kAccept);
  EXPECT_THAT(c.order(walk),
              ElementsAre(Rule{"INPUT", 1}, Rule{"a", 1}, Rule{"b", 1}, Rule{"b", 0}, Rule{"INPUT", 2}));
  EXPECT_THAT(walk.entries[2].path, ElementsAre(PathElement{"INPUT", 1}, PathElement{"a", 1}));
  EXPECT_THAT(walk.entries[4].path, IsEmpty());
}

TEST(LegacyWalk, EndOfAChainReachedByGotoFromABaseChainIsThePolicy) {
  BlobBuilder builder;
  builder.base(1, {{"a", true}, {"ACCEPT"}}, "DROP").chain("a", {});
  Case c{builder.table(), {}};
  EXPECT_THAT(c.order(c.walk({{{"INPUT", 1}, 1}, {{"a", 0}, 1}, {{"INPUT", 0}, 1}}, kDrop)),
              ElementsAre(Rule{"INPUT", 1}, Rule{"a", 0}, Rule{"INPUT", 0}));
}

TEST(LegacyWalk, ARuleWithoutTargetGoesOn) {
  BlobBuilder builder;
  builder.base(1, {{""}, {"ACCEPT"}}, "DROP");
  Case c{builder.table(), {}};
  const Walk walk = c.walk({{{"INPUT", 1}, 1}, {{"INPUT", 2}, 1}}, kAccept);
  EXPECT_THAT(c.order(walk), ElementsAre(Rule{"INPUT", 1}, Rule{"INPUT", 2}));
  EXPECT_THAT(walk.entries[1].path, IsEmpty());
}

TEST(LegacyWalk, AVerdictThatIsNotTheReturnedOneIsNoExplanation) {
  Case c = sample();
  EXPECT_FALSE(c.walk({{{"INPUT", 4}, 1}}, kAccept).known());
  EXPECT_FALSE(c.walk({{{"INPUT", 1}, 1}, {{"web", 3}, 1}}, kAccept).known());
}

TEST(LegacyWalk, CountsThatAreNotUsedUpAreNoExplanation) {
  Case c = sample();
  EXPECT_FALSE(c.walk({{{"INPUT", 4}, 1}, {{"web", 1}, 1}}, kDrop).known());
  EXPECT_FALSE(c.walk({{{"INPUT", 4}, 2}}, kDrop).known());
}

TEST(LegacyWalk, AnUncountedEntryThatMatchesEverythingCanNotBePassed) {
  BlobBuilder builder;
  builder.base(1, {{.target = "LOG", .conditional = false}, {"DROP"}}, "DROP");
  Case c{builder.table(), {}};
  EXPECT_FALSE(c.walk({{{"INPUT", 2}, 1}}, kDrop).known());
  EXPECT_TRUE(c.walk({{{"INPUT", 1}, 1}, {{"INPUT", 2}, 1}}, kDrop).known());
}

TEST(LegacyWalk, AChainEnteredTwiceWithOneMatchIsAmbiguous) {
  Case c = sample();
  const Walk walk = c.walk(
      {{{"INPUT", 1}, 1}, {{"INPUT", 3}, 1}, {{"web", 1}, 1}, {{"web", 0}, 2}, {{"INPUT", 4}, 1}}, kDrop);
  EXPECT_FALSE(walk.known());
  EXPECT_THAT(walk.missing, HasSubstr("more than one way"));
  EXPECT_THAT(walk.entries, IsEmpty());
}

TEST(LegacyWalk, AChainEnteredTwiceWithTwoMatchesIsNot) {
  Case c = sample();
  const Walk walk = c.walk(
      {{{"INPUT", 1}, 1}, {{"INPUT", 3}, 1}, {{"web", 1}, 2}, {{"web", 0}, 2}, {{"INPUT", 4}, 1}}, kDrop);
  EXPECT_THAT(c.order(walk), ElementsAre(Rule{"INPUT", 1}, Rule{"web", 1}, Rule{"web", 0}, Rule{"INPUT", 3},
                                         Rule{"web", 1}, Rule{"web", 0}, Rule{"INPUT", 4}));
}

TEST(LegacyWalk, TheSecondVisitIsTheOneThatEnds) {
  Case c = sample();
  const Walk walk = c.walk({{{"INPUT", 1}, 1}, {{"INPUT", 3}, 1}, {{"web", 0}, 1}, {{"web", 3}, 1}}, kDrop);
  EXPECT_THAT(c.order(walk), ElementsAre(Rule{"INPUT", 1}, Rule{"web", 0}, Rule{"INPUT", 3}, Rule{"web", 3}));
}

TEST(LegacyWalk, AnUnknownTargetGoesOnIfSomethingWasCountedAfterIt) {
  BlobBuilder builder;
  builder.base(1, {{"FROB"}, {"DROP"}}, "ACCEPT");
  Case c{builder.table(), {}};
  EXPECT_TRUE(c.walk({{{"INPUT", 1}, 1}, {{"INPUT", 2}, 1}}, kDrop).known());
  const Walk ended = c.walk({{{"INPUT", 1}, 1}}, kDrop);
  EXPECT_TRUE(ended.known());
  EXPECT_EQ(ended.end, WalkEnd::verdict) << "no match comes after it that could have dropped the packet";
}

TEST(LegacyWalk, DroppedByAMatchOfALaterRule) {
  BlobBuilder builder;
  builder.base(1, {{"LOG"}, {.target = "ACCEPT", .matches = {"tcp"}}}, "ACCEPT");
  Case c{builder.table(), {}};
  EXPECT_EQ(c.walk({{{"INPUT", 1}, 1}}, kDrop).end, WalkEnd::hotdrop);
  EXPECT_EQ(c.walk({}, kDrop).end, WalkEnd::hotdrop);
  EXPECT_FALSE(c.walk({{{"INPUT", 1}, 1}}, kAccept).known());
}

TEST(LegacyWalk, WithoutALaterMatchNothingDropsUncounted) {
  BlobBuilder builder;
  builder.base(1, {{"LOG"}, {"ACCEPT"}}, "ACCEPT");
  Case c{builder.table(), {}};
  EXPECT_FALSE(c.walk({{{"INPUT", 1}, 1}}, kDrop).known());
}

TEST(LegacyWalk, ATargetThatMayDropBeforeAMatchThatMay) {
  BlobBuilder builder;
  builder.base(1, {{"TTL"}, {.target = "ACCEPT", .matches = {"tcp"}}}, "ACCEPT");
  Case c{builder.table(), {}};
  EXPECT_EQ(c.walk({{{"INPUT", 1}, 1}}, kDrop).end, WalkEnd::target_or_hotdrop);
}

TEST(LegacyWalk, AHookTheTableDoesNotHave) {
  Case c = sample();
  EXPECT_FALSE(c.walk({{{"INPUT", 0}, 1}}, kDrop, 0).known());
  EXPECT_FALSE(c.walk({{{"INPUT", 0}, 1}}, kDrop, 77).known());
}

TEST(LegacyWalk, ASearchThatIsTooLongIsGivenUp) {
  // Each of 24 rules enters "a", whose two rules matched half of the time: no order stands out.
  BlobBuilder builder;
  std::vector<RuleSpec> rules(24, RuleSpec{"a"});
  builder.base(1, rules, "ACCEPT").chain("a", {{"LOG"}, {"MARK"}, {"LOG"}});
  Case c{builder.table(), {}};
  std::vector<std::pair<Rule, std::uint32_t>> counts;
  for (int i = 1; i <= 24; ++i) counts.push_back({{"INPUT", i}, 1});
  counts.push_back({{"a", 1}, 12});
  counts.push_back({{"a", 2}, 12});
  counts.push_back({{"a", 0}, 23});  // one too few: nothing fits
  const Walk walk = c.walk(counts, kAccept);
  EXPECT_FALSE(walk.known());
}

TEST(LegacySteps, RulesPolicyAndNoStepForTheEndOfAChain) {
  BlobBuilder builder;
  builder.base(1, {{.target = "web", .comment = "to web"}}, "DROP").chain("web", {{"LOG"}});
  Case c{builder.table(), {}};
  const Walk walk = c.walk({{{"INPUT", 1}, 1}, {{"web", 1}, 1}, {{"web", 0}, 1}, {{"INPUT", 0}, 1}}, kDrop);
  Snapshot snapshot{c.table, std::vector<std::string>(c.table.entries.size(), "text"), true};
  const std::vector<Step> result = steps(snapshot, walk, Hook::input, kDrop);
  ASSERT_EQ(result.size(), 3U);
  EXPECT_EQ(result[0].rule, 1);
  EXPECT_EQ(result[0].verdict, Verdict::jump);
  EXPECT_EQ(result[0].target, "web");
  EXPECT_EQ(result[0].comment, "to web");
  EXPECT_EQ(result[0].text, "text");
  EXPECT_EQ(result[1].chain, "web");
  EXPECT_EQ(result[1].verdict, Verdict::continue_);
  EXPECT_EQ(result[1].target, "LOG");
  EXPECT_THAT(result[1].path, ElementsAre(PathElement{"INPUT", 1}));
  EXPECT_EQ(result[2].kind, StepKind::policy);
  EXPECT_EQ(result[2].chain, "INPUT");
  EXPECT_EQ(result[2].verdict, Verdict::drop);
  EXPECT_EQ(result[2].rule, std::nullopt);
  EXPECT_EQ(result[2].hook, Hook::input);
}

TEST(LegacySteps, RejectIsAReject) {
  BlobBuilder builder;
  builder.base(1, {{"REJECT"}}, "ACCEPT");
  Case c{builder.table(), {}};
  Snapshot snapshot{c.table, std::vector<std::string>(c.table.entries.size()), true};
  const auto result = steps(snapshot, c.walk({{{"INPUT", 1}, 1}}, kDrop), Hook::input, kDrop);
  ASSERT_EQ(result.size(), 1U);
  EXPECT_EQ(result[0].verdict, Verdict::reject);
  EXPECT_EQ(result[0].target, "REJECT");
}

TEST(LegacySteps, AmbiguousNamesNoRule) {
  Case c = sample();
  Snapshot snapshot{c.table, std::vector<std::string>(c.table.entries.size()), true};
  const auto result = steps(snapshot, c.walk({{{"INPUT", 4}, 3}}, kDrop), Hook::input, kDrop);
  ASSERT_EQ(result.size(), 1U);
  EXPECT_EQ(result[0].rule, std::nullopt);
  EXPECT_EQ(result[0].chain, std::nullopt);
  EXPECT_TRUE(result[0].missing);
}

TEST(LegacySteps, VerdictWords) {
  EXPECT_EQ(verdict_word(0), Verdict::drop);
  EXPECT_EQ(verdict_word(0x10000), Verdict::drop);
  EXPECT_EQ(verdict_word(1), Verdict::accept);
  EXPECT_EQ(verdict_word(2), Verdict::stolen);
  EXPECT_EQ(verdict_word(0x10002), Verdict::drop);
  EXPECT_EQ(verdict_word(0x50003), Verdict::queue);
}

}  // namespace
}  // namespace pathtrace::legacy
