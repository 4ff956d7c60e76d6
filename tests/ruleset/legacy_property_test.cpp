// SPDX-License-Identifier: GPL-2.0
// Random tables, gone through by a simulation of ipt_do_table that works on the bytes, as
// the kernel does: what is reconstructed from its counters must be the way it took, or
// nothing.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <random>

#include "blob_builder.h"
#include "ruleset/legacy_walk.h"

namespace pathtrace::legacy {
namespace {

unsigned below(std::mt19937& random, unsigned n) { return static_cast<unsigned>(random() % n); }
bool chance(std::mt19937& random, unsigned percent) { return below(random, 100) < percent; }

RuleSpec random_rule(std::mt19937& random, int chain, int chains) {
  RuleSpec rule;
  rule.conditional = chance(random, 80);
  if (chance(random, 30)) rule.matches.emplace_back("tcp");
  if (chance(random, 10)) rule.comment = "note";
  const unsigned kind = below(random, 10);
  if (kind < 4 && chain + 1 < chains) {  // only to later chains: the kernel refuses loops
    rule.target =
        "c" + std::to_string(chain + 1 +
                             static_cast<int>(below(random, static_cast<unsigned>(chains - chain - 1))));
    rule.go_to = chance(random, 25);
  } else {
    static const std::array targets{"ACCEPT", "DROP", "RETURN", "", "LOG", "REJECT", "FROB", "MARK", "QUEUE"};
    rule.target = targets.at(below(random, targets.size()));
  }
  return rule;
}

std::vector<RuleSpec> random_rules(std::mt19937& random, int chain, int chains) {
  std::vector<RuleSpec> rules(below(random, 6));
  for (RuleSpec& rule : rules) rule = random_rule(random, chain, chains);
  return rules;
}

struct Simulated {
  std::vector<std::uint32_t> offsets;  // of the entries that matched, in order
  std::uint32_t verdict = 0;
  bool hotdrop = false;
};

// ipt_do_table, with dice in place of the packet. Nothing of the parser is used here.
class Kernel {
 public:
  Kernel(const BlobBuilder::Built& built, std::mt19937& random, unsigned match_percent)
      : built_(built), random_(random), match_percent_(match_percent) {}

  Simulated run(std::uint32_t hook) {
    Simulated out;
    std::vector<std::uint32_t> stack;
    std::uint32_t e = built_.info.hook_entry.at(hook);
    do {
      if (!matches(e)) {
        e = next(e);
        continue;
      }
      out.offsets.push_back(e);
      const std::uint32_t target = e + u16(e + 88);
      const std::string name(reinterpret_cast<const char*>(&built_.bytes[target + 2]));
      if (!name.empty()) {
        if (continues(name, out.verdict)) {
          e = next(e);
          continue;
        }
        break;
      }
      std::int32_t v = 0;
      std::memcpy(&v, &built_.bytes[target + 32], 4);
      if (v < 0 && v != -5) {
        out.verdict = static_cast<std::uint32_t>(-v) - 1;
        break;
      }
      if (v == -5) {
        e = stack.empty() ? built_.info.underflow.at(hook) : next(stack.back());
        if (!stack.empty()) stack.pop_back();
        continue;
      }
      if (static_cast<std::uint32_t>(v) != next(e) && (built_.bytes[e + 82] & 2) == 0) stack.push_back(e);
      e = static_cast<std::uint32_t>(v);
    } while (!hotdrop_);
    out.hotdrop = hotdrop_;
    if (hotdrop_) out.verdict = 0;
    return out;
  }

 private:
  std::uint16_t u16(std::uint32_t at) const {
    std::uint16_t value = 0;
    std::memcpy(&value, &built_.bytes[at], 2);
    return value;
  }
  std::uint32_t next(std::uint32_t e) const { return e + u16(e + 90); }

  bool matches(std::uint32_t e) {
    const bool address = built_.bytes[e + 8] != 0;
    if (address && !chance(random_, match_percent_)) return false;
    std::uint32_t match = e + 112;
    const std::uint32_t end = e + u16(e + 88);
    for (; match < end; match += u16(match)) {
      if (std::strcmp(reinterpret_cast<const char*>(&built_.bytes[match + 2]), "comment") == 0) continue;
      if (chance(random_, 2)) hotdrop_ = true;
      if (hotdrop_ || !chance(random_, match_percent_)) return false;
    }
    return true;
  }

