// SPDX-License-Identifier: GPL-2.0
#include "ruleset/nft_walk.h"

#include <gmock/gmock.h>
#include <linux/netfilter/nf_tables.h>

#include <cstring>
#include <utility>

namespace pathtrace::nft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int32_t kDrop = 0;
constexpr std::int32_t kAccept = 1;

Rule rule(std::uint64_t handle, int number) {
  Rule r;
  r.handle = handle;
  r.number = number;
  r.text = "text " + std::to_string(handle);
  return r;
}

// table inet fw (7): in (3) with rules 15, 16, 17; web (1) with 6, 9; deep (2) with 11
Ruleset walked() {
  Ruleset ruleset;
  Table fw{7, Family::inet, "fw", Backend::nftables, {}};
  fw.chains.push_back({1, "web", {}, {rule(6, 1), rule(9, 2)}});
  fw.chains.push_back({2, "deep", {}, {rule(11, 1)}});
  fw.chains.push_back({3, "in", Hooked{1, 0, "filter", 0}, {rule(15, 1), rule(16, 2), rule(17, 3)}});
  fw.chains[0].rules[1].rejects = true;
  fw.chains[0].rules[0].comment = "hi";
  ruleset.tables = {fw};
  return ruleset;
}

// A walk with its records behind it, as the event has it.
class Event {
 public:
  explicit Event(std::vector<pt_nft_record> records, std::uint16_t doubt = 0)
      : memory_((sizeof(pt_nft_walk) + records.size() * sizeof(pt_nft_record) + 7) / 8) {
    pt_nft_walk& w = *reinterpret_cast<pt_nft_walk*>(memory_.data());
    w.e.pf = 2;
    w.e.hook = 1;
    w.table = 7;
    w.chain = 3;
    w.doubt = doubt;
    w.n_records = static_cast<std::uint16_t>(records.size());
    if (!records.empty()) std::memcpy(w.records, records.data(), records.size() * sizeof(pt_nft_record));
  }
  const pt_nft_walk& walk() const { return *reinterpret_cast<const pt_nft_walk*>(memory_.data()); }

 private:
  std::vector<std::uint64_t> memory_;
};

pt_nft_record on(std::uint64_t handle, std::int32_t verdict, std::uint64_t target = 0) {
  return {0, handle, target, verdict, verdict == NFT_RETURN ? PT_NFT_RETURN : PT_NFT_RULE};
}
pt_nft_record chain_end() { return {0, 0, 0, NFT_CONTINUE, PT_NFT_RETURN}; }
pt_nft_record policy(std::int32_t verdict) { return {0, 0, 0, verdict, PT_NFT_POLICY}; }

std::vector<std::pair<std::string, int>> places(const WalkObservation& out) {
  std::vector<std::pair<std::string, int>> result;
  result.reserve(out.steps.size());
  for (const Step& step : out.steps) result.emplace_back(step.chain.value_or("?"), step.rule.value_or(0));
  return result;
}

using Place = std::pair<std::string, int>;

TEST(NftWalk, OnlyAChainThatIsKnownAndNoNatSeesEveryPacket) {
  const Event event({policy(kAccept)});
  Ruleset ruleset = walked();
  EXPECT_TRUE(observe(event.walk(), {&ruleset, {}}).every_packet);
  ruleset.tables[0].chains[2].hook->type = "nat";
  EXPECT_FALSE(observe(event.walk(), {&ruleset, {}}).every_packet);
  EXPECT_FALSE(observe(event.walk(), {}).every_packet);
}

TEST(NftWalk, JumpReturnAndPolicy) {
  const Ruleset ruleset = walked();
  const Event event({on(15, NFT_CONTINUE), on(16, NFT_JUMP, 1), on(6, NFT_CONTINUE), chain_end(),
                     on(17, NFT_CONTINUE), chain_end(), policy(kDrop)});
  const WalkObservation out = observe(event.walk(), {&ruleset, {}});
  EXPECT_THAT(places(out),
              ElementsAre(Place{"in", 1}, Place{"in", 2}, Place{"web", 1}, Place{"in", 3}, Place{"in", 0}));
  EXPECT_EQ(out.table, "fw");
  EXPECT_EQ(out.family, Family::inet);
  EXPECT_EQ(out.hook, Hook::input);
  EXPECT_EQ(out.verdict, Verdict::drop);
  EXPECT_EQ(out.steps[1].verdict, Verdict::jump);
  EXPECT_EQ(out.steps[1].target, "web");
  EXPECT_THAT(out.steps[2].path, ElementsAre(PathElement{"in", 2}));
  EXPECT_EQ(out.steps[2].comment, "hi");
  EXPECT_EQ(out.steps[2].text, "text 6");
  EXPECT_EQ(out.steps[2].handle, 6U);
  EXPECT_THAT(out.steps[3].path, IsEmpty());
  EXPECT_EQ(out.steps[4].kind, StepKind::policy);
  EXPECT_EQ(out.steps[4].verdict, Verdict::drop);
}

