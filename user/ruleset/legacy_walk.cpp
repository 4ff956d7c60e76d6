// SPDX-License-Identifier: GPL-2.0
// The search follows ipt_do_table (net/ipv4/netfilter/ip_tables.c, the same from 5.4 to 7.x):
//
//   - an entry without conditions matches every packet that reaches it, so reaching one that
//     wasn't counted refutes the branch;
//   - a counted entry with conditions that will be passed again (its chain is entered by
//     another counted jump) may have matched now or then: both are tried;
//   - every count must be used up, and the end must be the verdict the function returned.
//
// All branches are searched. Two different orders that both explain the evidence make the
// walk ambiguous: then no rule is named.
#include "ruleset/legacy_walk.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace pathtrace::legacy {
namespace {

constexpr std::uint32_t kDrop = 0;    // NF_DROP
constexpr std::uint32_t kAccept = 1;  // NF_ACCEPT
constexpr std::uint32_t kStolen = 2;  // NF_STOLEN
constexpr std::uint32_t kQueue = 3;   // NF_QUEUE
constexpr std::uint32_t kVerdictMask = 0xff;
// What a search may cost; a real walk needs a few steps for each rule it matched.
constexpr std::size_t kBudget = 200'000;
// A packet matches some rules, not this many: such counts are somebody else's.
constexpr std::uint64_t kMostMatches = 16'384;

struct KnownTarget {
  std::string_view name;
  Ends ends;
  std::uint32_t verdicts;  // bit n: can end with NF_ n
};

constexpr std::uint32_t bit(std::uint32_t verdict) { return 1U << verdict; }
constexpr std::uint32_t kAny = ~std::uint32_t{0};

// From the targets' functions in net/netfilter/xt_*.c and net/ipv4/netfilter/ipt_*.c. Those
// not listed, and those that drop a packet they can't write to (TTL, TOS, TCPMSS, ...), may
// do either.
constexpr auto kTargetEnds = std::to_array<KnownTarget>({
    {"AUDIT", Ends::never, 0},
    {"CHECKSUM", Ends::never, 0},
    {"CLASSIFY", Ends::never, 0},
    {"CONNMARK", Ends::never, 0},
    {"CONNSECMARK", Ends::never, 0},
    {"CT", Ends::never, 0},
    {"HMARK", Ends::never, 0},
    {"IDLETIMER", Ends::never, 0},
    {"LED", Ends::never, 0},
    {"LOG", Ends::never, 0},
    {"MARK", Ends::never, 0},
    {"NFLOG", Ends::never, 0},
    {"NOTRACK", Ends::never, 0},
    {"RATEEST", Ends::never, 0},
    {"SECMARK", Ends::never, 0},
    {"SET", Ends::never, 0},
    {"TEE", Ends::never, 0},
    {"TRACE", Ends::never, 0},
    {"REJECT", Ends::always, bit(kDrop)},
    {"DNAT", Ends::always, bit(kDrop) | bit(kAccept)},
    {"SNAT", Ends::always, bit(kDrop) | bit(kAccept)},
    {"MASQUERADE", Ends::always, bit(kDrop) | bit(kAccept)},
    {"REDIRECT", Ends::always, bit(kDrop) | bit(kAccept)},
    {"NETMAP", Ends::always, bit(kDrop) | bit(kAccept)},
    {"TPROXY", Ends::always, bit(kDrop) | bit(kAccept)},
    {"NFQUEUE", Ends::always, bit(kQueue)},
    {"SYNPROXY", Ends::maybe, bit(kDrop) | bit(kStolen)},
});

KnownTarget known_target(std::string_view name) {
  const auto* it = std::find_if(kTargetEnds.begin(), kTargetEnds.end(),
                                [name](const KnownTarget& target) { return target.name == name; });
  return it == kTargetEnds.end() ? KnownTarget{name, Ends::maybe, kAny} : *it;
}

struct Found {
  std::vector<std::uint32_t> order;
  WalkEnd end = WalkEnd::verdict;
};

class Search {
 public:
  Search(const Table& table, const WalkInput& input)
      : table_(table), input_(input), entry_of_return_(underflow()) {}

