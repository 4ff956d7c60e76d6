// SPDX-License-Identifier: GPL-2.0
// An entry can only be counted if
//   - its chain is reached from the hook: by a jump or goto of an entry that can be counted itself;
//   - the packet's addresses and protocol are what ip_packet_match() (ip6_packet_match()) asks for, in the
//     entry, and in one of those that enter its chain.
// All of that is the same for the whole walk, as no target that lets the packet go on changes them
// (make_index() refuses tables with one that might). Matches, interfaces and inverted conditions are not
// looked at: they may match.
#include "ruleset/legacy_index.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <set>
#include <string_view>

#include "ruleset/legacy_walk.h"

namespace pathtrace::legacy {
namespace {

constexpr std::uint8_t invert_source = 0x08;  // IPT_INV_SRCIP, IP6T_INV_SRCIP
constexpr std::uint8_t invert_destination = 0x10;
constexpr std::uint8_t invert_protocol = 0x40;
// Prefixes by which a chain may be entered; more, and it counts as entered by all.
constexpr std::size_t most_of_chain = 64;

using Address = std::array<std::uint8_t, 16>;

// Of a packet's source or destination; length 0 is any.
struct Prefix {
  Address address{};
  unsigned length = 0;

  // An address before those inside it, and what is outside of it before or after all of them.
  auto operator<=>(const Prefix&) const = default;
};

using Prefixes = std::set<Prefix>;

struct HeaderLayout {
  std::size_t address_size;
  std::size_t invert_flags;  // offset of the invflags byte
};
constexpr HeaderLayout ip_layout{4, 83};     // struct ipt_ip
constexpr HeaderLayout ip6_layout{16, 132};  // struct ip6t_ip6
constexpr std::size_t ip_protocol = 80;

// Targets that may let the packet go on and, by their functions in net/netfilter/xt_*.c, change it, but
// neither its addresses nor its protocol.
constexpr auto harmless =
    std::to_array<std::string_view>({"TTL", "HL", "TOS", "DSCP", "ECN", "TCPMSS", "TCPOPTSTRIP", "SYNPROXY"});

bool keeps_addresses(const Target& target) {
  if (target.kind != TargetKind::extension) return true;
  const std::string& name = target.extension.name;
  return target_ends(name) != Ends::maybe ||
         std::find(harmless.begin(), harmless.end(), name) != harmless.end();
}

void mask(Address& address, unsigned length) {
  for (unsigned bit = length; bit < 128; ++bit)
    address.at(bit / 8) = static_cast<std::uint8_t>(address.at(bit / 8) & ~(0x80U >> bit % 8));
}

bool contains(const Prefix& outer, const Prefix& inner) {
  if (outer.length > inner.length) return false;
  Address address = inner.address;
  mask(address, outer.length);
  return address == outer.address;
}

void add(pt_block_set& set, std::uint32_t entry) {
  const std::uint32_t block = entry / PT_COUNTERS_PER_BLOCK;
  set.word[block / 64] |= std::uint64_t{1} << block % 64;
}

void add(pt_block_set& set, const pt_block_set& other) {
  for (std::size_t i = 0; i < PT_BLOCK_WORDS; ++i) set.word[i] |= other.word[i];
}

class Indexer {
 public:
  explicit Indexer(const Table& table)
      : table_(table), layout_(table.family == Family::ip ? ip_layout : ip6_layout) {
    for (std::uint32_t i = 0; i < table.entries.size(); ++i) {
      const Target& target = table.entries[i].target;
      if (target.kind == TargetKind::jump || target.kind == TargetKind::go_to)
        callers_[table.entries[target.to].chain].push_back(i);
    }
  }

  TableIndex run() {
    TableIndex index;
    by_hook(index);
    if (table_.family == Family::ip) by_protocol(index);
    by_side(index, PT_INDEX_SOURCE);
    by_side(index, PT_INDEX_DESTINATION);
    return index;
  }

 private:
  void by_hook(TableIndex& index) {
    for (std::uint32_t hook = 0; hook < kHooks; ++hook) {
      if ((table_.info.valid_hooks & (1U << hook)) == 0) continue;
      std::vector<std::uint32_t> ahead{
          table_.entries[*table_.index_at(table_.info.hook_entry.at(hook))].chain};
      std::set<std::uint32_t> seen(ahead.begin(), ahead.end());
      while (!ahead.empty()) {
        const Chain& chain = table_.chains[ahead.back()];
        ahead.pop_back();
        for (std::uint32_t i = chain.first; i <= chain.last; ++i) {
          add(index.head.by_hook[hook], i);
          const Target& target = table_.entries[i].target;
          if (target.kind != TargetKind::jump && target.kind != TargetKind::go_to) continue;
          const std::uint32_t next = table_.entries[target.to].chain;
          if (seen.insert(next).second) ahead.push_back(next);
        }
      }
    }
  }

  [[nodiscard]] bool counts(const Entry& entry) const {
    return entry.kind != EntryKind::chain_head && entry.kind != EntryKind::table_end;
  }