TEST(NftWalk, TheEndOfAChainAsOfLinux7) {
  const Ruleset ruleset = walked();
  const pt_nft_record end = on(0, NFT_CONTINUE);
  const Event event(
      {on(16, NFT_JUMP, 1), on(6, NFT_CONTINUE), end, on(17, NFT_CONTINUE), end, policy(kDrop)});
  const WalkObservation out = observe(event.walk(), {&ruleset, {}});
  EXPECT_THAT(places(out), ElementsAre(Place{"in", 2}, Place{"web", 1}, Place{"in", 3}, Place{"in", 0}));
  EXPECT_THAT(out.steps[2].path, IsEmpty());
}

TEST(NftWalk, GotoAndExplicitReturn) {
  const Ruleset ruleset = walked();
  // in → web, which goes to deep; the RETURN there goes back to in.
  const Event event({on(15, NFT_JUMP, 1), on(6, NFT_GOTO, 2), on(11, NFT_RETURN), on(16, kAccept)});
  const WalkObservation out = observe(event.walk(), {&ruleset, {}});
  EXPECT_THAT(places(out), ElementsAre(Place{"in", 1}, Place{"web", 1}, Place{"deep", 1}, Place{"in", 2}));
  EXPECT_THAT(out.steps[2].path, ElementsAre(PathElement{"in", 1}, PathElement{"web", 1}));
  EXPECT_EQ(out.steps[2].verdict, Verdict::return_);
  EXPECT_THAT(out.steps[3].path, IsEmpty());
  EXPECT_EQ(out.verdict, Verdict::accept);
}

TEST(NftWalk, RejectIsWhatTheRuleDoesNotWhatTheKernelReturns) {
  const Ruleset ruleset = walked();
  const Event event({on(15, NFT_JUMP, 1), on(9, kDrop)});
  const WalkObservation out = observe(event.walk(), {&ruleset, {}});
  EXPECT_EQ(out.steps[1].verdict, Verdict::reject);
  EXPECT_EQ(out.verdict, Verdict::drop);
}

TEST(NftWalk, AChainGivenByTheKernelMustAgree) {
  const Ruleset ruleset = walked();
  pt_nft_record first = on(15, NFT_JUMP, 1);
  first.chain = 3;
  pt_nft_record second = on(6, kAccept);
  second.chain = 1;
  EXPECT_EQ(observe(Event({first, second}).walk(), {&ruleset, {}}).steps.size(), 2U);
  second.chain = 2;
  const WalkObservation out = observe(Event({first, second}).walk(), {&ruleset, {}});
  ASSERT_EQ(out.steps.size(), 1U);
  EXPECT_EQ(out.steps[0].rule, std::nullopt);
  EXPECT_EQ(out.steps[0].handle, std::nullopt);
  EXPECT_THAT(*out.steps[0].missing, HasSubstr("do not follow"));
}

TEST(NftWalk, ALostRecordShowsAsARuleInTheWrongChain) {
  const Ruleset ruleset = walked();
  // The jump to web is missing.
  const WalkObservation out = observe(Event({on(6, NFT_CONTINUE), on(9, kDrop)}).walk(), {&ruleset, {}});
  ASSERT_EQ(out.steps.size(), 1U);
  EXPECT_EQ(out.steps[0].rule, std::nullopt);
  EXPECT_TRUE(out.steps[0].missing);
  EXPECT_EQ(out.verdict, Verdict::drop) << "the end of the walk was seen";
}

TEST(NftWalk, ADoubtNamesNoRule) {
  const Ruleset ruleset = walked();
  const WalkObservation out = observe(Event({on(15, kAccept)}, PT_DOUBT_INCOMPLETE).walk(), {&ruleset, {}});
  ASSERT_EQ(out.steps.size(), 1U);
  EXPECT_EQ(out.steps[0].rule, std::nullopt);
  EXPECT_EQ(out.steps[0].missing, "the walk's last record was not seen");
}

