// SPDX-License-Identifier: GPL-2.0
#include "ruleset/trace_witness.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

namespace pathtrace {

namespace {

// Records that wait for their walk's end. A walk's records come right before it.
constexpr std::size_t most_records = 4096;
// A kernel log line costs some 40,000 instructions and ends up on the console: this many within a second
// hurt.
constexpr std::uint64_t flood_per_second = 200;
constexpr std::size_t most_notices = 100;
constexpr std::uint64_t second_ns = 1'000'000'000;

template <std::size_t N>
std::string text_of(const char (&field)[N]) {
  return std::string(field, strnlen(field, N));
}

bool is_same_rule(const pt_trace_log& record, const Step& step) {
  return step.kind == StepKind::rule && step.chain == text_of(record.chain) && step.rule &&
         static_cast<std::uint32_t>(*step.rule) == record.number;
}

// What one record has to say about one step.
enum class Match { same, mislabelled, end_of_chain, different };

// get_chainname_rulenum() calls an unconditional standard verdict at the end of a chain "policy" (base
// chain) or "return" (user chain), be it the policy, the implicit return or a rule that has no match.
Match compare(const pt_trace_log& record, const Step* step) {
  const std::string_view type(record.type, strnlen(record.type, sizeof record.type));
  if (step != nullptr && is_same_rule(record, *step))
    return type == "rule" ? Match::same : Match::mislabelled;
  if (type == "policy" && step != nullptr && step->kind == StepKind::policy &&
      step->chain == text_of(record.chain))
    return Match::same;
  // the implicit return of a user chain is not a rule: no step shows it
  return type == "return" ? Match::end_of_chain : Match::different;
}

// The first TRACE rule sets the mark, if it wasn't set, and is not recorded itself.
bool may_begin_at(const std::vector<Step>& steps, std::size_t first) {
  const auto is_trace = [](const Step& step) { return step.target == "TRACE"; };
  return first == 0 ||
         (is_trace(steps[first - 1]) &&
          std::none_of(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(first - 1), is_trace));
}

// Each record fits a step; some steps have none.
bool is_part(const std::vector<const pt_trace_log*>& records, const std::vector<Step>& steps) {
  std::size_t next = 0;
  for (const auto* record : records) {
    while (next < steps.size() && compare(*record, &steps[next]) == Match::different) ++next;
    if (next == steps.size() && compare(*record, nullptr) == Match::different) return false;
  }
  return true;
}

bool agree(const std::vector<const pt_trace_log*>& records, const std::vector<Step>& steps, std::size_t first,
           std::vector<const pt_trace_log*>& mislabelled) {
  std::size_t next = first;
  for (const auto* record : records) {
    const Match match = compare(*record, next < steps.size() ? &steps[next] : nullptr);
    if (match == Match::different) return false;
    if (match == Match::mislabelled) mislabelled.push_back(record);
    if (match != Match::end_of_chain) ++next;
  }
  return next == steps.size();
}

std::string in_words(const std::vector<const pt_trace_log*>& records) {
  std::string words;
  for (const auto* record : records)
    words += fmt::format("{}{}:{}:{}", words.empty() ? "" : " ", text_of(record->chain),
                         text_of(record->type), record->number);
  return words;
}

}  // namespace

void TraceWitness::tell(std::string text) {
  if (told_ > most_notices) return;
  ++told_;
  notices_.push_back(told_ > most_notices ? "more about TRACE is not said" : std::move(text));
}

void TraceWitness::note(const std::string& text) {
  if (told_ <= most_notices && said_.insert(text).second) tell(text);
}

// A rule that moves because another is inserted before it is not warned of again.
void TraceWitness::warn_of(const std::vector<TraceRule>& rules) {
  if (rules == present_) return;
  present_ = rules;
  std::map<std::string, int> alike;
  for (const TraceRule& rule : rules) {
    if (told_ > most_notices) return;
    const std::string name = fmt::format("{} {} {} {} {} {}", rule.netns.inode, word(rule.backend),
                                         word(rule.family), rule.table, rule.chain, rule.text);
    int& warnings = warned_of_[name];
    if (++alike[name] <= warnings) continue;
    ++warnings;
    tell(warning_of(rule));
  }
}

// Records of several CPUs come a little out of order.
void TraceWitness::watch_rate(std::uint64_t ts_ns) {
  if (ts_ns > second_began_ns_ + second_ns) {
    second_began_ns_ = ts_ns;
    in_this_second_ = 0;
  }
  if (++in_this_second_ <= flood_per_second || flooded_) return;
  flooded_ = true;
  const std::uint64_t took_ns = ts_ns > second_began_ns_ ? ts_ns - second_began_ns_ : 1;
  note(
      fmt::format("an iptables TRACE rule floods the kernel log: {} lines a second for traced packets alone; "
                  "remove it when "
                  "you are done with it",
                  flood_per_second * second_ns / took_ns));
}

void TraceWitness::add(const pt_trace_log& record) {
  note("a TRACE rule was hit: the kernel's own records are compared with what is shown here");
  watch_rate(record.e.ts_ns);
  if (records_.size() == most_records) {
    forgotten_ns_ = std::max<std::uint64_t>(forgotten_ns_, records_.front().e.ts_ns);
    records_.pop_front();
  }
  records_.push_back(record);
}

void TraceWitness::check(const pt_legacy_walk& walk, WalkObservation& seen) {
  std::vector<const pt_trace_log*> records;
  for (const auto& record : records_) {
    if (record.e.skb == walk.e.skb && record.e.netns == walk.e.netns && record.e.hook == walk.e.hook &&
        record.e.ts_ns >= walk.e.ts_ns && record.e.ts_ns <= walk.end_ns &&
        text_of(record.table) == seen.table)
      records.push_back(&record);
  }
  const bool named =
      std::none_of(seen.steps.begin(), seen.steps.end(), [](const Step& s) { return s.missing; });
  if (records.empty() || !named) return;
  // TRACE sets the mark in the middle of a walk: what matched before has no record.
  for (std::size_t first = 0; first <= seen.steps.size(); ++first) {
    std::vector<const pt_trace_log*> mislabelled;
    if (!may_begin_at(seen.steps, first) || !agree(records, seen.steps, first, mislabelled)) continue;
    ++agreed_;
    for (const auto* record : mislabelled)
      note(
          fmt::format("the kernel's TRACE calls {} {} rule {} \"{}\", because it ends its chain and has no "
                      "match; it is a "
                      "rule, and shown as one here",
                      seen.table, text_of(record->chain), record->number, text_of(record->type)));
    return;
  }
  // What is not among them may have been lost on its way here.
  const bool lost = walk.e.ts_ns <= forgotten_ns_ || (lost_ && lost_(walk.e.ts_ns, walk.end_ns));
  if (lost && is_part(records, seen.steps)) return;
  ++disagreed_;
  Step step;
  step.kind = StepKind::rule;
  step.backend = seen.backend;
  step.family = seen.family;
  step.table = seen.table;
  step.hook = seen.hook;
  step.verdict = seen.verdict;
  step.missing = fmt::format("the rule counters of table {} and the kernel's own TRACE ({}) disagree",
                             seen.table, in_words(records));
  seen.steps = {std::move(step)};
}

std::string TraceWitness::conclusion() const {
  if (agreed_ + disagreed_ == 0) return {};
  return fmt::format("the kernel's TRACE agrees with what is shown of {} of the {} walks that it recorded{}",
                     agreed_, agreed_ + disagreed_, disagreed_ != 0 ? "; no rule is named for the rest" : "");
}

std::vector<std::string> TraceWitness::take_notices() { return std::exchange(notices_, {}); }

}  // namespace pathtrace
