// SPDX-License-Identifier: GPL-2.0
// The chain of each record follows from the jumps before it, as nft_do_chain
// (net/netfilter/nf_tables_core.c) keeps its jump stack: JUMP pushes, GOTO doesn't, an
// explicit RETURN or the end of a chain pops. Up to 6.3 the records also name their chain;
// there the two must agree.
#include "ruleset/nft_walk.h"

#include <fmt/format.h>
#include <linux/netfilter/nf_tables.h>

#include <array>
#include <span>
#include <string_view>

namespace pathtrace::nft {
namespace {

constexpr std::int32_t kDrop = 0;    // NF_DROP
constexpr std::int32_t kStolen = 2;  // NF_STOLEN
constexpr std::int32_t kQueue = 3;   // NF_QUEUE

// From 6.7 (and 6.1.192) on a dropping rule may be seen as NF_DROP_REASON's
// (errno << 16) | NF_STOLEN.
Verdict verdict_word(std::int32_t raw) {
  switch (raw) {
    case NFT_CONTINUE:
    case NFT_BREAK:
      return Verdict::continue_;
    case NFT_JUMP:
      return Verdict::jump;
    case NFT_GOTO:
      return Verdict::go_to;
    case NFT_RETURN:
      return Verdict::return_;
    default:
      break;
  }
  switch (raw & 0xff) {
    case kDrop:
      return Verdict::drop;
    case kStolen:
      return (raw >> 16) != 0 ? Verdict::drop : Verdict::stolen;
    case kQueue:
      return Verdict::queue;
    default:
      return Verdict::accept;
  }
}

bool ends_walk(const pt_nft_record& record) { return record.type == PT_NFT_POLICY || record.verdict >= 0; }

// The end of a chain, where a packet goes back without a RETURN. nft_do_chain reports it with the
// pointer behind the last rule: as type RETURN on 6.1, but on 6.12 and 7.2 as a RULE that continues,
// which has no handle (nft_rule_dp with is_last set; handles of rules begin at 1).
bool is_chain_end(const pt_nft_record& record) {
  if (record.verdict != NFT_CONTINUE && record.verdict != NFT_BREAK) return false;
  return record.type == PT_NFT_RETURN || (record.type == PT_NFT_RULE && record.rule == 0);
}

struct Place {
  const Table* table = nullptr;
  const Chain* chain = nullptr;
  const Rule* rule = nullptr;
};

Place look_up(const Ruleset& ruleset, std::uint64_t table, std::uint64_t chain, std::uint64_t rule) {
  Place found;
  found.table = ruleset.find(table);
  if (found.table != nullptr) found.chain = found.table->find(chain);
  if (found.chain != nullptr) found.rule = found.chain->find(rule);
  return found;
}

class Follower {
 public:
  Follower(const pt_nft_walk& walk, const Evidence& evidence)
      : walk_(walk), evidence_(evidence), chain_(walk.chain) {
    if (evidence.tied != nullptr) rulesets_.push_back(evidence.tied);
    rulesets_.insert(rulesets_.end(), evidence.others.begin(), evidence.others.end());
  }

  WalkObservation run() {
    describe();
    const std::string doubt = doubt_words(walk_.doubt);
    if (!doubt.empty()) return nothing(doubt);
    const std::span records(walk_.records, walk_.n_records);
    for (const pt_nft_record& record : records) {
      follow(record);
      if (!broken_.empty()) return nothing(broken_);
    }
    if (by_verdicts()) return end_by_verdicts(records);
    if (records.empty() || !ends_walk(records.back())) {
      // Each record stands for itself; only the end is not known.
      out_.steps.push_back(missing("the walk's last record was not seen"));
      return std::move(out_);
    }
    out_.verdict = verdict_word(records.back().verdict);
    return std::move(out_);
  }

