// SPDX-License-Identifier: GPL-2.0
// The kernel's TRACE beside the counters: who is believed, and what the user is told.
#include "ruleset/trace_witness.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <string_view>

namespace pathtrace {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kSkb = 0xffff888000001000;

// "INPUT:rule:2", as in the kernel's own line, at `ts_ns`.
pt_trace_log record(std::string_view chain, std::string_view type, std::uint32_t number,
                    std::uint64_t ts_ns = 150) {
  pt_trace_log log{};
  log.e.skb = kSkb;
  log.e.netns = 7;
  log.e.hook = 1;
  log.e.ts_ns = ts_ns;
  std::string_view("filter").copy(log.table, sizeof log.table);
  chain.copy(log.chain, sizeof log.chain);
  type.copy(log.type, sizeof log.type);
  log.number = number;
  return log;
}

pt_legacy_walk legacy_walk() {
  pt_legacy_walk w{};
  w.e.skb = kSkb;
  w.e.netns = 7;
  w.e.hook = 1;
  w.e.ts_ns = 100;
  w.end_ns = 200;
  return w;
}

Step rule(const std::string& chain, int number, Verdict verdict) {
  Step step;
  step.kind = StepKind::rule;
  step.chain = chain;
  step.rule = number;
  step.verdict = verdict;
  return step;
}

TraceRule trace_rule(const std::string& chain, int number) {
  TraceRule rule;
  rule.netns.inode = 7;
  rule.netns.name = "h";
  rule.table = "raw";
  rule.chain = chain;
  rule.number = number;
  rule.text = "-j TRACE";
  return rule;
}

Step policy(const std::string& chain) {
  Step step;
  step.kind = StepKind::policy;
  step.chain = chain;
  step.verdict = Verdict::accept;
  return step;
}

struct Witness : testing::Test {
  TraceWitness witness;

  // What is left of `steps` after the kernel had its say.
  std::vector<Step> checked(const std::vector<pt_trace_log>& records, std::vector<Step> steps) {
    WalkObservation seen;
    seen.backend = Backend::iptables_legacy;
    seen.family = Family::ip;
    seen.table = "filter";
    seen.hook = Hook::input;
    seen.verdict = steps.empty() ? Verdict::accept : steps.back().verdict.value_or(Verdict::drop);
    seen.steps = std::move(steps);
    for (const pt_trace_log& one : records) witness.add(one);
    witness.check(legacy_walk(), seen);
    return seen.steps;
  }
  std::vector<std::string> told(std::string_view about) {
    std::vector<std::string> all = witness.take_notices();
    std::erase_if(all, [about](const std::string& n) { return n.find(about) == std::string::npos; });
    return all;
  }
};

void expect_partial(const std::vector<Step>& steps, Verdict verdict) {
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].chain, std::nullopt);
  EXPECT_EQ(steps[0].rule, std::nullopt);
  EXPECT_EQ(steps[0].table, "filter");
  EXPECT_EQ(steps[0].hook, Hook::input);
  EXPECT_EQ(steps[0].verdict, verdict);
  EXPECT_THAT(steps[0].missing, testing::Optional(HasSubstr("disagree")));
}

TEST_F(Witness, Agrees) {
  const std::vector<Step> steps = {rule("INPUT", 2, Verdict::jump), rule("web", 1, Verdict::continue_),
                                   policy("INPUT")};
  EXPECT_EQ(
      checked({record("INPUT", "rule", 2), record("web", "rule", 1), record("INPUT", "policy", 4)}, steps),
      steps);
  EXPECT_EQ(witness.agreed(), 1U);
  EXPECT_THAT(witness.take_notices(), ElementsAre(HasSubstr("a TRACE rule was hit")));
}

TEST_F(Witness, AgreesFromWhereTheMarkWasSet) {
  std::vector<Step> steps = {rule("INPUT", 1, Verdict::continue_), rule("INPUT", 2, Verdict::continue_),
                             rule("INPUT", 3, Verdict::drop)};
  steps[1].target = "TRACE";
  EXPECT_EQ(checked({record("INPUT", "rule", 3)}, steps), steps);
  EXPECT_EQ(witness.agreed(), 1U);
}

TEST_F(Witness, ButNotFromElsewhere) {
  const std::vector<Step> steps = {rule("INPUT", 1, Verdict::continue_), rule("INPUT", 2, Verdict::continue_),
                                   rule("INPUT", 3, Verdict::drop)};
  EXPECT_NE(checked({record("INPUT", "rule", 3)}, steps), steps);
  EXPECT_EQ(witness.agreed(), 0U);
}