TEST(NftWalk, ARuleKnownFromAnotherTimeHasItsTextButNoNumber) {
  const Ruleset ruleset = walked();
  const WalkObservation out =
      observe(Event({on(16, NFT_JUMP, 1), on(6, kAccept)}).walk(), {nullptr, {&ruleset}});
  ASSERT_EQ(out.steps.size(), 2U);
  EXPECT_EQ(out.steps[0].rule, std::nullopt);
  EXPECT_EQ(out.steps[0].handle, 16U);
  EXPECT_EQ(out.steps[0].text, "text 16");
  EXPECT_EQ(out.steps[0].chain, "in");
  EXPECT_TRUE(out.steps[0].missing);
  EXPECT_THAT(out.steps[1].path, IsEmpty()) << "a path is made of numbers";
}

TEST(NftWalk, ARuleThatIsGone) {
  Ruleset ruleset = walked();
  Evidence evidence{nullptr, {&ruleset}};
  evidence.read_since = true;
  const WalkObservation out = observe(Event({on(18, kDrop)}).walk(), evidence);
  ASSERT_EQ(out.steps.size(), 1U);
  EXPECT_EQ(out.steps[0].handle, 18U);
  EXPECT_EQ(out.steps[0].text, std::nullopt);
  EXPECT_EQ(out.steps[0].chain, "in");
  EXPECT_EQ(out.steps[0].missing, "rule handle 18 was removed before it could be resolved");
}

TEST(NftWalk, ARuleThatWasNotReadIsNotSaidToBeGone) {
  Ruleset ruleset = walked();
  Evidence evidence{nullptr, {&ruleset}};
  const auto missing = [&] { return observe(Event({on(18, kDrop)}).walk(), evidence).steps.at(0).missing; };
  EXPECT_EQ(missing(), "rule handle 18 could not be resolved: the ruleset was not read since");
  evidence.failure = "network namespace 7 is gone";
  EXPECT_EQ(
      missing(),
      "rule handle 18 could not be resolved: the ruleset was not read since (network namespace 7 is gone)");
}

// Which of two rulesets it went through is not known, unless one of its rules is in one of them only.
TEST(NftWalk, RightAfterAChange) {
  const Ruleset more = walked();
  Ruleset fewer = walked();
  std::vector<Rule>& in = fewer.tables[0].chains[2].rules;
  in = {rule(16, 1), rule(17, 3)};
  const auto step = [](const Ruleset& now, const Ruleset& before, std::uint64_t handle) {
    Evidence evidence{&now, {&before}};
    evidence.just_changed = true;
    evidence.before = &before;
    return observe(Event({on(handle, kDrop)}).walk(), evidence).steps.at(0);
  };
  for (const bool inserted : {true, false}) {
    const Step only_one = inserted ? step(more, fewer, 15) : step(fewer, more, 15);
    EXPECT_EQ(only_one.rule, 1);
    EXPECT_EQ(only_one.missing, std::nullopt);
  }
  const Step moved = step(more, fewer, 16);
  EXPECT_EQ(moved.rule, std::nullopt);
  EXPECT_EQ(moved.text, "text 16");
  EXPECT_EQ(moved.missing,
            "the ruleset was just being changed: the rule's handle is certain, its number at the time is not "
            "known");
  EXPECT_EQ(step(more, fewer, 17).rule, 3);
}

TEST(NftWalk, AnotherTableWithTheSameNameIsNotTheTable) {
  Ruleset ruleset = walked();
  ruleset.tables[0].handle = 8;  // deleted and made again
  const WalkObservation out = observe(Event({on(15, kDrop)}).walk(), {nullptr, {&ruleset}});
  ASSERT_EQ(out.steps.size(), 1U);
  EXPECT_EQ(out.steps[0].text, std::nullopt);
  EXPECT_EQ(out.steps[0].table, std::nullopt);
  EXPECT_EQ(out.table, "");
}

TEST(NftWalk, AnOlderRulesetNamesWhatTheNewerHasNoMore) {
  const Ruleset older = walked();
  Ruleset newer = walked();
  newer.tables[0].chains[2].rules.erase(newer.tables[0].chains[2].rules.begin());
  const WalkObservation out = observe(Event({on(15, kDrop)}).walk(), {nullptr, {&newer, &older}});
  EXPECT_EQ(out.steps[0].text, "text 15");
}