 private:
  // What is the same for all steps.
  void describe() {
    out_.end_ns = static_cast<std::int64_t>(walk_.end_ns);
    out_.family = family_of(walk_.e.pf).value_or(Family::inet);
    for (const Ruleset* ruleset : rulesets_) {
      const Table* table = ruleset->find(walk_.table);
      if (table == nullptr) continue;
      out_.family = table->family;
      out_.table = table->name;
      out_.backend = table->backend;
      const Chain* chain = table->find(walk_.chain);
      out_.every_packet = chain != nullptr && chain->hook && chain->hook->type != "nat";
      known_table_ = true;
      break;
    }
    if (const auto family = family_of(walk_.e.pf)) out_.hook = hook_word(*family, walk_.e.hook);
    if (by_verdicts()) {
      out_.verdict = verdict_word(static_cast<std::int32_t>(walk_.verdict));
      return;
    }
    // The last word on the packet's fate, whatever is known of the way there; none seen: it
    // went on to an end that is not known.
    out_.verdict = Verdict::continue_;
    for (const pt_nft_record& record : std::span(walk_.records, walk_.n_records))
      if (ends_walk(record)) out_.verdict = verdict_word(record.verdict);
  }

  [[nodiscard]] Step blank(StepKind kind) const {
    Step step;
    step.kind = kind;
    if (known_table_) {
      step.backend = out_.backend;
      step.family = out_.family;
      step.table = out_.table;
    }
    step.hook = out_.hook;
    // not known of a packet that was taken away before its first record (steal_enter)
    if (walk_.chain != 0) step.priority = walk_.priority;
    return step;
  }

  [[nodiscard]] Step missing(std::string why) const {
    Step step = blank(StepKind::rule);
    step.missing = std::move(why);
    return step;
  }

  WalkObservation nothing(const std::string& why) {
    out_.steps.assign(1, missing(why));
    return std::move(out_);
  }

  [[nodiscard]] bool by_verdicts() const { return walk_.seen == PT_NFT_SEEN_VERDICTS; }

  // What the traversal returned must be the last verdict seen or, where no rule gave a final one, the policy.
  WalkObservation end_by_verdicts(std::span<const pt_nft_record> records) {
    const bool by_rule = !records.empty() && ends_walk(records.back());
    if (by_rule) {
      if (verdict_word(records.back().verdict) != out_.verdict)
        return nothing("the last rule seen is not the one that decided");
      return std::move(out_);
    }
    const std::string why_not = why_not_policy();
    if (why_not.empty()) {
      policy({0, 0, 0, static_cast<std::int32_t>(walk_.verdict), PT_NFT_POLICY});
    } else {
      out_.steps.push_back(missing(why_not));
      out_.steps.back().verdict = out_.verdict;
    }
    return std::move(out_);
  }

  // No rule was seen to decide. Only where every expression of the table that could was watched, it was the
  // policy.
  std::string why_not_policy() {
    if (verdict_word(walk_.policy) != out_.verdict)
      return "what decided was not seen: no rule with a verdict that is watched, and not the policy";
    if (evidence_.left_out != nullptr && *evidence_.left_out &&
        (*evidence_.left_out)(walk_.e.ts_ns, walk_.end_ns))
      return "the policy or a rule decided: the kernel left out a program at that time";
    const Table* table = evidence_.tied == nullptr ? nullptr : evidence_.tied->find(walk_.table);
    if (table == nullptr)
      return "the ruleset has changed since: whether the policy or a rule decided is not known";
    for (const Chain& chain : table->chains)
      for (const Rule& rule : chain.rules)
        for (const std::string& expression : rule.ends)
          if (!is_watched(expression, table->family))
            return fmt::format(
                "the policy or a rule with \"{}\" decided, whose verdicts are not watched "
                "without the trace key",
                expression);
    return {};
  }

  [[nodiscard]] bool is_watched(const std::string& expression, Family family) const {
    if (evidence_.watched == nullptr) return false;
    for (const std::string& name : {expression, fmt::format("{} {}", expression, word(family))}) {
      const auto found = evidence_.watched->find(name);
      if (found != evidence_.watched->end()) return found->second <= walk_.e.ts_ns;
    }
    return false;
  }

  void follow(const pt_nft_record& record) {
    if (record.type == PT_NFT_POLICY) {
      policy(record);
      return;
    }
    // the ends of chains are not among the verdicts
    while (by_verdicts() && record.chain != chain_ && !frames_.empty()) pop();
    if (record.chain != 0 && record.chain != chain_) {
      broken_ = "the walk's records do not follow from each other";
      return;
    }
    const bool chain_end = is_chain_end(record);
    if (!chain_end) rule(record);
    move(record, chain_end);
  }

