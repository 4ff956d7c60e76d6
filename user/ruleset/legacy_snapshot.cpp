// SPDX-License-Identifier: GPL-2.0
// The blob comes from getsockopt, the text from iptables-legacy-save. The two are read one
// after the other, so the blob is read again after the text: text of a table that changed in
// between is not used.
#include "ruleset/legacy_snapshot.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>

#include "ruleset/legacy_text.h"
#include "ruleset/save_text.h"
#include "ruleset/tool.h"
#include "support/fd.h"

namespace pathtrace::legacy {
namespace {

// IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES; IP6T_* are the same, ARPT_* begin at 96.
constexpr int kGetInfo = 64;
constexpr int kGetEntries = 65;
constexpr int kArpBase = 32;
constexpr std::size_t kTableName = 32;  // XT_TABLE_MAXNAMELEN

struct GetInfo {  // struct ipt_getinfo
  std::array<char, kTableName> name;
  std::uint32_t valid_hooks;
  std::array<std::uint32_t, 5> hook_entry;
  std::array<std::uint32_t, 5> underflow;
  std::uint32_t num_entries;
  std::uint32_t size;
};
static_assert(sizeof(GetInfo) == 84);

struct GetInfoArp {  // struct arpt_getinfo
  std::array<char, kTableName> name;
  std::uint32_t valid_hooks;
  std::array<std::uint32_t, 3> hook_entry;
  std::array<std::uint32_t, 3> underflow;
  std::uint32_t num_entries;
  std::uint32_t size;
};
static_assert(sizeof(GetInfoArp) == 68);

struct GetEntries {  // struct ipt_get_entries; the entries follow at 40
  std::array<char, kTableName> name;
  std::uint32_t size;
  std::uint32_t pad;
};
static_assert(sizeof(GetEntries) == 40);

struct FamilyCalls {
  int domain;
  int level;
  int base;  // added to the option numbers
  const char* names;
  // Where several are installed the first is taken. "iptables-save" alone may be either
  // backend's. arptables-legacy-save is a script that runs a shell: not used.
  std::array<const char*, 2> tools;
};

const FamilyCalls& calls(Family family) {
  // thread-self, not self: the namespace is this thread's.
  static constexpr FamilyCalls ip{AF_INET,
                                  IPPROTO_IP,
                                  0,
                                  "/proc/thread-self/net/ip_tables_names",
                                  {"iptables-legacy-save", "iptables-save"}};
  static constexpr FamilyCalls ip6{AF_INET6,
                                   IPPROTO_IPV6,
                                   0,
                                   "/proc/thread-self/net/ip6_tables_names",
                                   {"ip6tables-legacy-save", "ip6tables-save"}};
  static constexpr FamilyCalls arp{
      AF_INET, IPPROTO_IP, kArpBase, "/proc/thread-self/net/arp_tables_names", {}};
  return family == Family::ip6 ? ip6 : family == Family::arp ? arp : ip;
}

Error failed(Family family, const std::string& name, const char* what) {
  return {ExitStatus::failure,
          fmt::format("table {} ({}): {}: {}", name, word(family), what, std::strerror(errno)),
          {}};
}

template <typename Raw>
std::optional<Info> get_info(int fd, const FamilyCalls& call, const std::string& name) {
  Raw raw{};
  name.copy(raw.name.data(), kTableName - 1);
  socklen_t length = sizeof raw;
  if (::getsockopt(fd, call.level, kGetInfo + call.base, &raw, &length) != 0) return std::nullopt;
  Info info;
  info.valid_hooks = raw.valid_hooks;
  for (std::size_t i = 0; i < raw.hook_entry.size(); ++i) {
    info.hook_entry.at(i) = raw.hook_entry.at(i);
    info.underflow.at(i) = raw.underflow.at(i);
  }
  info.entries = raw.num_entries;
  info.size = raw.size;
  return info;
}

// get_entries() of ip_tables.c returns EAGAIN where the size is no longer the one asked for.
Result<Table> read_blob(Family family, const std::string& name) {
  const FamilyCalls& call = calls(family);
  const Fd fd(::socket(call.domain, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return failed(family, name, "socket");
  for (int attempt = 0; attempt < 5; ++attempt) {
    const auto info = family == Family::arp ? get_info<GetInfoArp>(fd.get(), call, name)
                                            : get_info<GetInfo>(fd.get(), call, name);
    if (!info) return failed(family, name, "getsockopt GET_INFO");
    std::vector<std::uint8_t> buffer(sizeof(GetEntries) + info->size);
    GetEntries request{};
    name.copy(request.name.data(), kTableName - 1);
    request.size = info->size;
    std::memcpy(buffer.data(), &request, sizeof request);
    auto length = static_cast<socklen_t>(buffer.size());
    if (::getsockopt(fd.get(), call.level, kGetEntries + call.base, buffer.data(), &length) == 0) {
      buffer.erase(buffer.begin(), buffer.begin() + sizeof(GetEntries));
      return parse_table(family, name, *info, std::move(buffer));
    }
    if (errno != EAGAIN) break;
  }
  return failed(family, name, "getsockopt GET_ENTRIES");
}

// iptables-save is a link to xtables-legacy-multi or to xtables-nft-multi; only the former
// reads these tables. Where it is a program of its own it is from before there were two.
bool is_legacy_tool(const std::string& path) {
  std::array<char, 4096> resolved{};
  if (::realpath(path.c_str(), resolved.data()) == nullptr) return false;
  return std::string_view(resolved.data()).find("nft") == std::string_view::npos;
}

std::optional<std::string> save(Family family, const std::string& table) {
  for (const char* name : calls(family).tools) {
    if (name == nullptr) continue;
    const auto path = find_tool(name);
    if (!path || !is_legacy_tool(*path)) continue;
    return run_tool({*path, "-t", table});
  }
  return std::nullopt;
}

// Whether what follows -j or -g in a saved line is what the entry does.
bool same_target(const Table& table, const Entry& entry, std::string_view rule) {
  const auto target = saved_target(rule);
  switch (entry.target.kind) {
    case TargetKind::fall_through:
      return !target;
    case TargetKind::return_:
      return target == "RETURN";
    case TargetKind::jump:
    case TargetKind::go_to:
      return target == table.chain_of(table.entries[entry.target.to]).name;
    case TargetKind::extension:
      return target.has_value();
    case TargetKind::verdict:
      return target == (entry.target.verdict == 0 ? "DROP" : entry.target.verdict == 1 ? "ACCEPT" : "QUEUE");
    case TargetKind::error:
      break;
  }
  return false;
}

std::vector<std::string> own_text(const Table& table) {
  std::vector<std::string> text(table.entries.size());
  for (std::size_t i = 0; i < text.size(); ++i)
    if (table.entries[i].kind == EntryKind::rule) text[i] = rule_text(table, table.entries[i]);
  return text;
}

}  // namespace

std::vector<std::string> table_names(Family family) {
  std::ifstream file(calls(family).names);
  std::vector<std::string> names;
  std::string name;
  while (file >> name) names.push_back(name);
  return names;
}

std::optional<std::vector<std::string>> match_saved(const Table& table, std::string_view saved) {
  const auto lines = parse_save(saved, table.name);
  if (!lines) return std::nullopt;
  std::vector<std::string> text(table.entries.size());
  for (const Chain& chain : table.chains) {
    const auto it = lines->rules.find(chain.name);
    const std::size_t count = it == lines->rules.end() ? 0 : it->second.size();
    if (count != static_cast<std::size_t>(chain.rules)) return std::nullopt;
    for (std::size_t i = 0; i < count; ++i) {
      if (!same_target(table, table.entries[chain.first + i], it->second[i])) return std::nullopt;
      text[chain.first + i] = it->second[i];
    }
  }
  return text;
}

Result<Snapshot> read_table(Family family, const std::string& name) {
  Result<Table> table = read_blob(family, name);
  if (!table) return Error{ExitStatus::failure, table.error().message, {}};
  for (int attempt = 0; attempt < 2 && table->has_rules(); ++attempt) {
    const auto saved = save(family, name);
    if (!saved) break;
    Result<Table> again = read_blob(family, name);
    if (!again) return Error{ExitStatus::failure, again.error().message, {}};
    const bool unchanged = again->info == table->info && again->bytes == table->bytes;
    table = std::move(again);
    if (!unchanged) continue;
    if (auto text = match_saved(*table, *saved)) return Snapshot{std::move(*table), std::move(*text), true};
    break;
  }
  std::vector<std::string> text = own_text(*table);
  return Snapshot{std::move(*table), std::move(text), false};
}

}  // namespace pathtrace::legacy