TEST(NftWalk, StolenWithAnErrnoIsADrop) {
  const Ruleset ruleset = walked();
  const WalkObservation out = observe(Event({on(15, 0x10002)}).walk(), {&ruleset, {}});
  EXPECT_EQ(out.steps[0].verdict, Verdict::drop);
  EXPECT_EQ(observe(Event({on(15, 2)}).walk(), {&ruleset, {}}).steps[0].verdict, Verdict::stolen);
  EXPECT_EQ(observe(Event({on(15, 0x50003)}).walk(), {&ruleset, {}}).steps[0].verdict, Verdict::queue);
}

TEST(NftWalk, WithoutAnEndTheRulesStandAndTheEndIsMissing) {
  const Ruleset ruleset = walked();
  const WalkObservation out = observe(Event({on(15, NFT_CONTINUE)}).walk(), {&ruleset, {}});
  ASSERT_EQ(out.steps.size(), 2U);
  EXPECT_EQ(out.steps[0].rule, 1);
  EXPECT_TRUE(out.steps[1].missing);
  EXPECT_EQ(out.verdict, Verdict::continue_);
}

TEST(NftWalk, AHandleThatCouldNotBeReadNamesNoRule) {
  const Ruleset ruleset = walked();
  const WalkObservation out = observe(Event({on(0, NFT_JUMP, 1), on(6, kDrop)}).walk(), {&ruleset, {}});
  ASSERT_EQ(out.steps.size(), 2U);
  EXPECT_EQ(out.steps[0].handle, std::nullopt);
  EXPECT_EQ(out.steps[0].rule, std::nullopt);
  EXPECT_EQ(out.steps[0].missing, "the handle of the rule could not be read");
  EXPECT_EQ(out.steps[1].rule, 1);
  EXPECT_THAT(out.steps[1].path, IsEmpty());
}

TEST(NftWalk, NothingKnownAtAll) {
  const WalkObservation out = observe(Event({on(15, kDrop), policy(kDrop)}).walk(), {});
  EXPECT_THAT(out.steps[0].missing, testing::Optional(HasSubstr("15")));
  EXPECT_EQ(observe(Event({}).walk(), {}).steps.size(), 1U);
}

// What is seen without the trace key: verdicts, and what the traversal returned.
class Verdicts {
 public:
  Verdicts(std::vector<pt_nft_record> records, std::uint32_t returned, std::uint8_t policy)
      : event_(std::move(records)) {
    auto& walk = const_cast<pt_nft_walk&>(event_.walk());
    walk.seen = PT_NFT_SEEN_VERDICTS;
    walk.verdict = returned;
    walk.policy = policy;
    walk.e.ts_ns = 100;
  }
  const pt_nft_walk& walk() const { return event_.walk(); }

 private:
  Event event_;
};

pt_nft_record in_chain(std::uint64_t chain, pt_nft_record record) {
  record.chain = chain;
  return record;
}

Ruleset sample_that_ends(const std::string& expression) {
  Ruleset ruleset = walked();
  ruleset.tables[0].chains[0].rules[1].ends = {expression};
  return ruleset;
}

TEST(NftVerdicts, TheEndOfAChainIsNotSeenAndTheWayIsKnownAllTheSame) {
  const Ruleset ruleset = walked();
  const Verdicts event({in_chain(3, on(15, NFT_JUMP, 1)), in_chain(1, on(6, NFT_JUMP, 2)),
                        in_chain(3, on(16, NFT_JUMP, 2)), in_chain(2, on(11, kDrop))},
                       kDrop, kAccept);
  const WalkObservation out = observe(event.walk(), {&ruleset, {}});
  EXPECT_THAT(places(out), ElementsAre(Place{"in", 1}, Place{"web", 1}, Place{"in", 2}, Place{"deep", 1}));
  EXPECT_THAT(out.steps[3].path, ElementsAre(PathElement{"in", 2}));
  EXPECT_EQ(out.steps[3].verdict, Verdict::drop);
  EXPECT_EQ(out.verdict, Verdict::drop);
}

TEST(NftVerdicts, ADropThatTheKernelFreedItselfAgreesWithItsRule) {
  const Ruleset ruleset = walked();
  const Verdicts event({in_chain(3, on(15, kDrop))}, 0x10002, kAccept);
  const WalkObservation out = observe(event.walk(), {&ruleset, {}});
  EXPECT_THAT(places(out), ElementsAre(Place{"in", 1}));
  EXPECT_EQ(out.verdict, Verdict::drop);
}

