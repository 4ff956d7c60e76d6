// SPDX-License-Identifier: GPL-2.0
#include "ruleset/legacy_steps.h"

namespace pathtrace::legacy {
namespace {

Step step_of(const Table& table, const Entry& entry, std::optional<Hook> hook) {
  Step step;
  step.kind = entry.kind == EntryKind::policy ? StepKind::policy : StepKind::rule;
  step.backend = Backend::iptables_legacy;
  step.family = table.family;
  step.table = table.name;
  step.chain = table.chain_of(entry).name;
  step.hook = hook;
  return step;
}

// What the rule did; `last`: it is the one that ended the walk with `verdict`.
Verdict rule_verdict(const Target& target, bool last, std::uint32_t verdict) {
  switch (target.kind) {
    case TargetKind::verdict:
      return verdict_word(target.verdict);
    case TargetKind::return_:
      return Verdict::return_;
    case TargetKind::jump:
      return Verdict::jump;
    case TargetKind::go_to:
      return Verdict::go_to;
    case TargetKind::extension:
      if (!last) return Verdict::continue_;
      if (target.extension.name == "REJECT") return Verdict::reject;
      return verdict_word(verdict);
    case TargetKind::fall_through:
    case TargetKind::error:
      break;
  }
  return Verdict::continue_;
}

std::optional<std::string> target_name(const Table& table, const Target& target) {
  if (target.kind == TargetKind::extension) return target.extension.name;
  if (target.kind == TargetKind::jump || target.kind == TargetKind::go_to)
    return table.chain_of(table.entries[target.to]).name;
  return std::nullopt;
}

}  // namespace

Verdict verdict_word(std::uint32_t raw) {
  switch (raw & 0xff) {
    case 0:
      return Verdict::drop;  // NF_DROP
    case 2:
      return (raw >> 16) != 0 ? Verdict::drop : Verdict::stolen;  // NF_STOLEN
    case 3:
      return Verdict::queue;  // NF_QUEUE
    default:
      return Verdict::accept;  // NF_ACCEPT, NF_STOP
  }
}

Step missing_step(Family family, const std::string& table, std::optional<Hook> hook, std::string why) {
  Step step;
  step.kind = StepKind::rule;
  step.backend = Backend::iptables_legacy;
  step.family = family;
  if (!table.empty()) step.table = table;
  step.hook = hook;
  step.missing = std::move(why);
  return step;
}

std::vector<Step> steps(const Snapshot& snapshot, const Walk& walk, std::optional<Hook> hook,
                        std::uint32_t verdict) {
  const Table& table = snapshot.table;
  if (!walk.known()) return {missing_step(table.family, table.name, hook, walk.missing)};
  std::vector<Step> result;
  for (std::size_t i = 0; i < walk.entries.size(); ++i) {
    const Entry& entry = table.entries[walk.entries[i].index];
    if (entry.kind == EntryKind::chain_end) continue;
    const bool last = i + 1 == walk.entries.size();
    Step step = step_of(table, entry, hook);
    step.verdict = rule_verdict(entry.target, last && walk.end == WalkEnd::verdict, verdict);
    step.path = walk.entries[i].path;
    if (entry.kind == EntryKind::rule) {
      step.rule = entry.number;
      step.target = target_name(table, entry.target);
      step.text = snapshot.text[walk.entries[i].index];
      step.comment = comment(table, entry);
      if (last && walk.end == WalkEnd::target_or_hotdrop) step.verdict.reset();
    }
    result.push_back(std::move(step));
  }
  const char* why =
      walk.end == WalkEnd::hotdrop             ? "dropped by a match of a later rule, which no counter shows"
      : walk.end == WalkEnd::target_or_hotdrop ? "dropped by the target of the last rule or by a match of a "
                                                 "later one: the counters do not tell which"
      : walk.end == WalkEnd::stack_overflow    ? "dropped because the jump stack was full"
                                               : nullptr;
  if (why != nullptr) result.push_back(missing_step(table.family, table.name, hook, why));
  return result;
}

}  // namespace pathtrace::legacy