  // Bit n: class n (enum pt_protocol_class) may match.
  [[nodiscard]] unsigned protocols(const Entry& entry) const {
    constexpr unsigned all = (1U << PT_PROTOCOL_CLASSES) - 1;
    const auto header = table_.header(entry);
    std::uint16_t protocol = 0;
    std::memcpy(&protocol, header.data() + ip_protocol, sizeof protocol);
    if (protocol == 0 || (header[layout_.invert_flags] & invert_protocol) != 0) return all;
    switch (protocol) {
      case 6:
        return 1U << PT_PROTOCOL_TCP;
      case 17:
        return 1U << PT_PROTOCOL_UDP;
      case 1:
        return 1U << PT_PROTOCOL_ICMP;
      default:
        return 1U << PT_PROTOCOL_OTHER;
    }
  }

  void by_protocol(TableIndex& index) const {
    for (std::uint32_t i = 0; i < table_.entries.size(); ++i) {
      if (!counts(table_.entries[i])) continue;
      const unsigned may = protocols(table_.entries[i]);
      for (unsigned protocol = 0; protocol < PT_PROTOCOL_CLASSES; ++protocol)
        if ((may >> protocol & 1) != 0) add(index.head.by_protocol[protocol], i);
    }
  }

  [[nodiscard]] Prefix own_prefix(const Entry& entry, pt_index_side side) const {
    const auto header = table_.header(entry);
    const std::size_t size = layout_.address_size;
    const std::uint8_t inverted = side == PT_INDEX_SOURCE ? invert_source : invert_destination;
    if ((header[layout_.invert_flags] & inverted) != 0) return {};
    const std::size_t at = side == PT_INDEX_SOURCE ? 0 : size;
    Prefix prefix;
    std::memcpy(prefix.address.data(), header.data() + at, size);
    // up to the first bit that the mask leaves out: what comes after it is not looked at
    const auto bits = header.subspan(2 * size + at, size);
    for (const std::uint8_t byte : bits) {
      const auto ones = static_cast<unsigned>(std::countl_one(byte));
      prefix.length += ones;
      if (ones != 8) break;
    }
    mask(prefix.address, prefix.length);
    return prefix;
  }

  // The prefixes of packets that may get into a chain. A chain that is entered from itself can't be:
  // mark_source_chains() refuses loops; `open` keeps a table that lies from being believed.
  const Prefixes& into_chain(std::uint32_t chain, pt_index_side side) {
    auto& known = into_chain_.at(static_cast<std::size_t>(side));
    const auto found = known.find(chain);
    if (found != known.end()) return found->second;
    known[chain] = {Prefix{}};  // while it is being found out
    Prefixes into;
    if (table_.chains[chain].hook) into.insert(Prefix{});
    for (const std::uint32_t caller : callers_[chain]) {
      const Prefixes& one = of_entry(caller, side);
      into.insert(one.begin(), one.end());
    }
    if (into.size() > most_of_chain || into.contains(Prefix{})) into = {Prefix{}};
    return known[chain] = std::move(into);
  }

  // The prefixes of packets that may be counted by an entry.
  const Prefixes& of_entry(std::uint32_t index, pt_index_side side) {
    const Entry& entry = table_.entries[index];
    const Prefix own = own_prefix(entry, side);
    if (own.length == 0) return into_chain(entry.chain, side);
    own_ = {own};
    return own_;
  }

  void by_side(TableIndex& index, pt_index_side side) {
    std::map<Prefix, pt_block_set> blocks;
    blocks[Prefix{}];
    for (std::uint32_t i = 0; i < table_.entries.size(); ++i)
      if (counts(table_.entries[i]))
        for (const Prefix& prefix : of_entry(i, side)) add(blocks[prefix], i);
    // ordered: every prefix comes after those that contain it
    std::vector<std::pair<Prefix, pt_block_set>> around;
    for (auto& [prefix, set] : blocks) {
      while (!around.empty() && !contains(around.back().first, prefix)) around.pop_back();
      if (!around.empty()) add(set, around.back().second);
      around.emplace_back(prefix, set);
      IndexPrefix& made = index.prefixes.emplace_back();
      made.key.prefix_length = PT_INDEX_KEY_BITS + prefix.length;
      made.key.side = side;
      std::copy(prefix.address.begin(), prefix.address.end(), made.key.address);
      made.blocks = set;
    }
  }

  const Table& table_;
  const HeaderLayout layout_;
  std::map<std::uint32_t, std::vector<std::uint32_t>> callers_;  // by chain: entries that enter it
  std::array<std::map<std::uint32_t, Prefixes>, 2> into_chain_;  // by side and chain
  Prefixes own_;
};

}  // namespace

bool worth_index(const Table& table) {
  return table.entries.size() > PT_COUNTERS_PER_BLOCK &&
         table.entries.size() <= std::size_t{PT_MAX_BLOCKS} * PT_COUNTERS_PER_BLOCK;
}

std::optional<TableIndex> make_index(const Table& table) {
  if (table.family != Family::ip && table.family != Family::ip6) return std::nullopt;
  if (table.entries.size() > std::size_t{PT_MAX_BLOCKS} * PT_COUNTERS_PER_BLOCK) return std::nullopt;
  if (!std::all_of(table.entries.begin(), table.entries.end(),
                   [](const Entry& entry) { return keeps_addresses(entry.target); }))
    return std::nullopt;
  return Indexer(table).run();
}

}  // namespace pathtrace::legacy