  // Where the next record's rule is.
  void move(const pt_nft_record& record, bool chain_end) {
    if (chain_end || record.verdict == NFT_RETURN) {
      pop();
    } else if (record.verdict == NFT_JUMP || record.verdict == NFT_GOTO) {
      if (record.target_chain == 0) {
        broken_ = "the chain a rule jumps to could not be read";
        return;
      }
      if (record.verdict == NFT_JUMP) frames_.push_back({chain_, path_.size()});
      path_.push_back(here_);
      chain_ = record.target_chain;
    }
  }

  // With nothing to return to, the policy of the base chain is next.
  void pop() {
    chain_ = frames_.empty() ? walk_.chain : frames_.back().chain;
    path_.resize(frames_.empty() ? 0 : frames_.back().path);
    if (!frames_.empty()) frames_.pop_back();
  }

  void rule(const pt_nft_record& record) {
    Step step = blank(StepKind::rule);
    step.verdict = verdict_word(record.verdict);
    if (record.rule == 0) {
      // Every rule has a handle: this one could not be read.
      step.missing = "the handle of the rule could not be read";
      step.chain = chain_name(chain_);
      here_ = {};
      out_.steps.push_back(std::move(step));
      return;
    }
    step.handle = record.rule;
    bool found = evidence_.before != nullptr && around_a_change(step, record);
    for (const Ruleset* ruleset : rulesets_) {
      if (found) break;
      const Place place = look_up(*ruleset, walk_.table, chain_, record.rule);
      if (place.chain != nullptr && !step.chain) step.chain = place.chain->name;
      if (place.rule == nullptr) continue;
      describe_rule(step, *place.rule, ruleset == evidence_.tied);
      if (ruleset == evidence_.tied)
        step.elements = elements_of(*place.table, *place.rule, record.verdict != NFT_CONTINUE);
      found = true;
      break;
    }
    if (!found) step.missing = not_found(record.rule);
    if (record.verdict == NFT_JUMP || record.verdict == NFT_GOTO)
      step.target = chain_name(record.target_chain);
    step.path = known_path();
    here_ = {step.chain.value_or(""), step.rule.value_or(0)};
    out_.steps.push_back(std::move(step));
  }

  // A rule that only one of the two rulesets has tells which of them the packet went through.
  bool around_a_change(Step& step, const pt_nft_record& record) const {
    const Place now = look_up(*evidence_.tied, walk_.table, chain_, record.rule);
    const Place old = look_up(*evidence_.before, walk_.table, chain_, record.rule);
    const Place& place = now.rule != nullptr ? now : old;
    if (place.rule == nullptr) return false;
    const bool both = now.rule != nullptr && old.rule != nullptr;
    step.chain = place.chain->name;
    describe_rule(step, *place.rule, !both || now.rule->number == old.rule->number);
    return true;
  }

  void describe_rule(Step& step, const Rule& rule, bool tied) const {
    if (tied)
      step.rule = rule.number;
    else
      step.missing = std::string(evidence_.just_changed ? "the ruleset was just being changed"
                                                        : "the ruleset has changed since") +
                     ": the rule's handle is certain, its number at the time is not known";
    step.text = rule.text;
    step.comment = rule.comment;
    step.target = rule.target;
    if (step.verdict == Verdict::drop && rule.rejects) step.verdict = Verdict::reject;
  }

  // What a rule of this table may have written into the packet is not what the event shows. Where the rule
  // gave a verdict, that may have been the first verdict map's.
  [[nodiscard]] std::vector<SetElement> elements_of(const Table& table, const Rule& rule,
                                                    bool gave_verdict) const {
    std::vector<SetElement> elements;
    for (const Chain& chain : table.chains)
      for (const Rule& one : chain.rules)
        if (one.changes_looked_up) return elements;
    for (const Lookup& lookup : rule.lookups) {
      const Set* set = table.find_set(lookup.set);
      if (set != nullptr) {
        auto element = find_element(lookup, *set, walk_.e);
        if (element || (set->changes && !set->anonymous))
          elements.push_back({set->anonymous ? std::nullopt : std::optional(set->name), std::move(element)});
      }
      if (lookup.gives_verdict && gave_verdict) break;
    }
    return elements;
  }

