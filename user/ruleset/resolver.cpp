// SPDX-License-Identifier: GPL-2.0
// Keeps the last few readings of each ruleset. A walk is resolved with the one it went
// through; if none is, the ruleset is read now, provided that it hasn't changed since the
// walk. What can't be tied to the walk names no legacy rule, and no number of an nftables
// rule (its handle is enough to name it).
#include "ruleset/resolver.h"

#include <fmt/format.h>

#include <ctime>
#include <deque>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "kernel/netns.h"
#include "ruleset/generation.h"
#include "ruleset/legacy_index.h"
#include "ruleset/legacy_snapshot.h"
#include "ruleset/legacy_steps.h"
#include "ruleset/legacy_walk.h"
#include "ruleset/nft_snapshot.h"
#include "ruleset/nft_walk.h"

namespace pathtrace {
namespace {

constexpr std::size_t kReadings = 4;  // kept of each ruleset
constexpr int kAttempts = 3;          // to read between two changes
// Of namespaces that come and go the rulesets are forgotten all at once when there are this
// many; they are read again when needed.
constexpr std::size_t kMostRulesets = 4096;
// After a failure (a namespace that is gone, an error) nothing is tried for so long.
constexpr std::uint64_t kRetryAfterNs = 1'000'000'000;

std::uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

template <typename T>
struct Reading {
  T ruleset;
  ReadTime when;
  // struct xt_table_info * of the first walk it was tied to: a walk with another one ran
  // through another table, whatever else says.
  std::uint64_t table_info = 0;
};

template <typename T>
struct Kept {
  std::deque<Reading<T>> readings;  // newest first
  std::uint64_t failed_ns = 0;      // when reading it failed last
  std::string failure;

  void add(Reading<T> reading) {
    readings.push_front(std::move(reading));
    if (readings.size() > kReadings) readings.pop_back();
  }
};

// Reads with `read` until no change fell into the reading; the last attempt is kept anyway,
// without a number.
template <typename T, typename Read, typename Generation>
Result<Reading<T>> read_between_changes(const Read& read, const Generation& generation) {
  for (int attempt = 1;; ++attempt) {
    const pt_generation before = generation();
    ReadTime when;
    when.begin_ns = monotonic_ns();
    Result<T> ruleset = read();
    when.end_ns = monotonic_ns();
    if (!ruleset) return Error{ExitStatus::failure, ruleset.error().message, {}};
    const pt_generation after = generation();
    const bool quiet =
        before.changed_ns != kChanging && after.changed_ns != kChanging && before.number == after.number;
    if (quiet) when.number = after.number;
    if (quiet || attempt == kAttempts) return Reading<T>{std::move(ruleset).value(), when};
  }
}

// `read` in the namespace, on a thread of its own.
template <typename T, typename Read>
Result<T> read_in_netns(std::uint32_t inode, const Read& read) {
  std::optional<Result<T>> result;
  if (!in_netns(inode, [&] { result = read(); }) || !result)
    return Error{ExitStatus::no_such_namespace, fmt::format("network namespace {} is gone", inode), {}};
  return std::move(*result);
}

bool table_exists(Family family, const std::string& name) {
  for (const std::string& existing : legacy::table_names(family))
    if (existing == name) return true;
  return false;
}

// Whether reading a ruleset again may show what the kept readings don't: it has changed since
// the last one. A change that fell into the last reading tells that they change faster than
// they can be read: then they get a rest of twice the time that takes.
bool worth_reading(const Kept<nft::Ruleset>& kept, const pt_generation& now) {
  const std::uint64_t time = monotonic_ns();
  if (kept.failed_ns != 0 && time - kept.failed_ns < kRetryAfterNs) return false;
  if (kept.readings.empty()) return true;
  const ReadTime& last = kept.readings.front().when;
  if (uncounted(now)) return time - last.end_ns > kRetryAfterNs;
  if (last.number == now.number && now.changed_ns != kChanging) return false;
  return last.number || time - last.end_ns > 2 * (last.end_ns - last.begin_ns);
}

template <typename Map>
void make_room(Map& map) {
  if (map.size() >= kMostRulesets) map.clear();
}

std::string table_name(const pt_legacy_walk& walk) {
  const std::string_view raw(walk.table_name, sizeof walk.table_name);
  return std::string(raw.substr(0, raw.find('\0')));
}

}  // namespace

struct Resolver::State {
  using LegacyKey = std::tuple<std::uint32_t, Family, std::string>;  // namespace, family, table

  State(Generations& source, TableIndexes* publish_to) : generations(source), indexes(publish_to) {}

  void preload_legacy(std::uint32_t inode);
  void preload_nft(std::uint32_t inode);
  const legacy::Snapshot* legacy_snapshot(const pt_legacy_walk& walk, Family family, std::string& why);
  const legacy::Snapshot* tied_legacy(Kept<legacy::Snapshot>& kept, const pt_legacy_walk& walk,
                                      const pt_generation& now);
  void publish_index(const legacy::Table& table, const pt_legacy_walk& walk);
  nft::Evidence nft_evidence(const pt_nft_walk& walk);
  bool read_nft(Kept<nft::Ruleset>& kept, std::uint32_t inode);
  void list_trace_rules();

