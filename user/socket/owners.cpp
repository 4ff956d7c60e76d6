// SPDX-License-Identifier: GPL-2.0
#include "socket/owners.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace pathtrace {
namespace {

// A host with 100,000 descriptors takes about this long; an answer later than that helps nobody.
constexpr std::chrono::milliseconds longest_search{500};

using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;

Directory open_directory(const std::string& path) { return {opendir(path.c_str()), closedir}; }

// The name of each entry, until `take` returns false.
template <typename F>
void each_entry(const std::string& path, F&& take) {
  const Directory directory = open_directory(path);
  if (!directory) return;
  while (const dirent* entry = readdir(directory.get()))
    if (!take(dirfd(directory.get()), entry->d_name)) return;
}

std::vector<std::uint32_t> processes() {
  std::vector<std::uint32_t> out;
  each_entry("/proc", [&](int, const char* name) {
    std::uint32_t pid = 0;
    const char* end = name + std::strlen(name);
    if (const auto parsed = std::from_chars(name, end, pid); parsed.ptr == end && parsed.ec == std::errc())
      out.push_back(pid);
    return true;
  });
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<std::uint64_t> socket_inode(int directory, const char* name) {
  std::array<char, 64> target{};
  const ssize_t length = readlinkat(directory, name, target.data(), target.size());
  std::string_view text(target.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  constexpr std::string_view prefix = "socket:[";
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  std::uint64_t inode = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), inode);
  if (parsed.ec != std::errc()) return std::nullopt;
  return inode;
}

std::string program_of(std::uint32_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  // A name may hold a newline; the file ends in one of its own.
  std::getline(in, name, '\0');
  if (name.ends_with('\n')) name.pop_back();
  return name;
}

}  // namespace

std::unordered_map<std::uint64_t, Owner> find_owners(std::unordered_set<std::uint64_t> inodes) {
  std::unordered_map<std::uint64_t, Owner> out;
  inodes.erase(0);  // a socket without a file: of the kernel, or closed meanwhile
  if (inodes.empty()) return out;
  const auto deadline = std::chrono::steady_clock::now() + longest_search;
  for (const std::uint32_t pid : processes()) {
    if (inodes.empty() || std::chrono::steady_clock::now() > deadline) break;
    each_entry("/proc/" + std::to_string(pid) + "/fd", [&](int directory, const char* name) {
      const auto inode = socket_inode(directory, name);
      if (inode && inodes.erase(*inode) > 0) out[*inode] = {pid, program_of(pid), std::atoi(name)};
      return !inodes.empty() && std::chrono::steady_clock::now() <= deadline;
    });
  }
  return out;
}

}  // namespace pathtrace