TEST_F(Witness, OfWhichRecordsWereLostSaysNothingOfTheRest) {
  const std::vector<Step> steps = {rule("INPUT", 1, Verdict::continue_), rule("INPUT", 3, Verdict::drop)};
  const auto left = [&](bool lost, std::uint32_t number) {
    witness = TraceWitness([lost](std::uint64_t begin_ns, std::uint64_t end_ns) {
      EXPECT_EQ(begin_ns, legacy_walk().e.ts_ns);
      EXPECT_EQ(end_ns, legacy_walk().end_ns);
      return lost;
    });
    return checked({record("INPUT", "rule", number)}, steps);
  };
  EXPECT_NE(left(false, 3), steps);
  EXPECT_EQ(left(true, 3), steps);
  EXPECT_EQ(witness.agreed(), 0U);
  EXPECT_NE(left(true, 2), steps) << "what it does say still counts";
}

TEST_F(Witness, TheReturnAtAChainsEndIsNoRule) {
  const std::vector<Step> steps = {rule("INPUT", 1, Verdict::jump), policy("INPUT")};
  EXPECT_EQ(
      checked({record("INPUT", "rule", 1), record("web", "return", 3), record("INPUT", "policy", 2)}, steps),
      steps);
  EXPECT_EQ(witness.agreed(), 1U);
  EXPECT_THAT(told("calls"), IsEmpty());
}

// kernel.md 2.3: an unconditional standard verdict is called "policy" in a base chain, "return" in another.
TEST_F(Witness, ExplainsWhatTheKernelMislabels) {
  const std::vector<Step> accept = {rule("INPUT", 3, Verdict::accept)};
  EXPECT_EQ(checked({record("INPUT", "policy", 3)}, accept), accept);
  EXPECT_THAT(told("calls"),
              ElementsAre(AllOf(HasSubstr("INPUT rule 3 \"policy\""), HasSubstr("it is a rule"))));
}

TEST_F(Witness, ExplainsItInAUserChainToo) {
  const std::vector<Step> drop = {rule("INPUT", 1, Verdict::jump), rule("web", 2, Verdict::drop)};
  EXPECT_EQ(checked({record("INPUT", "rule", 1), record("web", "return", 2)}, drop), drop);
  EXPECT_THAT(told("calls"), ElementsAre(HasSubstr("web rule 2 \"return\"")));
  EXPECT_EQ(witness.agreed(), 1U);
}

TEST_F(Witness, ExplainsItOnce) {
  const std::vector<Step> accept = {rule("INPUT", 3, Verdict::accept)};
  (void)checked({record("INPUT", "policy", 3)}, accept);
  (void)checked({}, accept);
  EXPECT_THAT(told("calls"), SizeIs(1));
}

TEST_F(Witness, SaysAtTheEndWhatCameOfIt) {
  EXPECT_EQ(witness.conclusion(), "");
  checked({record("INPUT", "rule", 2)}, {rule("INPUT", 2, Verdict::drop)});
  EXPECT_EQ(witness.conclusion(),
            "the kernel's TRACE agrees with what is shown of 1 of the 1 walks that it recorded");
  checked({record("INPUT", "rule", 2)}, {rule("INPUT", 1, Verdict::drop)});
  EXPECT_EQ(witness.conclusion(),
            "the kernel's TRACE agrees with what is shown of 1 of the 2 walks that it recorded; no rule is "
            "named for the rest");
}

TEST_F(Witness, AnotherRuleIsNamedByNeither) {
  expect_partial(checked({record("INPUT", "rule", 2)}, {rule("INPUT", 3, Verdict::drop)}), Verdict::drop);
  EXPECT_EQ(witness.agreed(), 0U);
}

TEST_F(Witness, NorIsOneThatTheKernelDidNotLog) {
  expect_partial(checked({record("INPUT", "rule", 1)}, {rule("INPUT", 1, Verdict::jump), policy("INPUT")}),
                 Verdict::accept);
}

TEST_F(Witness, NorOneThatOnlyTheKernelSaw) {
  const auto steps =
      checked({record("INPUT", "rule", 1), record("INPUT", "rule", 2), record("INPUT", "policy", 3)},
              {rule("INPUT", 1, Verdict::continue_), policy("INPUT")});
  expect_partial(steps, Verdict::accept);
  EXPECT_THAT(*steps.at(0).missing, HasSubstr("INPUT:rule:1 INPUT:rule:2 INPUT:policy:3"));
}

