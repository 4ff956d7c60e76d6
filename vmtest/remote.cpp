// SPDX-License-Identifier: GPL-2.0
// A host beyond the traced one, of which its kernel knows nothing: it is this process, at the other end of a
// TUN device. What it does depends on the port that is asked, by its last digit.
#include "remote.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace {

enum Answer : unsigned {
  reset = 1,        // a RST to the SYN
  reset_later = 2,  // SYN-ACK, then a RST to the first data
  silence = 3,
  port_unreachable = 4,
  prohibited = 5,     // by an administrator
  silence_later = 6,  // after a SYN-ACK
};

using Bytes = std::vector<std::uint8_t>;

template <typename T>
T at(const Bytes& bytes, std::size_t offset) {
  T value{};
  if (offset + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

void append(Bytes& to, const void* data, std::size_t size) {
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  to.insert(to.end(), bytes, bytes + size);
}

// The Internet checksum, as it goes into a header.
std::uint16_t checksum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    sum += static_cast<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<std::uint16_t>(~sum));
}

struct Packet {
  Bytes whole;
  bool ipv6 = false;
  std::uint8_t protocol = 0;
  std::size_t transport = 0;
  Bytes source, destination;

  explicit Packet(Bytes bytes) : whole(std::move(bytes)), ipv6(at<std::uint8_t>(whole, 0) >> 4 == 6) {
    const std::size_t address = ipv6 ? 16 : 4;
    const std::size_t from = ipv6 ? 8 : 12;
    transport = ipv6 ? 40 : (at<std::uint8_t>(whole, 0) & 15) * 4;
    if (whole.size() < transport + 8) return;
    protocol = at<std::uint8_t>(whole, ipv6 ? 6 : 9);
    const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(from);
    source.assign(begin, begin + static_cast<std::ptrdiff_t>(address));
    destination.assign(begin + static_cast<std::ptrdiff_t>(address),
                       begin + static_cast<std::ptrdiff_t>(2 * address));
  }
  std::uint16_t port() const { return ntohs(at<std::uint16_t>(whole, transport + 2)); }
};

// `payload` goes back to the sender of `asked`; its checksum field is at `sum_at`.
Bytes back(const Packet& asked, std::uint8_t protocol, Bytes payload, std::size_t sum_at) {
  Bytes pseudo;
  if (protocol != IPPROTO_ICMP) {  // all others include the addresses
    append(pseudo, asked.destination.data(), asked.destination.size());
    append(pseudo, asked.source.data(), asked.source.size());
    const std::uint32_t rest[2] = {htonl(static_cast<std::uint32_t>(payload.size())), htonl(protocol)};
    append(pseudo, rest, sizeof rest);
  }
  append(pseudo, payload.data(), payload.size());
  const std::uint16_t sum = checksum(pseudo);
  std::memcpy(payload.data() + sum_at, &sum, sizeof sum);
  Bytes out;
  const auto size = static_cast<std::uint16_t>(payload.size());
  if (asked.ipv6) {
    ip6_hdr header{};
    header.ip6_flow = htonl(6U << 28);
    header.ip6_plen = htons(size);
    header.ip6_nxt = protocol;
    header.ip6_hlim = 64;
    std::memcpy(&header.ip6_src, asked.destination.data(), 16);
    std::memcpy(&header.ip6_dst, asked.source.data(), 16);
    append(out, &header, sizeof header);
  } else {
    iphdr header{};
    header.version = 4;
    header.ihl = 5;
    header.tot_len = htons(static_cast<std::uint16_t>(size + sizeof header));
    header.ttl = 64;
    header.protocol = protocol;
    std::memcpy(&header.saddr, asked.destination.data(), 4);
    std::memcpy(&header.daddr, asked.source.data(), 4);
    Bytes alone;
    append(alone, &header, sizeof header);
    header.check = checksum(alone);
    append(out, &header, sizeof header);
  }
  append(out, payload.data(), payload.size());
  return out;
}

Bytes segment(const Packet& asked, const tcphdr& to, bool syn_ack) {
  tcphdr header{};
  header.source = to.dest;
  header.dest = to.source;
  header.doff = 5;
  header.seq = syn_ack ? htonl(9000) : (to.ack ? to.ack_seq : 0);
  header.ack_seq = htonl(ntohl(to.seq) + (to.syn ? 1 : 0));
  header.ack = 1;
  header.syn = syn_ack;
  header.rst = !syn_ack;
  header.window = htons(65000);
  Bytes payload;
  append(payload, &header, sizeof header);
  return back(asked, IPPROTO_TCP, payload, offsetof(tcphdr, check));
}

Bytes icmp_error(const Packet& asked, bool is_port) {
  Bytes payload(8);
  if (asked.ipv6) {
    payload[0] = ICMP6_DST_UNREACH;
    payload[1] = is_port ? ICMP6_DST_UNREACH_NOPORT : ICMP6_DST_UNREACH_ADMIN;
  } else {
    payload[0] = ICMP_DEST_UNREACH;
    payload[1] = is_port ? ICMP_PORT_UNREACH : ICMP_PKT_FILTERED;
  }
  append(payload, asked.whole.data(), std::min<std::size_t>(asked.whole.size(), 500));
  const int protocol = asked.ipv6 ? int{IPPROTO_ICMPV6} : int{IPPROTO_ICMP};
  return back(asked, static_cast<std::uint8_t>(protocol), payload, 2);
}

std::optional<Bytes> answer(const Packet& asked) {
  if (asked.protocol != IPPROTO_TCP && asked.protocol != IPPROTO_UDP) return std::nullopt;
  const auto tcp = at<tcphdr>(asked.whole, asked.transport);
  const bool is_tcp = asked.protocol == IPPROTO_TCP;
  const bool opens = !is_tcp || (tcp.syn && !tcp.ack);
  const bool has_data =
      is_tcp && !tcp.syn && asked.whole.size() > asked.transport + static_cast<std::size_t>(tcp.doff) * 4;
  switch (asked.port() % 10) {
    case Answer::reset:
      return is_tcp && opens ? std::optional(segment(asked, tcp, false)) : std::nullopt;
    case Answer::reset_later:
      if (is_tcp && opens) return segment(asked, tcp, true);
      return has_data ? std::optional(segment(asked, tcp, false)) : std::nullopt;
    case Answer::silence_later:
      return is_tcp && opens ? std::optional(segment(asked, tcp, true)) : std::nullopt;
    case Answer::port_unreachable:
    case Answer::prohibited:
      return opens ? std::optional(icmp_error(asked, asked.port() % 10 == Answer::port_unreachable))
                   : std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace

int open_tun(const char* name) {
  const int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0 ? fd : -1;
}

void be_remote(int tun) {
  Bytes buffer(65536);
  for (;;) {
    const ssize_t size = read(tun, buffer.data(), buffer.size());
    if (size < 20) continue;
    const Packet asked(Bytes(buffer.begin(), buffer.begin() + size));
    if (const auto out = answer(asked); out && write(tun, out->data(), out->size()) < 0) continue;
  }
}