  Walk run() {
    Walk walk;
    if (!entry_of_return_ || !take_counts()) {
      walk.missing = "the counted rules are not all of this table";
      return walk;
    }
    go(*table_.index_at(table_.info.hook_entry.at(input_.hook)));
    if (exhausted_)
      walk.missing = "the counted rules explain too many ways through the table to tell which one it was";
    else if (ambiguous_)
      walk.missing = "the counted rules explain more than one way through the table";
    else if (!found_)
      walk.missing = "the counted rules do not form a way through the table that ends in this verdict";
    else
      write(walk);
    return walk;
  }

 private:
  // A place to come back to: here the entry at `at` was taken as matched; it may also
  // have been passed over.
  struct Choice {
    std::uint32_t at;
    std::vector<std::uint32_t> stack;
    std::size_t matched;
  };

  [[nodiscard]] std::optional<std::uint32_t> underflow() const {
    if (input_.hook >= kHooks || (table_.info.valid_hooks & (1U << input_.hook)) == 0) return std::nullopt;
    return table_.index_at(table_.info.underflow.at(input_.hook));
  }

  bool take_counts() {
    counts_.assign(input_.matched.begin(), input_.matched.end());
    std::sort(counts_.begin(), counts_.end(),
              [](const pt_match& a, const pt_match& b) { return a.index < b.index; });
    visits_left_.assign(table_.chains.size(), 0);
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      const pt_match& match = counts_[i];
      const bool twice = i > 0 && counts_[i - 1].index == match.index;
      if (match.index >= table_.entries.size() || match.count == 0 || twice) return false;
      total_ += match.count;
      if (total_ > kMostMatches) return false;
      const Entry& entry = table_.entries[match.index];
      if (entry.target.kind == TargetKind::error) return false;
      if (enters_chain(entry)) visits_left_[chain_entered(entry)] += match.count;
    }
    return true;
  }

  static bool enters_chain(const Entry& entry) {
    return entry.target.kind == TargetKind::jump || entry.target.kind == TargetKind::go_to;
  }
  [[nodiscard]] std::uint32_t chain_entered(const Entry& entry) const {
    return table_.entries[entry.target.to].chain;
  }

  void go(std::uint32_t at) {
    at_ = at;
    for (bool more = true; more;) {
      if (++steps_ > kBudget) {
        exhausted_ = true;
        return;
      }
      more = step() || back();
      if (ambiguous_) return;
    }
  }

  // From at_ to the next entry that matched. False: this branch is at its end.
  bool step() {
    if (total_ == 0) {
      if (may_hotdrop_from(at_)) found(WalkEnd::hotdrop);
      return false;
    }
    pt_match* const counted = next_counted(at_);
    const std::uint32_t unconditional = table_.next_unconditional[at_];
    if (counted == nullptr || counted->index > unconditional) return false;
    const Entry& entry = table_.entries[counted->index];
    if (entry.conditional && counted->count <= visits_left_[entry.chain])
      choices_.push_back({counted->index, stack_, order_.size()});
    match(*counted);
    return execute(counted->index);
  }

  pt_match* next_counted(std::uint32_t from) {
    auto it =
        std::lower_bound(counts_.begin(), counts_.end(), from,
                         [](const pt_match& match, std::uint32_t index) { return match.index < index; });
    while (it != counts_.end() && it->count == 0) ++it;
    return it == counts_.end() ? nullptr : &*it;
  }

  pt_match& count_of(std::uint32_t index) {
    return *std::lower_bound(counts_.begin(), counts_.end(), index,
                             [](const pt_match& match, std::uint32_t value) { return match.index < value; });
  }

  void match(pt_match& counted) {
    --counted.count;
    --total_;
    const Entry& entry = table_.entries[counted.index];
    if (enters_chain(entry)) --visits_left_[chain_entered(entry)];
    order_.push_back(counted.index);
  }

  void unmatch() {
    const std::uint32_t index = order_.back();
    order_.pop_back();
    ++count_of(index).count;
    ++total_;
    const Entry& entry = table_.entries[index];
    if (enters_chain(entry)) ++visits_left_[chain_entered(entry)];
  }

  // Back to the last choice, which is now decided the other way. False: all is searched.
  bool back() {
    while (!choices_.empty()) {
      Choice choice = std::move(choices_.back());
      choices_.pop_back();
      while (order_.size() > choice.matched) unmatch();
      stack_ = std::move(choice.stack);
      at_ = choice.at + 1;
      // Passed over, it must match on a later visit.
      if (count_of(choice.at).count <= visits_left_[table_.entries[choice.at].chain]) return true;
    }
    return false;
  }