TEST_F(Witness, ThePolicyOfAnotherChain) {
  expect_partial(checked({record("OUTPUT", "policy", 1)}, {policy("INPUT")}), Verdict::accept);
}

TEST_F(Witness, HasNothingToSayOfOtherWalks) {
  const std::vector<Step> steps = {rule("INPUT", 3, Verdict::drop)};
  std::vector<pt_trace_log> others(6, record("INPUT", "rule", 1));
  others[0].e.skb = kSkb + 256;
  others[1].e.netns = 8;
  others[2].e.hook = 2;
  others[3].e.ts_ns = 99;
  others[4].e.ts_ns = 201;
  std::string_view("mangle").copy(others[5].table, sizeof others[5].table);
  EXPECT_EQ(checked(others, steps), steps);
  EXPECT_EQ(witness.agreed(), 0U);
}

TEST_F(Witness, LeavesWhatIsMissingAlready) {
  Step step = rule("INPUT", 1, Verdict::drop);
  step.missing = "lost";
  EXPECT_EQ(checked({record("INPUT", "rule", 2)}, {step}), std::vector<Step>{step});
}

TEST_F(Witness, ManyRecordsOnlyTheLastCount) {
  for (int i = 0; i < 5000; ++i) witness.add(record("OUTPUT", "rule", 9));
  const std::vector<Step> steps = {rule("INPUT", 3, Verdict::drop)};
  WalkObservation seen;
  seen.table = "filter";
  seen.steps = steps;
  witness.check(legacy_walk(), seen);
  EXPECT_NE(seen.steps, steps);
  for (int i = 0; i < 4096; ++i) witness.add(record("OUTPUT", "rule", 9, 900));
  seen.steps = steps;
  witness.check(legacy_walk(), seen);
  EXPECT_EQ(seen.steps, steps);
}

TEST_F(Witness, AFloodIsSaidOnceWithItsRate) {
  constexpr std::uint64_t ms = 1'000'000;
  for (std::uint64_t i = 0; i < 1000; ++i) witness.add(record("INPUT", "rule", 1, (5000 + i) * ms));
  EXPECT_THAT(told("floods"), ElementsAre(HasSubstr("1000 lines a second")));
  for (std::uint64_t i = 0; i < 9000; ++i) witness.add(record("INPUT", "rule", 1, 9000 * ms + i));
  EXPECT_THAT(told("floods"), IsEmpty());
}

TEST_F(Witness, FewLinesAreNoFlood) {
  constexpr std::uint64_t ms = 1'000'000;
  for (std::uint64_t i = 0; i < 2000; ++i) witness.add(record("INPUT", "rule", 1, (5000 + 6 * i) * ms));
  EXPECT_THAT(told("floods"), IsEmpty());
}

TEST_F(Witness, RecordsOutOfOrderAreNoNewSecond) {
  for (std::uint64_t i = 0; i < 300; ++i) witness.add(record("INPUT", "rule", 1, 5'000'000'000 - i % 2));
  EXPECT_THAT(told("floods"), SizeIs(1));
}

TEST_F(Witness, WarnsOfEachRuleOnce) {
  TraceRule first = trace_rule("PREROUTING", 1);
  TraceRule second = first;
  second.number = 2;
  witness.warn_of({first});
  witness.warn_of({first});
  EXPECT_THAT(witness.take_notices(), SizeIs(1));
  witness.warn_of({first, second});  // alike, but two
  EXPECT_THAT(witness.take_notices(), ElementsAre(HasSubstr("PREROUTING rule 2")));
  first.number = 3;
  second.number = 4;
  witness.warn_of({first, second});  // moved
  witness.warn_of({});
  witness.warn_of({first});
  EXPECT_THAT(witness.take_notices(), IsEmpty());
  first.netns.inode = 8;
  witness.warn_of({first});
  EXPECT_THAT(witness.take_notices(), SizeIs(1));
}

TEST_F(Witness, StopsAtTooManyNoticesAndSaysSo) {
  std::vector<TraceRule> rules;
  for (int i = 1; i <= 500; ++i) rules.push_back(trace_rule("chain" + std::to_string(i), 1));
  witness.warn_of(rules);
  const auto notices = witness.take_notices();
  EXPECT_EQ(notices.size(), 101U);
  EXPECT_EQ(notices.back(), "more about TRACE is not said");
  witness.add(record("INPUT", "rule", 1));
  EXPECT_THAT(witness.take_notices(), IsEmpty());
}

}  // namespace
}  // namespace pathtrace
