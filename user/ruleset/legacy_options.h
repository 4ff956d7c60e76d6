// SPDX-License-Identifier: GPL-2.0
// What an extension's data says, in the options of iptables-save: after the save functions of libxt_*.c,
// libipt_*.c and libip6t_*.c of iptables 1.8. The structs are those of <linux/netfilter/xt_*.h>, read by
// offset: the data comes from the kernel, but its size is checked before every read.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ruleset/legacy_blob.h"

namespace pathtrace::legacy {

// The options of a rule's match or target, each with a leading blank; nullopt: not in this repertoire.
std::optional<std::string> match_options(const Table& table, const Extension& match);
std::optional<std::string> target_options(const Table& table, const Extension& target);

// An extension's data, and whether all that was asked of it was there.
class Data {
 public:
  explicit Data(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  template <typename T>
  T get(std::size_t offset) {
    T value{};
    if (offset + sizeof value > bytes_.size()) {
      complete_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  std::uint8_t u8(std::size_t offset) { return get<std::uint8_t>(offset); }
  std::uint16_t u16(std::size_t offset) { return get<std::uint16_t>(offset); }
  std::uint32_t u32(std::size_t offset) { return get<std::uint32_t>(offset); }
  std::uint16_t port(std::size_t offset) { return ntohs(u16(offset)); }
  std::string string(std::size_t offset, std::size_t size) {
    std::string text;
    for (std::size_t i = offset; i < offset + size; ++i) {
      const auto c = static_cast<char>(u8(i));
      if (c == '\0') break;
      text += c;
    }
    return text;
  }
  std::string address(std::size_t offset, bool ip6) {
    std::array<std::uint8_t, 16> raw{};
    for (std::size_t i = 0; i < (ip6 ? 16U : 4U); ++i) raw.at(i) = u8(offset + i);
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(ip6 ? AF_INET6 : AF_INET, raw.data(), text.data(), text.size());
    return text.data();
  }
  [[nodiscard]] bool complete() const { return complete_; }

 private:
  std::span<const std::uint8_t> bytes_;
  bool complete_ = true;
};

struct Context {
  Family family;
  std::uint8_t revision;
  [[nodiscard]] bool ip6() const { return family == Family::ip6; }
};

// The options of an extension, each with a leading blank; nullopt: not in this repertoire.
using Writer = std::optional<std::string> (*)(Data&, const Context&);

inline std::string invert(bool inverted) { return inverted ? " !" : ""; }

// xtables_save_string() of iptables.
inline std::string quoted(std::string_view text) {
  constexpr std::string_view plain = "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  if (!text.empty() && text.find_first_not_of(plain) == std::string_view::npos) return std::string(text);
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\' || c == '\'') result += '\\';
    result += c;
  }
  return result + '"';
}

struct Bit {
  std::uint32_t bit;
  const char* name;
};

template <std::size_t N>
std::string bits(std::uint32_t value, const std::array<Bit, N>& names) {
  std::string text;
  for (const Bit& entry : names)
    if ((value & entry.bit) != 0) text += (text.empty() ? "" : ",") + std::string(entry.name);
  return text;
}

struct Known {
  std::string_view name;
  Writer writer;
};

template <std::size_t N>
std::optional<std::string> options_of(const std::array<Known, N>& known, const Table& table,
                                      const Extension& extension) {
  for (const Known& entry : known) {
    if (entry.name != extension.name) continue;
    Data data(table.data(extension));
    auto text = entry.writer(data, Context{table.family, extension.revision});
    return data.complete() ? text : std::nullopt;
  }
  // TRACE and its like: without data there are no options
  return extension.data_size == 0 ? std::optional<std::string>("") : std::nullopt;
}

}  // namespace pathtrace::legacy
