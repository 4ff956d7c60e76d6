// SPDX-License-Identifier: GPL-2.0
#include "socket/owners.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

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

template <typename T>
std::optional<T> number(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(value) : std::nullopt;
}

std::optional<std::uint64_t> socket_inode(int directory, const char* name) {
  std::array<char, 64> target{};
  const ssize_t length = readlinkat(directory, name, target.data(), target.size());
  std::string_view text(target.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  constexpr std::string_view prefix = "socket:[";
  if (!text.starts_with(prefix) || !text.ends_with(']')) return std::nullopt;
  text.remove_prefix(prefix.size());
  text.remove_suffix(1);
  return number<std::uint64_t>(text);
}

std::string program_of(const std::string& process) {
  std::ifstream in(process + "/comm");
  std::string name;
  // A name may hold a newline; the file ends in one of its own.
  std::getline(in, name, '\0');
  if (name.ends_with('\n')) name.pop_back();
  return name;
}

}  // namespace

OwnerSearch::OwnerSearch(std::unordered_set<std::uint64_t> inodes, std::string proc)
    : proc_(std::move(proc)), sought_(std::move(inodes)) {
  sought_.erase(0);  // a socket without a file: closed meanwhile
}

bool OwnerSearch::is_over() const {
  return sought_.empty() || spent_ > longest_search || (processes_ && next_ == processes_->size());
}

void OwnerSearch::list_processes() {
  processes_.emplace();
  each_entry(proc_, [this](int, const char* name) {
    if (const auto pid = number<std::uint32_t>(name)) processes_->push_back(*pid);
    return true;
  });
  std::sort(processes_->begin(), processes_->end());
}

// Whether to go on.
bool OwnerSearch::look_at(int directory, const char* name, std::uint64_t inode) {
  const auto descriptor = number<int>(name);
  if (!descriptor || *descriptor <= looked_at_) return true;
  looked_at_ = *descriptor;
  const auto socket = socket_inode(directory, name);
  if (!socket || sought_.erase(*socket) == 0) return true;
  const std::uint32_t pid = (*processes_)[next_];
  found_.emplace(*socket, Owner{pid, program_of(proc_ + "/" + std::to_string(pid)), *descriptor});
  return *socket != inode;
}

// Through one process, or part of it.
void OwnerSearch::go_on(std::uint64_t inode) {
  const auto began = std::chrono::steady_clock::now();
  const auto passed = [&] { return std::chrono::steady_clock::now() - began; };
  if (!processes_) list_processes();
  bool whole = true;
  if (next_ < processes_->size())
    each_entry(proc_ + "/" + std::to_string((*processes_)[next_]) + "/fd",
               [&](int directory, const char* name) {
                 whole = look_at(directory, name, inode) && spent_ + passed() <= longest_search;
                 return whole;
               });
  if (whole) {
    next_ = std::min(next_ + 1, processes_->size());
    looked_at_ = -1;
  }
  spent_ += passed();
}

const Owner* OwnerSearch::find(std::uint64_t inode) {
  while (sought_.contains(inode) && !is_over()) go_on(inode);
  const auto found = found_.find(inode);
  return found == found_.end() ? nullptr : &found->second;
}

}  // namespace pathtrace