  // A tied ruleset that lacks the rule contradicts itself; the likeliest reason is a record
  // that was lost, which put the rest into the wrong chain.
  std::string not_found(std::uint64_t rule) {
    if (evidence_.tied != nullptr) {
      broken_ = fmt::format("rule handle {} is not in the chain the walk's records lead to", rule);
      return broken_;
    }
    for (const Ruleset* ruleset : rulesets_) {
      const Table* table = ruleset->find(walk_.table);
      if (table == nullptr) continue;
      for (const Chain& chain : table->chains)
        if (chain.handle != chain_ && chain.find(rule) != nullptr)
          broken_ = fmt::format("rule handle {} is not in the chain the walk's records lead to", rule);
    }
    return gone(fmt::format("rule handle {}", rule));
  }

  // No reading has it. Only one that was made after the packet went through shows that it isn't there any
  // more.
  [[nodiscard]] std::string gone(const std::string& what) const {
    if (evidence_.read_since) return what + " was removed before it could be resolved";
    return what + " could not be resolved: the ruleset was not read since" +
           (evidence_.failure.empty() ? "" : " (" + evidence_.failure + ")");
  }

  void policy(const pt_nft_record& record) {
    Step step = blank(StepKind::policy);
    step.chain = chain_name(walk_.chain);
    step.verdict = verdict_word(record.verdict);
    if (!step.chain) step.missing = gone(fmt::format("chain handle {}", walk_.chain));
    out_.steps.push_back(std::move(step));
  }

  [[nodiscard]] std::optional<std::string> chain_name(std::uint64_t handle) const {
    for (const Ruleset* ruleset : rulesets_) {
      const Table* table = ruleset->find(walk_.table);
      const Chain* chain = table == nullptr ? nullptr : table->find(handle);
      if (chain != nullptr) return chain->name;
    }
    return std::nullopt;
  }

  // Numbers that aren't known make no path.
  [[nodiscard]] std::vector<PathElement> known_path() const {
    for (const PathElement& element : path_)
      if (element.rule == 0) return {};
    return path_;
  }

  struct Frame {
    std::uint64_t chain;
    std::size_t path;  // length of path_ before the jump
  };

  const pt_nft_walk& walk_;
  const Evidence& evidence_;
  std::vector<const Ruleset*> rulesets_;
  WalkObservation out_;
  bool known_table_ = false;
  std::uint64_t chain_;
  std::vector<Frame> frames_;
  std::vector<PathElement> path_;
  PathElement here_;
  std::string broken_;
};

}  // namespace

WalkObservation observe(const pt_nft_walk& walk, const Evidence& evidence) {
  return Follower(walk, evidence).run();
}

std::string doubt_words(std::uint32_t doubt) {
  struct Reason {
    std::uint32_t bit;
    std::string_view words;
  };
  static constexpr auto reasons = std::to_array<Reason>({
      {PT_DOUBT_TABLE_REPLACED, "the table was replaced while the packet went through it"},
      {PT_DOUBT_MIGRATED, "the task moved to another CPU during the walk"},
      {PT_DOUBT_OTHER_WALK, "another packet's walk on the same CPU could not be told apart from this one"},
      {PT_DOUBT_TRUNCATED, "more rules matched than an event holds"},
      {PT_DOUBT_TOO_LARGE,
       "the table has more entries (rules, policies, chain heads) than are watched (--max-rules)"},
      {PT_DOUBT_READ_FAILED, "kernel memory could not be read"},
      {PT_DOUBT_NO_FRAME, "too many walks were nested on this CPU"},
      {PT_DOUBT_NO_PERCPU, "the kernel's per-CPU counters could not be found"},
      {PT_DOUBT_INCOMPLETE, "the walk's last record was not seen"},
  });
  std::string text;
  for (const Reason& reason : reasons) {
    if ((doubt & reason.bit) == 0) continue;
    text += text.empty() ? "" : "; ";
    text += reason.words;
    doubt &= ~reason.bit;
  }
  if (doubt != 0) text += fmt::format("{}unknown doubt {:#x}", text.empty() ? "" : "; ", doubt);
  return text;
}

}  // namespace pathtrace::nft
