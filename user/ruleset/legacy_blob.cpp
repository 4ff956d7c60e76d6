// SPDX-License-Identifier: GPL-2.0
// The layouts below are struct ipt_entry, ip6t_entry and arpt_entry of
// <linux/netfilter_ipv4/ip_tables.h> and its kin, on 64-bit machines. They are user-space
// ABI; written down here because those headers do not compile as C++ (arithmetic on void *).
#include "ruleset/legacy_blob.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace pathtrace::legacy {
namespace {

struct Layout {
  std::uint32_t header_size;    // struct ipt_ip and kin
  std::uint32_t flags;          // offset of the flags byte in it
  std::uint8_t goto_flag;       // IPT_F_GOTO; arptables has none
  std::uint32_t target_offset;  // offset of the __u16 target_offset; next_offset follows it
  std::uint32_t counters;       // offset of struct xt_counters
  std::uint32_t entry_size;     // sizeof the fixed part
  std::uint32_t hooks;
};

constexpr Layout kIp{84, 82, 2, 88, 96, 112, 5};
constexpr Layout kIp6{136, 131, 4, 140, 152, 168, 5};
constexpr Layout kArp{164, 158, 0, 164, 176, 192, 3};

// struct ip6t_ip6: proto is a __u16, flags has IP6T_F_PROTO if it counts.
constexpr std::uint8_t kIp6FlagProto = 1;

// struct xt_entry_match and xt_entry_target: __u16 size, char name[29], __u8 revision, data.
constexpr std::uint32_t kExtensionHeader = 32;
constexpr std::uint32_t kExtensionName = 29;
constexpr std::uint32_t kErrorName = 30;  // struct xt_error_target: errorname[]
constexpr std::uint32_t kCounters = 16;   // struct xt_counters
static_assert(kIp.counters + kCounters == kIp.entry_size);
static_assert(kIp6.counters + kCounters == kIp6.entry_size);
static_assert(kArp.counters + kCounters == kArp.entry_size);

constexpr std::int32_t kXtReturn = -5;  // XT_RETURN: -NF_REPEAT - 1
constexpr std::uint32_t kNone = ~std::uint32_t{0};

const Layout& layout(Family family) {
  return family == Family::ip6 ? kIp6 : family == Family::arp ? kArp : kIp;
}

template <typename T>
T load(std::span<const std::uint8_t> bytes, std::size_t offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::string load_string(std::span<const std::uint8_t> bytes) {
  const auto end = std::find(bytes.begin(), bytes.end(), std::uint8_t{0});
  return {bytes.begin(), end};
}

class Parser {
 public:
  Parser(Family family, std::string name, const Info& info, std::vector<std::uint8_t> bytes)
      : layout_(layout(family)) {
    table_.family = family;
    table_.name = std::move(name);
    table_.info = info;
    table_.bytes = std::move(bytes);
  }

  Result<Table> run() && {
    if (table_.bytes.size() != table_.info.size) return fail("its size is not the announced one");
    if (!parse_entries() || !resolve_jumps() || !parse_chains()) return fail(why_);
    find_unconditional();
    table_.jump_stack = static_cast<std::size_t>(
        std::count_if(table_.entries.begin(), table_.entries.end(),
                      [](const Entry& entry) { return entry.target.kind == TargetKind::error; }));
    return std::move(table_);
  }

 private:
  [[nodiscard]] Error fail(const std::string& why) const {
    return {ExitStatus::failure,
            fmt::format("table {} ({}): not laid out as iptables does it: {}", table_.name,
                        word(table_.family), why),
            {}};
  }

  bool refuse(std::string why) {
    why_ = std::move(why);
    return false;
  }

  bool parse_entries() {
    const std::span<const std::uint8_t> bytes(table_.bytes);
    // An entry can't be smaller than its fixed part: a lying count must not reserve memory.
    table_.entries.reserve(std::min<std::size_t>(table_.info.entries, bytes.size() / layout_.entry_size));
    std::size_t offset = 0;
    while (offset < bytes.size()) {
      if (bytes.size() - offset < layout_.entry_size) return refuse("a truncated entry");
      const auto target_offset = load<std::uint16_t>(bytes, offset + layout_.target_offset);
      const auto next_offset = load<std::uint16_t>(bytes, offset + layout_.target_offset + 2);
      if (next_offset > bytes.size() - offset || target_offset < layout_.entry_size ||
          target_offset + kExtensionHeader > next_offset)
        return refuse(fmt::format("bad offsets in entry {}", table_.entries.size()));
      Entry entry;
      entry.offset = static_cast<std::uint32_t>(offset);
      entry.size = next_offset;
      if (!parse_matches(entry, target_offset) || !parse_target(entry, target_offset)) return false;
      describe(entry);
      std::memset(table_.bytes.data() + offset + layout_.counters, 0, kCounters);
      table_.entries.push_back(std::move(entry));
      offset += next_offset;
    }
    if (table_.entries.size() != table_.info.entries || table_.entries.empty())
      return refuse("its number of entries is not the announced one");
    return true;
  }

  // The header and the data of an extension must lie within [at, end).
  bool parse_extension(std::uint32_t at, std::uint32_t end, Extension& extension, std::uint32_t& size) {
    const std::span<const std::uint8_t> bytes(table_.bytes);
    if (end - at < kExtensionHeader) return refuse("a truncated extension");
    size = load<std::uint16_t>(bytes, at);
    if (size < kExtensionHeader || size > end - at) return refuse("an extension with a bad size");
    extension.name = load_string(bytes.subspan(at + 2, kExtensionName));
    extension.revision = bytes[at + 2 + kExtensionName];
    extension.data = at + kExtensionHeader;
    extension.data_size = size - kExtensionHeader;
    return true;
  }

  bool parse_matches(Entry& entry, std::uint32_t target_offset) {
    std::uint32_t at = entry.offset + layout_.entry_size;
    const std::uint32_t end = entry.offset + target_offset;
    while (at < end) {
      Extension match;
      std::uint32_t size = 0;
      if (!parse_extension(at, end, match, size)) return false;
      entry.matches.push_back(std::move(match));
      at += size;
    }
    return true;
  }

  bool parse_target(Entry& entry, std::uint32_t target_offset) {
    std::uint32_t size = 0;
    Target& target = entry.target;
    if (!parse_extension(entry.offset + target_offset, entry.offset + entry.size, target.extension, size))
      return false;
    if (target.extension.name == "ERROR") {
      target.kind = TargetKind::error;
      return target.extension.data_size >= kErrorName || refuse("an ERROR entry without a name");
    }
    if (!target.extension.name.empty()) {
      target.kind = TargetKind::extension;
      return true;
    }
    if (target.extension.data_size < sizeof(std::int32_t)) return refuse("a verdict without a value");
    standard_target(entry, load<std::int32_t>(table_.bytes, target.extension.data));
    return true;
  }

  // struct xt_standard_target, as ipt_do_table reads it. A jump's `to` is still an offset
  // here: the entry it goes to may not have been parsed yet.
  void standard_target(Entry& entry, std::int32_t value) const {
    Target& target = entry.target;
    if (value < 0) {
      target.kind = value == kXtReturn ? TargetKind::return_ : TargetKind::verdict;
      target.verdict = static_cast<std::uint32_t>(-(value + 1));
      return;
    }
    target.to = static_cast<std::uint32_t>(value);
    const std::uint8_t flags = table_.bytes[entry.offset + layout_.flags];
    if (target.to == entry.offset + entry.size)
      target.kind = TargetKind::fall_through;
    else
      target.kind = (flags & layout_.goto_flag) != 0 ? TargetKind::go_to : TargetKind::jump;
  }

  void describe(Entry& entry) const {
    const auto header = std::span(table_.bytes).subspan(entry.offset, layout_.header_size);
    bool bare = true;
    for (std::size_t i = 0; i < header.size(); ++i) {
      const std::uint8_t ignored = i == layout_.flags ? layout_.goto_flag : 0;
      if ((header[i] & ~ignored) != 0) bare = false;
    }
    // comment_mt() of xt_comment returns true whatever the packet.
    const bool only_comments = std::all_of(entry.matches.begin(), entry.matches.end(),
                                           [](const Extension& match) { return match.name == "comment"; });
    entry.conditional = !bare || !only_comments;
    // ip6_packet_match() sets hotdrop when it can't find the header a rule's -p asks about.
    const bool parses_headers = table_.family == Family::ip6 && (header[layout_.flags] & kIp6FlagProto) != 0;
    entry.may_hotdrop = !only_comments || parses_headers;
  }

  bool resolve_jumps() {
    for (Entry& entry : table_.entries) {
      if (entry.target.kind != TargetKind::jump && entry.target.kind != TargetKind::go_to &&
          entry.target.kind != TargetKind::fall_through)
        continue;
      const auto index = table_.index_at(entry.target.to);
      if (!index) return refuse("a jump into the middle of an entry");
      entry.target.to = *index;
    }
    return true;
  }

  bool parse_chains() {
    if (table_.entries.back().target.kind != TargetKind::error) return refuse("no ERROR entry at the end");
    table_.entries.back().kind = EntryKind::table_end;
    std::uint32_t next = 0;
    return parse_base_chains(next) && parse_user_chains(next);
  }

  // libiptc writes the base chains first, in the order of their hooks.
  bool parse_base_chains(std::uint32_t& next) {
    for (std::uint32_t hook = 0; hook < layout_.hooks; ++hook) {
      if ((table_.info.valid_hooks & (1U << hook)) == 0) continue;
      const auto first = table_.index_at(table_.info.hook_entry.at(hook));
      const auto policy = table_.index_at(table_.info.underflow.at(hook));
      if (!first || !policy || *first != next || *policy < *first)
        return refuse(fmt::format("the chain of hook {} is not where it should be", hook));
      const Entry& last = table_.entries[*policy];
      if (last.conditional || last.target.kind != TargetKind::verdict)
        return refuse(fmt::format("the chain of hook {} has no policy", hook));
      Chain chain{std::string(base_chain_name(table_.family, hook)), hook, *first, *policy, 0};
      if (!number(chain, *policy)) return false;
      table_.entries[*policy].kind = EntryKind::policy;
      table_.chains.push_back(std::move(chain));
      next = *policy + 1;
    }
    return true;
  }

  // A user chain is an ERROR entry with its name and everything up to the next ERROR entry.
  bool parse_user_chains(std::uint32_t next) {
    const auto end = static_cast<std::uint32_t>(table_.entries.size() - 1);
    while (next < end) {
      Entry& head = table_.entries[next];
      if (head.target.kind != TargetKind::error) return refuse("a rule outside of any chain");
      head.kind = EntryKind::chain_head;
      head.chain = static_cast<std::uint32_t>(table_.chains.size());
      std::uint32_t stop = next + 1;
      while (table_.entries[stop].target.kind != TargetKind::error) ++stop;
      Entry& last = table_.entries[stop - 1];
      if (stop == next + 1 || last.conditional || !last.matches.empty() ||
          last.target.kind != TargetKind::return_)
        return refuse("a chain without a RETURN at its end");
      Chain chain{load_string(table_.data(head.target.extension).first(kErrorName)), std::nullopt, next + 1,
                  stop - 1, 0};
      if (!number(chain, stop - 1)) return false;
      last.kind = EntryKind::chain_end;
      table_.chains.push_back(std::move(chain));
      next = stop;
    }
    return true;
  }

  // Numbers [chain.first, last); `last` belongs to the chain but is no rule.
  bool number(Chain& chain, std::uint32_t last) {
    for (std::uint32_t i = chain.first; i <= last; ++i) {
      Entry& entry = table_.entries[i];
      if (entry.target.kind == TargetKind::error) return refuse("an ERROR entry inside a chain");
      entry.chain = static_cast<std::uint32_t>(table_.chains.size());
      if (i != last) entry.number = ++chain.rules;
    }
    return true;
  }

  void find_unconditional() {
    table_.next_unconditional.assign(table_.entries.size(), kNone);
    std::uint32_t next = kNone;
    for (auto i = static_cast<std::uint32_t>(table_.entries.size()); i-- > 0;) {
      if (!table_.entries[i].conditional) next = i;
      table_.next_unconditional[i] = next;
    }
  }

  const Layout& layout_;
  Table table_;
  std::string why_;
};

}  // namespace

std::span<const std::uint8_t> Table::header(const Entry& entry) const {
  return std::span(bytes).subspan(entry.offset, layout(family).header_size);
}

std::optional<std::uint32_t> Table::index_at(std::uint32_t offset) const {
  const auto it =
      std::lower_bound(entries.begin(), entries.end(), offset,
                       [](const Entry& entry, std::uint32_t value) { return entry.offset < value; });
  if (it == entries.end() || it->offset != offset) return std::nullopt;
  return static_cast<std::uint32_t>(it - entries.begin());
}

bool Table::has_rules() const {
  return std::any_of(chains.begin(), chains.end(), [](const Chain& chain) { return chain.rules != 0; });
}

Result<Table> parse_table(Family family, std::string name, const Info& info,
                          std::vector<std::uint8_t> bytes) {
  return Parser(family, std::move(name), info, std::move(bytes)).run();
}

std::string_view base_chain_name(Family family, std::uint32_t hook) {
  const auto value = hook_word(family, hook);
  return value ? word(*value) : std::string_view{};
}

std::optional<Hook> hook_word(Family family, std::uint32_t hook) {
  static constexpr std::array kArpHooks{Hook::input, Hook::output, Hook::forward};  // NF_ARP_*
  static constexpr std::array kIpHooks{Hook::prerouting, Hook::input, Hook::forward, Hook::output,
                                       Hook::postrouting};  // NF_INET_*
  if (family == Family::arp)
    return hook < kArpHooks.size() ? std::optional(kArpHooks.at(hook)) : std::nullopt;
  return hook < kIpHooks.size() ? std::optional(kIpHooks.at(hook)) : std::nullopt;
}

std::optional<std::string> comment(const Table& table, const Entry& entry) {
  for (const Extension& match : entry.matches)
    if (match.name == "comment") return load_string(table.data(match));
  return std::nullopt;
}

}  // namespace pathtrace::legacy
