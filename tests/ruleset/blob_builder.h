// SPDX-License-Identifier: GPL-2.0
// Builds legacy tables by hand, as libiptc lays them out: base chains with their policies,
// user chains between an ERROR head and a RETURN, an ERROR entry at the end.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "ruleset/legacy_blob.h"

namespace pathtrace::legacy {

struct RuleSpec {
  std::string target;  // "ACCEPT", "DROP", "RETURN", "" (none), a chain's name, or an extension's
  bool go_to = false;
  bool conditional = true;           // has a source address
  std::vector<std::string> matches;  // names of match extensions, with 8 bytes of data each
  std::string comment;
  std::vector<std::uint8_t> target_data;
};

class BlobBuilder {
 public:
  struct Built {
    Info info;
    std::vector<std::uint8_t> bytes;
  };

  explicit BlobBuilder(Family family = Family::ip) : family_(family) {}

  // Base chains in the order of their hooks, before any user chain.
  BlobBuilder& base(std::uint32_t hook, std::vector<RuleSpec> rules, const std::string& policy = "ACCEPT") {
    chains_.push_back({"", static_cast<int>(hook), std::move(rules), policy});
    return *this;
  }
  BlobBuilder& chain(const std::string& name, std::vector<RuleSpec> rules) {
    chains_.push_back({name, -1, std::move(rules), "RETURN"});
    return *this;
  }

  [[nodiscard]] Built build() const {
    // Twice: the first time for the offsets of the chains.
    std::map<std::string, std::uint32_t> starts;
    build(starts);
    return build(starts);
  }

  [[nodiscard]] Table table(const std::string& name = "filter") const {
    Built built = build();
    auto parsed = parse_table(family_, name, built.info, std::move(built.bytes));
    if (!parsed) throw std::runtime_error(parsed.error().message);
    return std::move(parsed).value();
  }

 private:
  struct ChainSpec {
    std::string name;
    int hook;
    std::vector<RuleSpec> rules;
    std::string policy;
  };
  struct Sizes {
    std::uint32_t entry, flags, target_offset;
    std::uint8_t goto_flag;
  };

  [[nodiscard]] Sizes sizes() const {
    if (family_ == Family::ip6) return {168, 131, 140, 4};
    if (family_ == Family::arp) return {192, 158, 164, 0};
    return {112, 82, 88, 2};
  }

  Built build(std::map<std::string, std::uint32_t>& starts) const {
    Built built;
    for (const ChainSpec& chain : chains_) {
      if (chain.hook < 0) {
        add(built, {"ERROR", false, false, {}, {}, name_data(chain.name)}, starts);
        starts[chain.name] = static_cast<std::uint32_t>(built.bytes.size());
      } else {
        built.info.valid_hooks |= 1U << chain.hook;
        built.info.hook_entry.at(static_cast<std::size_t>(chain.hook)) =
            static_cast<std::uint32_t>(built.bytes.size());
      }
      for (const RuleSpec& rule : chain.rules) add(built, rule, starts);
      if (chain.hook >= 0)
        built.info.underflow.at(static_cast<std::size_t>(chain.hook)) =
            static_cast<std::uint32_t>(built.bytes.size());
      add(built, {chain.policy, false, false, {}, {}, {}}, starts);
    }
    add(built, {"ERROR", false, false, {}, {}, name_data("ERROR")}, starts);
    built.info.size = static_cast<std::uint32_t>(built.bytes.size());
    return built;
  }

  static std::vector<std::uint8_t> name_data(const std::string& name) {
    std::vector<std::uint8_t> data(name.begin(), name.end());
    data.resize(32);
    return data;
  }

  void add(Built& built, const RuleSpec& rule, const std::map<std::string, std::uint32_t>& starts) const {
    const Sizes size = sizes();
    std::vector<std::uint8_t> entry(size.entry);
    if (rule.conditional) {
      entry[0] = 10;  // -s 10.0.0.0/8
      entry[family_ == Family::ip6 ? 32 : 8] = 255;
    }
    if (rule.go_to) entry[size.flags] = size.goto_flag;
    entry[size.entry - 16] = 77;  // a counter
    for (const std::string& match : rule.matches) extension(entry, match, std::vector<std::uint8_t>(8));
    if (!rule.comment.empty()) {
      std::vector<std::uint8_t> text(rule.comment.begin(), rule.comment.end());
      text.resize(256);
      extension(entry, "comment", text);
    }
    const auto target_offset = static_cast<std::uint16_t>(entry.size());
    const auto begin = static_cast<std::uint32_t>(built.bytes.size());
    const bool named = rule.target == "ERROR" || is_extension(rule.target, starts);
    std::vector<std::uint8_t> data = rule.target_data;
    if (!named) {
      // The size is known: the header of the target and eight bytes.
      const std::int32_t verdict =
          standard(rule.target, begin + static_cast<std::uint32_t>(entry.size()) + 40, starts);
      data.assign(8, 0);
      std::memcpy(data.data(), &verdict, sizeof verdict);
    }
    extension(entry, named ? rule.target : "", data);
    const auto next_offset = static_cast<std::uint16_t>(entry.size());
    std::memcpy(entry.data() + size.target_offset, &target_offset, 2);
    std::memcpy(entry.data() + size.target_offset + 2, &next_offset, 2);
    built.bytes.insert(built.bytes.end(), entry.begin(), entry.end());
    ++built.info.entries;
  }

  [[nodiscard]] bool is_extension(const std::string& target,
                                  const std::map<std::string, std::uint32_t>& starts) const {
    if (target.empty() || target == "ACCEPT" || target == "DROP" || target == "QUEUE" || target == "RETURN")
      return false;
    for (const ChainSpec& chain : chains_)
      if (chain.name == target) return false;
    return !starts.contains(target);
  }

  static std::int32_t standard(const std::string& target, std::uint32_t next,
                               const std::map<std::string, std::uint32_t>& starts) {
    if (target.empty()) return static_cast<std::int32_t>(next);
    if (target == "DROP") return -1;
    if (target == "ACCEPT") return -2;
    if (target == "QUEUE") return -4;
    if (target == "RETURN") return -5;
    const auto it = starts.find(target);
    return it == starts.end() ? 0 : static_cast<std::int32_t>(it->second);
  }

  static void extension(std::vector<std::uint8_t>& entry, const std::string& name,
                        const std::vector<std::uint8_t>& data) {
    const std::size_t begin = entry.size();
    const std::size_t padded = (data.size() + 7) / 8 * 8;
    entry.resize(begin + 32 + padded);
    const auto size = static_cast<std::uint16_t>(32 + padded);
    std::memcpy(entry.data() + begin, &size, 2);
    std::memcpy(entry.data() + begin + 2, name.data(), name.size());
    if (!data.empty()) std::memcpy(entry.data() + begin + 32, data.data(), data.size());
  }

  Family family_;
  std::vector<ChainSpec> chains_;
};

// "web", 2 → its index; the policy or RETURN of a chain: number 0.
inline std::uint32_t index_of(const Table& table, const std::string& chain, int number) {
  for (std::uint32_t i = 0; i < table.entries.size(); ++i) {
    const Entry& entry = table.entries[i];
    if (entry.kind == EntryKind::chain_head || entry.kind == EntryKind::table_end) continue;
    if (table.chain_of(entry).name == chain && entry.number == number) return i;
  }
  throw std::runtime_error("no rule " + chain + " " + std::to_string(number));
}

}  // namespace pathtrace::legacy