TEST(NftVerdicts, ARuleThatDoesNotAgreeWithWhatWasReturnedIsNotBlamed) {
  const Ruleset ruleset = walked();
  const Verdicts event({in_chain(3, on(15, kAccept))}, kDrop, kAccept);
  const WalkObservation out = observe(event.walk(), {&ruleset, {}});
  ASSERT_EQ(out.steps.size(), 1U);
  EXPECT_EQ(out.steps[0].rule, std::nullopt);
  EXPECT_TRUE(out.steps[0].missing);
}

TEST(NftVerdicts, ThePolicyDecidedWhereEverythingElseWasWatched) {
  const Ruleset ruleset = sample_that_ends("reject");
  const Watched watched{{"reject inet", 50}};
  const Evidence evidence{&ruleset, {}, &watched};
  const WalkObservation out = observe(Verdicts({}, kDrop, kDrop).walk(), evidence);
  ASSERT_EQ(out.steps.size(), 1U);
  EXPECT_EQ(out.steps[0].kind, StepKind::policy);
  EXPECT_EQ(out.steps[0].chain, "in");
  EXPECT_EQ(out.steps[0].verdict, Verdict::drop);
  EXPECT_EQ(out.steps[0].missing, std::nullopt);
}

TEST(NftVerdicts, ThePolicyIsNotBlamedWhereAProgramMayHaveBeenLeftOut) {
  const Ruleset ruleset = sample_that_ends("reject");
  const Watched watched{{"reject inet", 50}};
  const Verdicts event({}, kDrop, kDrop);
  for (const bool left_out : {true, false}) {
    const LeftOut asked = [&](std::uint64_t begin_ns, std::uint64_t end_ns) {
      EXPECT_EQ(begin_ns, event.walk().e.ts_ns);
      EXPECT_EQ(end_ns, event.walk().end_ns);
      return left_out;
    };
    const WalkObservation out = observe(event.walk(), {&ruleset, {}, &watched, &asked});
    ASSERT_EQ(out.steps.size(), 1U);
    EXPECT_EQ(out.steps[0].kind, left_out ? StepKind::rule : StepKind::policy);
    EXPECT_EQ(out.steps[0].missing.has_value(), left_out);
  }
}

// Each of these could be told for the policy's doing, wrongly.
TEST(NftVerdicts, ThePolicyIsNotBlamedForWhatWasNotWatched) {
  const Ruleset ruleset = sample_that_ends("reject");
  const auto told = [&](const Watched* watched, std::uint8_t policy, bool tied) {
    Evidence evidence{tied ? &ruleset : nullptr, {}, watched};
    if (!tied) evidence.others = {&ruleset};
    const WalkObservation out = observe(Verdicts({}, kDrop, policy).walk(), evidence);
    EXPECT_EQ(out.steps.size(), 1U);
    EXPECT_EQ(out.steps[0].kind, StepKind::rule);
    EXPECT_EQ(out.steps[0].verdict, Verdict::drop);
    return out.steps[0].missing.value_or("");
  };
  const Watched nothing;
  const Watched other_family{{"reject ip", 50}};
  const Watched too_late{{"reject inet", 101}};
  const Watched all{{"reject inet", 50}};
  EXPECT_THAT(told(nullptr, kDrop, true), HasSubstr("\"reject\""));
  EXPECT_THAT(told(&nothing, kDrop, true), HasSubstr("\"reject\""));
  EXPECT_THAT(told(&other_family, kDrop, true), HasSubstr("\"reject\""));
  EXPECT_THAT(told(&too_late, kDrop, true), HasSubstr("\"reject\""));
  EXPECT_THAT(told(&all, kDrop, false), HasSubstr("changed since"));
  EXPECT_THAT(told(&all, kAccept, true), HasSubstr("not the policy"));
}

TEST(NftWalk, EveryDoubtHasWords) {
  EXPECT_EQ(doubt_words(0), "");
  for (std::uint32_t bit = 1; bit <= PT_DOUBT_INCOMPLETE; bit <<= 1)
    EXPECT_THAT(doubt_words(bit), testing::Not(HasSubstr("unknown"))) << bit;
  EXPECT_THAT(doubt_words(1U << 15), HasSubstr("unknown"));
  EXPECT_THAT(doubt_words(PT_DOUBT_TABLE_REPLACED | PT_DOUBT_MIGRATED), HasSubstr("; "));
}

}  // namespace
}  // namespace pathtrace::nft
