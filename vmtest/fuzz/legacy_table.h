// SPDX-License-Identifier: GPL-2.0
// Legacy tables, read once and put in place again as fast as the kernel allows.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <fstream>
#include <vector>

#include "guest.h"

// struct ipt_getinfo and struct ipt_replace, the same for ip6_tables.
struct TableInfo {
  char name[32];
  std::uint32_t valid_hooks, hook_entry[5], underflow[5], entries, size;
};
struct TableReplace {
  char name[32];
  std::uint32_t valid_hooks, entries, size, hook_entry[5], underflow[5], counters;
  void* old_counters;
};
struct TableEntries {
  char name[32];
  std::uint32_t size;
  std::uint32_t pad;
};
constexpr int kGetInfo = 64, kGetEntries = 65, kReplace = 64;

class LegacyTable {
 public:
  LegacyTable(int fd, int level, const std::string& name) : fd_(fd), level_(level) {
    TableInfo info{};
    socklen_t size = sizeof info;
    std::strncpy(info.name, name.c_str(), sizeof info.name - 1);
    if (::getsockopt(fd, level, kGetInfo, &info, &size) != 0) die("table " + name);
    std::vector<char> answer(sizeof(TableEntries) + info.size);
    TableEntries head{};
    std::memcpy(head.name, info.name, sizeof head.name);
    head.size = info.size;
    std::memcpy(answer.data(), &head, sizeof head);
    size = static_cast<socklen_t>(answer.size());
    if (::getsockopt(fd, level, kGetEntries, answer.data(), &size) != 0) die("entries of " + name);
    TableReplace replace{};
    std::memcpy(replace.name, info.name, sizeof replace.name);
    replace.valid_hooks = info.valid_hooks;
    replace.entries = info.entries;
    replace.size = info.size;
    std::memcpy(replace.hook_entry, info.hook_entry, sizeof info.hook_entry);
    std::memcpy(replace.underflow, info.underflow, sizeof info.underflow);
    request_.resize(sizeof replace + info.size);
    std::memcpy(request_.data(), &replace, sizeof replace);
    std::memcpy(request_.data() + sizeof replace, answer.data() + sizeof head, info.size);
  }
  // The kernel wants room for as many counters as the table that goes has entries.
  void put(std::uint32_t old_entries) {
    TableReplace replace{};
    std::memcpy(&replace, request_.data(), sizeof replace);
    std::vector<std::uint64_t> counters(2 * std::size_t{old_entries});
    replace.counters = old_entries;
    replace.old_counters = counters.data();
    std::memcpy(request_.data(), &replace, sizeof replace);
    (void)::setsockopt(fd_, level_, kReplace, request_.data(), static_cast<socklen_t>(request_.size()));
  }
  [[nodiscard]] std::uint32_t entries() const {
    TableReplace replace{};
    std::memcpy(&replace, request_.data(), sizeof replace);
    return replace.entries;
  }

 private:
  int fd_, level_;
  std::vector<char> request_;
};

inline std::vector<LegacyTable> read_tables(bool v4) {
  const int fd = ::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  std::ifstream names(v4 ? "/proc/thread-self/net/ip_tables_names"
                         : "/proc/thread-self/net/ip6_tables_names");
  std::vector<LegacyTable> tables;
  for (std::string name; std::getline(names, name);) tables.emplace_back(fd, v4 ? SOL_IP : SOL_IPV6, name);
  return tables;
}