  // What the entry's target does. False: this branch is at its end.
  bool execute(std::uint32_t index) {
    const Target& target = table_.entries[index].target;
    switch (target.kind) {
      case TargetKind::verdict:
        if (total_ == 0 && target.verdict == returned()) found(WalkEnd::verdict);
        return false;
      case TargetKind::return_:
        at_ = *entry_of_return_;
        if (!stack_.empty()) {
          at_ = stack_.back() + 1;
          stack_.pop_back();
        }
        return true;
      case TargetKind::fall_through:
        at_ = index + 1;
        return true;
      case TargetKind::jump:
        return jump(index);
      case TargetKind::go_to:
        at_ = target.to;
        return true;
      case TargetKind::extension:
        return extension(index);
      case TargetKind::error:
        break;
    }
    return false;
  }

  bool jump(std::uint32_t index) {
    if (stack_.size() >= table_.jump_stack) {
      if (total_ == 0 && input_.verdict == kDrop) found(WalkEnd::stack_overflow);
      return false;
    }
    stack_.push_back(index);
    at_ = table_.entries[index].target.to;
    return true;
  }

  bool extension(std::uint32_t index) {
    const KnownTarget target = known_target(table_.entries[index].target.extension.name);
    at_ = index + 1;
    if (total_ != 0) return target.ends != Ends::always;
    const bool ended =
        target.ends != Ends::never && returned() < 32 && (target.verdicts & bit(returned())) != 0;
    const bool dropped_after = target.ends != Ends::always && may_hotdrop_from(at_);
    if (ended)
      found(dropped_after ? WalkEnd::target_or_hotdrop : WalkEnd::verdict);
    else if (dropped_after)
      found(WalkEnd::hotdrop);
    return false;
  }

  [[nodiscard]] std::uint32_t returned() const { return input_.verdict & kVerdictMask; }

  // Nothing more was counted, so the packet was not matched by, and not let past, any entry
  // without conditions: one before that must have dropped it. hotdrop returns plain NF_DROP.
  [[nodiscard]] bool may_hotdrop_from(std::uint32_t from) const {
    if (input_.verdict != kDrop) return false;
    const std::uint32_t end = table_.next_unconditional[from];
    for (std::uint32_t i = from; i < table_.entries.size() && i < end; ++i)
      if (table_.entries[i].may_hotdrop) return true;
    return false;
  }

  void found(WalkEnd end) {
    if (found_ && (found_->order != order_ || found_->end != end)) ambiguous_ = true;
    if (!found_) found_ = Found{order_, end};
  }

  // The rules with the jumps that led to them. A goto leaves no way back to its own chain,
  // so what it led through is forgotten with the frame below it.
  void write(Walk& walk) const {
    walk.end = found_->end;
    std::vector<PathElement> path;
    std::vector<std::size_t> frames;  // length of `path` before each jump
    for (const std::uint32_t index : found_->order) {
      const Entry& entry = table_.entries[index];
      walk.entries.push_back({index, path});
      if (entry.target.kind == TargetKind::return_) {
        path.resize(frames.empty() ? 0 : frames.back());
        if (!frames.empty()) frames.pop_back();
      } else if (enters_chain(entry)) {
        if (entry.target.kind == TargetKind::jump) frames.push_back(path.size());
        path.push_back({table_.chain_of(entry).name, entry.number});
      }
    }
  }

  const Table& table_;
  const WalkInput& input_;
  std::optional<std::uint32_t> entry_of_return_;

  std::vector<pt_match> counts_;  // what is left to be explained
  std::uint64_t total_ = 0;
  std::vector<std::uint64_t> visits_left_;  // by chain: counted jumps into it, not yet used
  std::uint32_t at_ = 0;
  std::vector<std::uint32_t> stack_;
  std::vector<std::uint32_t> order_;
  std::vector<Choice> choices_;
  std::size_t steps_ = 0;

  std::optional<Found> found_;
  bool ambiguous_ = false;
  bool exhausted_ = false;
};

}  // namespace

Walk reconstruct(const Table& table, const WalkInput& input) { return Search(table, input).run(); }

Ends target_ends(const std::string& name) { return known_target(name).ends; }

}  // namespace pathtrace::legacy
