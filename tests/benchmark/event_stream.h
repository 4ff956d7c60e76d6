// SPDX-License-Identifier: GPL-2.0
// What the kernel reports of traffic over loopback, byte for byte as it lies in the ring buffer, for as many
// packets or connections as wanted: the sequences are those that a real kernel (6.1, iptables-legacy, two
// empty filter hooks' worth of rules) gave; addresses of kernel objects, ports and times differ from one to
// the next.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "pathtrace/event.h"

namespace pathtrace::benchmark_stream {

// Events end to end.
class EventStream {
 public:
  // A datagram to port 80 through OUTPUT and INPUT: two walks.
  void datagram(std::uint32_t number);
  // connect, accept, close: seven packets' walks, both sockets' states, the SYN at its listener.
  void connection(std::uint32_t number);

  template <typename F>
  void each(F&& take) const {
    for (std::size_t at = 0; at < bytes_.size();) {
      const auto* event = reinterpret_cast<const pt_event*>(bytes_.data() + at);
      take(*event);
      at += (event->size + 7U) & ~7U;
    }
  }
  [[nodiscard]] std::int64_t events() const { return events_; }

  // The entry of the table (see table() in events_benchmark.cpp) that a walk of a hook ends with.
  static constexpr std::uint32_t input_rule = 2, output_policy = 5;

 private:
  struct Packet {
    pt_flow flow;
    std::uint64_t skb;
  };
  Packet packet(std::uint32_t number, bool reply, std::uint8_t protocol, std::uint8_t flags,
                std::uint32_t seq, std::uint32_t ack);
  void walk(const Packet& packet, std::uint8_t hook, std::uint32_t matched);
  void passes(const Packet& packet);
  void socket(const Packet& packet, std::uint64_t sock, std::uint32_t from, std::uint32_t to);
  void listener_syn(const Packet& packet);
  template <typename Event>
  Event begin(const Packet& packet, std::uint8_t kind, std::uint8_t hook);
  void add(const void* event, std::size_t size);