  Generations& generations;
  TableIndexes* indexes;
  std::map<LegacyKey, Kept<legacy::Snapshot>> legacy;
  std::map<std::uint32_t, Kept<nft::Ruleset>> nft;
  std::set<Backend> backends;
  nft::Watched watched;
  nft::LeftOut left_out;
  std::vector<TraceRule> trace_rules;
  bool read_since = false;  // a ruleset was, since trace_rules was made
};

void Resolver::State::preload_legacy(std::uint32_t inode) {
  struct Preloaded {
    Family family;
    Reading<legacy::Snapshot> reading;
  };
  std::vector<Preloaded> found;
  in_netns(inode, [&] {
    for (const Family family : {Family::ip, Family::ip6, Family::arp}) {
      for (const std::string& name : legacy::table_names(family)) {
        ReadTime when;
        when.begin_ns = monotonic_ns();
        Result<legacy::Snapshot> snapshot = legacy::read_table(family, name);
        when.end_ns = monotonic_ns();
        if (snapshot) found.push_back({family, {std::move(snapshot).value(), when}});
      }
    }
  });
  for (Preloaded& preloaded : found) {
    backends.insert(Backend::iptables_legacy);
    const LegacyKey key{inode, preloaded.family, preloaded.reading.ruleset.table.name};
    legacy[key].add(std::move(preloaded.reading));
    read_since = true;
  }
}

void Resolver::State::preload_nft(std::uint32_t inode) {
  Kept<nft::Ruleset>& kept = nft[inode];
  if (!read_nft(kept, inode)) return;
  for (const nft::Table& table : kept.readings.front().ruleset.tables) backends.insert(table.backend);
}

bool Resolver::State::read_nft(Kept<nft::Ruleset>& kept, std::uint32_t inode) {
  auto reading = read_between_changes<nft::Ruleset>(
      [&] { return read_in_netns<nft::Ruleset>(inode, nft::read_ruleset); },
      [&] { return generations.nftables(inode); });
  if (!reading) {
    kept.failed_ns = monotonic_ns();
    kept.failure = reading.error().message;
    return false;
  }
  kept.add(std::move(reading).value());
  read_since = true;
  return true;
}

void Resolver::State::list_trace_rules() {
  read_since = false;
  trace_rules.clear();
  const auto add = [this](std::vector<TraceRule> rules, std::uint32_t inode) {
    for (TraceRule& rule : rules) {
      rule.netns = {inode, netns_name(inode)};
      trace_rules.push_back(std::move(rule));
    }
  };
  for (const auto& [key, kept] : legacy)
    if (!kept.readings.empty())
      add(pathtrace::trace_rules(kept.readings.front().ruleset), std::get<std::uint32_t>(key));
  for (const auto& [inode, kept] : nft)
    if (!kept.readings.empty()) add(pathtrace::trace_rules(kept.readings.front().ruleset), inode);
}

const legacy::Snapshot* Resolver::State::tied_legacy(Kept<legacy::Snapshot>& kept, const pt_legacy_walk& walk,
                                                     const pt_generation& now) {
  for (Reading<legacy::Snapshot>& reading : kept.readings) {
    const legacy::Info& info = reading.ruleset.table.info;
    if (info.entries != walk.entries || info.size != walk.blob_size) continue;
    if (reading.table_info != 0 && reading.table_info != walk.table_info) continue;
    if (!is_tied(reading.when, walk.e.ts_ns, walk.generation, now)) continue;
    if (reading.table_info == 0) publish_index(reading.ruleset.table, walk);
    reading.table_info = walk.table_info;
    return &reading.ruleset;
  }
  return nullptr;
}

// From its next walk on only those of the table's counters are copied that a packet can raise.
void Resolver::State::publish_index(const legacy::Table& table, const pt_legacy_walk& walk) {
  if (indexes == nullptr || !legacy::worth_index(table)) return;
  if (auto index = legacy::make_index(table))
    indexes->publish({walk.table, walk.table_info, walk.generation.number, walk.entries}, std::move(*index));
}

const legacy::Snapshot* Resolver::State::legacy_snapshot(const pt_legacy_walk& walk, Family family,
                                                         std::string& why) {
  const std::string name = table_name(walk);
  make_room(legacy);
  Kept<legacy::Snapshot>& kept = legacy[{walk.e.netns, family, name}];
  const pt_generation now = generations.legacy(walk.table);
  if (const auto* snapshot = tied_legacy(kept, walk, now)) return snapshot;
  why = fmt::format("table {} was replaced before it could be read", name);
  if (uncounted(now)) {
    why =
        fmt::format("changes of table {} are not watched, so its rules can not be tied to this packet", name);
    return nullptr;
  }
  // What has changed since the walk can't be read any more.
  if (walk.generation.changed_ns == kChanging || now.number != walk.generation.number ||
      now.changed_ns == kChanging)
    return nullptr;
  if (kept.failed_ns == 0 || monotonic_ns() - kept.failed_ns > kRetryAfterNs) {
    auto reading = read_between_changes<legacy::Snapshot>(
        [&] {
          return read_in_netns<legacy::Snapshot>(walk.e.netns, [&]() -> Result<legacy::Snapshot> {
            if (!table_exists(family, name))
              return Error{ExitStatus::failure, fmt::format("table {} is gone", name), {}};
            return legacy::read_table(family, name);
          });
        },
        [&] { return generations.legacy(walk.table); });
    if (reading) {
      kept.add(std::move(reading).value());
      read_since = true;
      return tied_legacy(kept, walk, generations.legacy(walk.table));
    }
    kept.failed_ns = monotonic_ns();
    kept.failure = reading.error().message;
  }
  why = kept.failure;
  return nullptr;
}

nft::Evidence Resolver::State::nft_evidence(const pt_nft_walk& walk) {
  make_room(nft);
  Kept<nft::Ruleset>& kept = nft[walk.e.netns];
  nft::Evidence evidence;
  evidence.watched = &watched;
  evidence.left_out = &left_out;
  evidence.just_changed = walk.seen == PT_NFT_SEEN_RECORDS && may_be_older(walk.e.ts_ns, walk.generation);
  const auto tied = [&](const pt_generation& now) -> const nft::Ruleset* {
    for (const Reading<nft::Ruleset>& reading : kept.readings)
      if (is_tied(reading.when, walk.e.ts_ns, walk.generation, now)) return &reading.ruleset;
    return nullptr;
  };
  const pt_generation now = generations.nftables(walk.e.netns);
  evidence.tied = tied(now);
  if (evidence.tied == nullptr && worth_reading(kept, now) && read_nft(kept, walk.e.netns))
    evidence.tied = tied(generations.nftables(walk.e.netns));
  if (evidence.just_changed) {
    for (const Reading<nft::Ruleset>& reading : kept.readings)
      if (reading.when.number == walk.generation.number - 1) evidence.before = &reading.ruleset;
    // Not read: then it is taken to be the one after the change, which it nearly always is.
    if (evidence.tied == nullptr) evidence.before = nullptr;
    evidence.just_changed = evidence.before != nullptr;
  }
  for (const Reading<nft::Ruleset>& reading : kept.readings)
    if (&reading.ruleset != evidence.tied) evidence.others.push_back(&reading.ruleset);
  evidence.read_since = !kept.readings.empty() && kept.readings.front().when.begin_ns > walk.end_ns;
  if (!evidence.read_since && kept.failed_ns > walk.end_ns) evidence.failure = kept.failure;
  return evidence;
}

Resolver::Resolver(Generations& generations, TableIndexes* indexes)
    : state_(std::make_unique<State>(generations, indexes)) {}
Resolver::~Resolver() = default;
Resolver::Resolver(Resolver&&) noexcept = default;
Resolver& Resolver::operator=(Resolver&&) noexcept = default;

void Resolver::preload() {
  state_->legacy.clear();
  state_->nft.clear();
  for (const Netns& netns : all_netns()) {
    state_->preload_legacy(netns.inode);
    state_->preload_nft(netns.inode);
  }
}

WalkObservation Resolver::resolve(const pt_legacy_walk& walk) {
  WalkObservation out;
  out.end_ns = static_cast<std::int64_t>(walk.end_ns);
  out.backend = Backend::iptables_legacy;
  out.table = table_name(walk);
  out.every_packet = out.table != "nat";
  out.verdict = legacy::verdict_word(walk.verdict);
  const auto family = nft::family_of(walk.e.pf);
  out.family = family.value_or(Family::ip);
  out.hook = legacy::hook_word(out.family, walk.e.hook);
  std::string why = nft::doubt_words(walk.doubt);
  if (!family && why.empty()) why = fmt::format("unknown protocol family {}", walk.e.pf);
  const legacy::Snapshot* snapshot = why.empty() ? state_->legacy_snapshot(walk, *family, why) : nullptr;
  if (snapshot == nullptr) {
    out.steps.push_back(legacy::missing_step(out.family, out.table, out.hook, why));
    return out;
  }
  const legacy::WalkInput input{walk.e.hook, {walk.matched, walk.n_matched}, walk.verdict};
  out.steps = legacy::steps(*snapshot, legacy::reconstruct(snapshot->table, input), out.hook, walk.verdict);
  return out;
}

WalkObservation Resolver::resolve(const pt_nft_walk& walk) {
  return nft::observe(walk, state_->nft_evidence(walk));
}

void Resolver::set_watched(nft::Watched watched) { state_->watched = std::move(watched); }

void Resolver::set_left_out(nft::LeftOut left_out) { state_->left_out = std::move(left_out); }

const std::vector<TraceRule>& Resolver::trace_rules() {
  if (state_->read_since) state_->list_trace_rules();
  return state_->trace_rules;
}

std::vector<Backend> Resolver::backends() const { return {state_->backends.begin(), state_->backends.end()}; }

}  // namespace pathtrace
