// SPDX-License-Identifier: GPL-2.0
#include "socket/proc_net.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

namespace pathtrace {
namespace {

// Columns of a line (get_tcp4_sock, udp4_format_sock): sl local rem st tx:rx tr:when retrnsmt uid
// timeout inode.
enum Column { local = 1, state = 3, queues = 4, inode = 9, columns_needed = 10 };

std::optional<std::uint64_t> number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, reason] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || end != text.data() + text.size() || reason != std::errc()) return std::nullopt;
  return value;
}

// The kernel prints each 32-bit word of the address as a host-order number.
std::optional<std::string> address(std::string_view hex) {
  std::array<std::uint32_t, 4> words{};
  const std::size_t n = hex.size() / 8;
  if (hex.size() % 8 != 0 || (n != 1 && n != 4)) return std::nullopt;
  for (std::size_t i = 0; i < n; ++i) {
    const auto value = number(hex.substr(i * 8, 8), 16);
    if (!value) return std::nullopt;
    words[i] = static_cast<std::uint32_t>(*value);
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(n == 1 ? AF_INET : AF_INET6, words.data(), text.data(), text.size());
  return text.data();
}

bool read_file(const char* path, bool tcp, std::vector<FoundSocket>& out) {
  std::ifstream in(path);
  if (!in) return false;
  std::string line;
  std::getline(in, line);  // the heading
  while (std::getline(in, line)) {
    auto found = parse_proc_line(line, tcp);
    // The listening ones come first (tcp_seq_start(), tcp_seq_next()), then perhaps 100,000 others.
    if (!found && tcp) return true;
    if (found) out.push_back(std::move(*found));
  }
  return true;
}

}  // namespace

std::optional<FoundSocket> parse_proc_line(std::string_view line, bool tcp) {
  std::istringstream in{std::string(line)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  if (words.size() < columns_needed) return std::nullopt;
  if (words[state] != (tcp ? "0A" : "07")) return std::nullopt;
  const std::string_view ends = words[local];
  const std::size_t colon = ends.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto where = address(ends.substr(0, colon));
  const auto port = number(ends.substr(colon + 1), 16);
  const auto socket = number(words[inode], 10);
  if (!where || !port || *port > 65535 || !socket) return std::nullopt;
  FoundSocket out;
  out.listener.address = *where;
  out.listener.port = static_cast<std::uint16_t>(*port);
  out.inode = *socket;
  if (!tcp) return out;
  const std::string_view both = words[queues];
  if (const std::size_t middle = both.find(':'); middle != std::string_view::npos)
    if (const auto waiting = number(both.substr(middle + 1), 16))
      out.listener.backlog = static_cast<std::uint32_t>(*waiting);
  return out;
}

std::optional<std::vector<FoundSocket>> ask_proc_net(bool tcp) {
  std::vector<FoundSocket> out;
  if (!read_file(tcp ? "/proc/thread-self/net/tcp" : "/proc/thread-self/net/udp", tcp, out))
    return std::nullopt;
  (void)read_file(tcp ? "/proc/thread-self/net/tcp6" : "/proc/thread-self/net/udp6", tcp, out);
  return out;
}

}  // namespace pathtrace