  std::vector<std::uint8_t> bytes_;
  std::int64_t events_ = 0;
  std::uint64_t now_ns_ = 1'000'000'000;
  std::uint64_t packets_ = 0;
};

inline constexpr std::uint32_t netns_inode = 4026531840;

inline EventStream::Packet EventStream::packet(std::uint32_t number, bool reply, std::uint8_t protocol,
                                               std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) {
  Packet made{};
  pt_flow& flow = made.flow;
  const std::uint8_t loopback[4] = {127, 0, 0, 1};
  std::memcpy(flow.saddr, loopback, sizeof loopback);
  std::memcpy(flow.daddr, loopback, sizeof loopback);
  const auto port = static_cast<std::uint16_t>(32768 + number % 28232);
  flow.sport = reply ? 80 : port;
  flow.dport = reply ? port : 80;
  flow.family = 2;
  flow.protocol = protocol;
  flow.tcp_flags = flags;
  flow.seq = seq;
  flow.ack_seq = ack;
  flow.ip_id = static_cast<std::uint16_t>(packets_);
  flow.length = protocol == 17 ? 92 : 60;
  made.skb = 0xffff888003a40000 + packets_++ % 4096 * 0x100;
  return made;
}

template <typename Event>
Event EventStream::begin(const Packet& packet, std::uint8_t kind, std::uint8_t hook) {
  Event event;
  std::memset(&event, 0, sizeof event);
  pt_event& e = event.e;
  e.ts_ns = now_ns_ += 900;
  e.skb = packet.skb;
  e.head = packet.skb + 0x1000000;
  e.netns = netns_inode;
  e.size = sizeof event;
  e.kind = kind;
  e.hook = hook;
  e.origin = hook == 3 ? PT_ORIGIN_LOCAL : PT_ORIGIN_UNKNOWN;
  e.flow = packet.flow;
  return event;
}

inline void EventStream::add(const void* event, std::size_t size) {
  const auto* bytes = static_cast<const std::uint8_t*>(event);
  bytes_.insert(bytes_.end(), bytes, bytes + size);
  bytes_.resize((bytes_.size() + 7) & ~std::size_t{7});
  ++events_;
}

inline void EventStream::walk(const Packet& packet, std::uint8_t hook, std::uint32_t matched) {
  struct {
    pt_event e;
    std::uint8_t rest[sizeof(pt_legacy_walk) - sizeof(pt_event) + sizeof(pt_match)];
  } buffer = begin<decltype(buffer)>(packet, PT_EVENT_LEGACY_WALK, hook);
  auto& made = reinterpret_cast<pt_legacy_walk&>(buffer);
  made.e.pf = 2;
  (hook == 3 ? made.e.oif : made.e.iif) = 1;
  made.end_ns = made.e.ts_ns + 400;
  made.table = 0xffff888004000000;
  made.table_info = 0xffffc90000100000;
  std::memcpy(made.table_name, "filter", 6);
  made.verdict = 1;
  made.n_matched = 1;
  made.matched[0] = {matched, 1};
  add(&buffer, sizeof buffer);
}

inline void EventStream::passes(const Packet& packet) {
  walk(packet, 3, output_policy);
  walk(packet, 1, input_rule);
}

inline void EventStream::socket(const Packet& packet, std::uint64_t sock, std::uint32_t from,
                                std::uint32_t to) {
  auto event = begin<pt_sock_event>(packet, PT_EVENT_TCP_STATE, PT_HOOK_NONE);
  event.e.skb = event.e.head = 0;
  event.sock = sock;
  event.old_state = from;
  event.new_state = to;
  event.reason = ~0U;
  add(&event, sizeof event);
}

inline void EventStream::listener_syn(const Packet& packet) {
  auto event = begin<pt_listener_syn>(packet, PT_EVENT_LISTENER_SYN, PT_HOOK_NONE);
  event.sock = 0xffff888005000000;
  event.max_ack_backlog = 128;
  event.port = 80;
  event.family = 2;
  add(&event, sizeof event);
}

inline void EventStream::datagram(std::uint32_t number) { passes(packet(number, false, 17, 0, 0, 0)); }

inline void EventStream::connection(std::uint32_t number) {
  enum State : std::uint32_t {
    established = 1,
    syn_sent,
    syn_recv,
    fin_wait1,
    fin_wait2,
    close = 7,
    close_wait,
    last_ack
  };
  constexpr std::uint8_t syn = 2, ack = 16, fin = 1;
  const std::uint32_t isn = number * 4000003U, server_isn = isn + 77;
  const std::uint64_t client = 0xffff888006000000 + number % 1024 * 0x1000, server = client + 0x800;
  const auto from_client = [&](std::uint8_t flags, std::uint32_t seq, std::uint32_t acked) {
    return packet(number, false, 6, flags, isn + seq, acked == 0 ? 0 : server_isn + acked);
  };
  const auto from_server = [&](std::uint8_t flags, std::uint32_t seq, std::uint32_t acked) {
    return packet(number, true, 6, flags, server_isn + seq, isn + acked);
  };
  const Packet first = from_client(syn, 0, 0);
  const Packet second = from_server(syn | ack, 0, 1);
  socket(first, client, close, syn_sent);
  passes(first);
  listener_syn(first);
  passes(second);
  socket(first, client, syn_sent, established);
  passes(from_client(ack, 1, 1));
  socket(second, server, syn_recv, established);
  socket(first, client, established, fin_wait1);
  passes(from_client(fin | ack, 1, 1));
  socket(second, server, established, close_wait);
  passes(from_server(ack, 1, 2));
  socket(first, client, fin_wait1, fin_wait2);
  socket(second, server, close_wait, last_ack);
  passes(from_server(fin | ack, 1, 2));
  socket(first, client, fin_wait2, close);
  passes(from_client(ack, 2, 2));
  socket(second, server, last_ack, close);
}

}  // namespace pathtrace::benchmark_stream