  bool continues(const std::string& name, std::uint32_t& verdict) {
    if (name == "LOG" || name == "MARK") return true;
    if (name == "FROB" && chance(random_, 50)) return true;
    verdict = name == "FROB" ? below(random_, 2) : 0;
    return false;
  }

  const BlobBuilder::Built& built_;
  std::mt19937& random_;
  unsigned match_percent_;
  bool hotdrop_ = false;
};

std::vector<pt_match> counts(const Table& table, const Simulated& simulated) {
  std::map<std::uint32_t, std::uint32_t> by_index;
  for (const std::uint32_t offset : simulated.offsets) ++by_index[*table.index_at(offset)];
  std::vector<pt_match> matched;
  matched.reserve(by_index.size());
  for (const auto& [index, count] : by_index) matched.push_back({index, count});
  return matched;
}

TEST(LegacyProperty, ReconstructsTheWayTakenOrNone) {
  const char* given = std::getenv("PATHTRACE_SEED");  // NOLINT(concurrency-mt-unsafe)
  const unsigned seed =
      given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  std::mt19937 random(seed);
  constexpr int kCases = 4000;
  int exact = 0;
  for (int round = 0; round < kCases; ++round) {
    const int chains = 1 + static_cast<int>(below(random, 7));
    BlobBuilder builder;
    builder.base(1, random_rules(random, -1, chains), chance(random, 50) ? "ACCEPT" : "DROP");
    for (int chain = 0; chain < chains; ++chain)
      builder.chain("c" + std::to_string(chain), random_rules(random, chain, chains));
    const BlobBuilder::Built built = builder.build();
    const Table table = builder.table();
    const Simulated simulated = Kernel(built, random, 30 + below(random, 70)).run(1);
    const auto matched = counts(table, simulated);
    const Walk walk = reconstruct(table, {1, matched, simulated.verdict});
    if (!walk.known()) {
      // The way taken is always one of the explanations.
      ASSERT_EQ(walk.missing.find("do not form"), std::string::npos) << "seed " << seed << " round " << round;
      continue;
    }
    ++exact;
    std::vector<std::uint32_t> offsets;
    offsets.reserve(walk.entries.size());
    for (const WalkEntry& entry : walk.entries) offsets.push_back(table.entries[entry.index].offset);
    ASSERT_EQ(offsets, simulated.offsets) << "seed " << seed << " round " << round;
    ASSERT_NE(walk.end, simulated.hotdrop ? WalkEnd::verdict : WalkEnd::hotdrop)
        << "seed " << seed << " round " << round;
  }
  std::cout << "seed " << seed << ": " << exact << " of " << kCases << " named, the rest ambiguous\n";
  EXPECT_GT(exact, kCases * 9 / 10);
}

// FROB may end a walk or not, so that it could end one packet's walk and not the other's.
std::vector<RuleSpec> without_unknown(std::vector<RuleSpec> rules) {
  for (RuleSpec& rule : rules)
    if (rule.target == "FROB") rule.target = "ACCEPT";
  return rules;
}

// Counts that are not one packet's: another packet's walk is added.
TEST(LegacyProperty, TwoPacketsAreNotTakenForOne) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    BlobBuilder builder;
    builder.base(1, without_unknown(random_rules(random, -1, 3)), "ACCEPT");
    for (int chain = 0; chain < 3; ++chain)
      builder.chain("c" + std::to_string(chain), without_unknown(random_rules(random, chain, 3)));
    const BlobBuilder::Built built = builder.build();
    const Table table = builder.table();
    Simulated both = Kernel(built, random, 60).run(1);
    const Simulated other = Kernel(built, random, 60).run(1);
    if (both.hotdrop || other.hotdrop) continue;
    both.offsets.insert(both.offsets.end(), other.offsets.begin(), other.offsets.end());
    const auto matched = counts(table, both);
    const Walk walk = reconstruct(table, {1, matched, both.verdict});
    EXPECT_FALSE(walk.known()) << "two ends can not be in one walk; seed " << seed << " round " << round;
  }
}

}  // namespace
}  // namespace pathtrace::legacy
