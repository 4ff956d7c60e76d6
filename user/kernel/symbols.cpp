// SPDX-License-Identifier: GPL-2.0
#include "kernel/symbols.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace pathtrace {

namespace {

struct Line {
  std::uint64_t address = 0;
  char type = 0;
  std::string_view name;
};

// "ffffffff81a3c5f0 t name\t[module]"
bool parse(std::string_view text, Line& line) {
  const auto* end = text.data() + text.size();
  const auto [after, error] = std::from_chars(text.data(), end, line.address, 16);
  if (error != std::errc() || end - after < 4) return false;
  line.type = after[1];
  line.name = std::string_view(after + 3, static_cast<std::size_t>(end - after - 3));
  line.name = line.name.substr(0, line.name.find_first_of("\t \n"));
  return true;
}

// `take` returns false to stop. Streams would double the time that the kernel takes to print 100,000 lines.
template <typename Take>
void for_each_symbol(const Take& take) {
  const int file = ::open("/proc/kallsyms", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  std::array<char, 65536> text;
  std::size_t size = 0;  // of `text`
  bool wanted = true;
  while (wanted && size < text.size()) {
    const ssize_t got = ::read(file, text.data() + size, text.size() - size);
    if (got <= 0) break;
    const char* line = text.data();
    const char* const end = text.data() + size + got;
    const auto next = [&] {
      return static_cast<const char*>(std::memchr(line, '\n', static_cast<std::size_t>(end - line)));
    };
    for (const char* newline = next(); newline != nullptr && wanted; newline = next()) {
      Line parsed;
      wanted = !parse({line, static_cast<std::size_t>(newline - line)}, parsed) || take(parsed);
      line = newline + 1;
    }
    size = static_cast<std::size_t>(end - line);
    std::memmove(text.data(), line, size);
  }
  ::close(file);
}

}  // namespace

std::vector<std::uint64_t> symbol_addresses(const std::vector<std::string_view>& names) {
  std::vector<std::uint64_t> addresses(names.size(), 0);
  std::size_t left = names.size();
  for_each_symbol([&](const Line& line) {
    const auto found = std::find(names.begin(), names.end(), line.name);
    if (found == names.end()) return true;
    auto& address = addresses[static_cast<std::size_t>(found - names.begin())];
    if (address == 0) --left;
    address = line.address;
    return left != 0;
  });
  return addresses;
}

void SymbolNames::load() {
  loaded_ = true;
  for_each_symbol([this](const Line& line) {
    if (line.address == 0 || (line.type != 't' && line.type != 'T')) return true;
    symbols_.push_back({line.address, static_cast<std::uint32_t>(names_.size())});
    names_.append(line.name).push_back('\0');
    return true;
  });
  std::stable_sort(symbols_.begin(), symbols_.end(),
                   [](const Symbol& a, const Symbol& b) { return a.address < b.address; });
}

std::optional<std::string> SymbolNames::at(std::uint64_t address) {
  if (!loaded_) load();
  auto next = std::upper_bound(symbols_.begin(), symbols_.end(), address,
                               [](std::uint64_t a, const Symbol& s) { return a < s.address; });
  if (next == symbols_.begin()) return std::nullopt;
  --next;
  // without what the compiler added: ip_rcv_finish_core.constprop.0, ip_error.cold
  const std::string_view name(names_.c_str() + next->name);
  return std::string(name.substr(0, name.find('.')));
}

}  // namespace pathtrace
