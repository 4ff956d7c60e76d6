// SPDX-License-Identifier: GPL-2.0
// The table of iptables-legacy, ip6tables-legacy or arptables-legacy as the kernel gives it to
// IPT_SO_GET_ENTRIES: one array of variable-sized entries, in which chains exist only as
// stretches between marker entries. Parsed here into chains and numbered rules. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "support/result.h"
#include "timeline/words.h"

namespace pathtrace::legacy {

constexpr std::size_t kHooks = 5;

// struct ipt_getinfo (IPT_SO_GET_INFO) without the name. Offsets in bytes from the first entry.
struct Info {
  std::uint32_t valid_hooks = 0;  // bit n: hook n
  std::array<std::uint32_t, kHooks> hook_entry{};
  std::array<std::uint32_t, kHooks> underflow{};
  std::uint32_t entries = 0;
  std::uint32_t size = 0;

  bool operator==(const Info&) const = default;
};

// A match or target extension; its data is at [data, data + data_size) of Table::bytes.
struct Extension {
  std::string name;
  std::uint8_t revision = 0;
  std::uint32_t data = 0;
  std::uint32_t data_size = 0;
};

enum class TargetKind {
  verdict,       // ends the walk with `verdict`
  return_,       // back to after the jump; in a base chain: to its policy
  fall_through,  // a rule without -j, which libiptc stores as a jump to the next entry
  jump,
  go_to,
  error,      // chain heads and the table's end
  extension,  // REJECT, LOG, ...
};

struct Target {
  TargetKind kind = TargetKind::error;
  std::uint32_t verdict = 0;  // NF_*
  std::uint32_t to = 0;       // index of the entry jumped to
  Extension extension;
};

enum class EntryKind {
  rule,
  policy,      // last entry of a base chain
  chain_head,  // ERROR entry with the name of the user chain it begins
  chain_end,   // the RETURN that libiptc puts at the end of every user chain
  table_end,   // ERROR entry
};

struct Entry {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;
  std::uint32_t chain = 0;  // index in Table::chains; of table_end: meaningless
  int number = 0;           // of a rule, from 1; 0 for everything else
  EntryKind kind = EntryKind::rule;
  bool conditional = true;   // false: every packet that gets here matches
  bool may_hotdrop = false;  // looking at it may drop a packet that doesn't match it
  std::vector<Extension> matches;
  Target target;
};

struct Chain {
  std::string name;
  std::optional<std::uint32_t> hook;  // of a base chain
  std::uint32_t first = 0;            // index of its first entry after any head
  std::uint32_t last = 0;             // its policy or end; of an odd user chain its last rule
  int rules = 0;
};

// The analyzer does not see into the std::variant of a Result.
struct Table {  // NOLINT(clang-analyzer-core.uninitialized.Assign)
  Family family = Family::ip;
  std::string name;
  Info info;
  std::vector<std::uint8_t> bytes;  // the entries, counters zeroed: equal bytes, equal ruleset
  std::vector<Entry> entries;       // in blob order: the index is the one of struct pt_match
  std::vector<Chain> chains;
  // For each entry the first index, from itself on, of an entry that isn't conditional.
  std::vector<std::uint32_t> next_unconditional;
  // ERROR entries: translate_table() makes room for as many jumps.
  std::size_t jump_stack = 0;

  [[nodiscard]] std::span<const std::uint8_t> data(const Extension& extension) const {
    return std::span(bytes).subspan(extension.data, extension.data_size);
  }
  // struct ipt_ip, ip6t_ip6 or arpt_arp of an entry.
  [[nodiscard]] std::span<const std::uint8_t> header(const Entry& entry) const;
  [[nodiscard]] const Chain& chain_of(const Entry& entry) const { return chains[entry.chain]; }
  // Index of the entry that begins at `offset`.
  [[nodiscard]] std::optional<std::uint32_t> index_at(std::uint32_t offset) const;
  [[nodiscard]] bool has_rules() const;
};

// `bytes` is ipt_get_entries.entrytable. Fails on everything that is not laid out as
// iptables lays it out, so that no rule is numbered by guesswork.
Result<Table> parse_table(Family family, std::string name, const Info& info, std::vector<std::uint8_t> bytes);

// "INPUT" for hook 1 of ip and ip6, 0 of arp; "" for a hook there is not.
std::string_view base_chain_name(Family family, std::uint32_t hook);
// The hook as the output contract names it.
std::optional<Hook> hook_word(Family family, std::uint32_t hook);

// The --comment of a rule, as typed.
std::optional<std::string> comment(const Table& table, const Entry& entry);

}  // namespace pathtrace::legacy
