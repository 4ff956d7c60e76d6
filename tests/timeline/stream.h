// SPDX-License-Identifier: GPL-2.0
// Builds streams of observations in the words of a packet's way: a Skb is a packet, what happens to
// it is one function each. Times are microseconds after the start.
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "timeline/identity.h"
#include "timeline/timeline.h"

namespace pathtrace::stream {

inline constexpr std::int64_t start_ns = 1'700'000'000'000'000'000;
inline constexpr std::int64_t us = 1'000;
inline constexpr std::int64_t ms = 1'000'000;
inline constexpr std::int64_t s = 1'000'000'000;

inline constexpr TimelineSettings defaults;

inline const Netns host{4026531840, "host"};
inline const Netns router{4026532001, "r"};
inline const Netns server_ns{4026532002, "s"};
inline const Netns client_ns{4026532003, "c"};

struct At {
  std::string address;
  std::uint16_t port = 0;
};

inline const At client{"10.0.0.9", 51514};
inline const At server{"10.0.0.1", 80};
inline const At client6{"fd01::2", 51514};
inline const At server6{"fd02::2", 80};

inline pt_flow flow(const At& from, const At& to, std::uint8_t protocol = protocol_tcp) {
  pt_flow f{};
  f.family = from.address.find(':') == std::string::npos ? 2 : 10;
  inet_pton(f.family == 2 ? AF_INET : AF_INET6, from.address.c_str(), f.saddr);
  inet_pton(f.family == 2 ? AF_INET : AF_INET6, to.address.c_str(), f.daddr);
  f.sport = from.port;
  f.dport = to.port;
  f.protocol = protocol;
  f.length = 60;
  return f;
}

// A packet in one namespace: everything that its events have in common.
struct Skb {
  Observation o;

  Skb in(const Netns& netns) const {
    Skb copy = *this;
    copy.o.netns = netns;
    return copy;
  }
  Skb at(std::uint64_t address) const {
    Skb copy = *this;
    copy.o.skb = address;
    copy.o.head = address + 0x1000;
    return copy;
  }
  Skb from(const std::string& iif) const {
    Skb copy = *this;
    copy.o.iif = iif;
    copy.o.origin = Origin::wire;
    return copy;
  }
  Skb to(const std::string& oif) const {
    Skb copy = *this;
    copy.o.oif = oif;
    return copy;
  }
  Skb made_by(Origin origin, const Skb& answered) const {
    Skb copy = *this;
    copy.o.origin = origin;
    copy.o.parent = answered.o.skb;
    return copy;
  }
  Skb made_locally() const {
    Skb copy = *this;
    copy.o.origin = Origin::local;
    return copy;
  }
  Skb with_id(std::uint16_t ip_id) const {
    Skb copy = *this;
    copy.o.flow.ip_id = ip_id;
    return copy;
  }
  Skb reversed() const {
    Skb copy = *this;
    copy.o.reversed = true;
    return copy;
  }
};

inline Skb tcp(const At& from, const At& to, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack = 0) {
  Skb skb;
  skb.o.flow = flow(from, to);
  skb.o.flow.tcp_flags = flags;
  skb.o.flow.seq = seq;
  skb.o.flow.ack_seq = ack;
  skb.o.netns = host;
  return skb.at(0xffff888000000000 + seq * 64ULL + flags);
}

inline constexpr std::uint32_t isn = 1000;
inline constexpr std::uint32_t server_isn = 9000;

inline Skb syn() { return tcp(client, server, tcp_syn, isn).from("eth0"); }
inline Skb syn_ack() { return tcp(server, client, tcp_syn | tcp_ack, server_isn, isn + 1).made_locally(); }
inline Skb ack() { return tcp(client, server, tcp_ack, isn + 1, server_isn + 1).from("eth0"); }
inline Skb rst_to(const Skb& packet, Origin origin) {
  const pt_flow& f = packet.o.flow;
  Skb skb = tcp(server, client, tcp_rst | tcp_ack, 0, f.seq + 1).made_by(origin, packet);
  std::copy_n(f.daddr, 16, skb.o.flow.saddr);
  std::copy_n(f.saddr, 16, skb.o.flow.daddr);
  skb.o.flow.sport = f.dport;
  skb.o.flow.dport = f.sport;
  skb.o.flow.family = f.family;
  return skb.in(packet.o.netns).at(packet.o.skb + 0x20000);
}
inline Skb udp(const At& from, const At& to, std::uint64_t address) {
  Skb skb;
  skb.o.flow = flow(from, to, protocol_udp);
  skb.o.netns = host;
  return skb.at(address);
}
// An ICMP error that quotes `packet`.
inline Skb icmp_about(const Skb& packet, std::uint8_t type, std::uint8_t code) {
  Skb skb;
  skb.o.flow = packet.o.flow;
  skb.o.flow.tcp_flags = 0;
  skb.o.flow.ack_seq = 0;
  skb.o.flow.icmp_type = type;
  skb.o.flow.icmp_code = code;
  skb.o.icmp_error = true;
  skb.o.netns = packet.o.netns;
  return skb.at(packet.o.skb + 0x30000);
}

inline Step rule(const std::string& chain, int number, Verdict verdict, const std::string& text = "",
                 std::vector<PathElement> path = {}) {
  Step step;
  step.kind = StepKind::rule;
  step.backend = Backend::iptables_legacy;
  step.family = Family::ip;
  step.table = "filter";
  step.chain = chain;
  step.rule = number;
  step.verdict = verdict;
  if (!text.empty()) step.text = text;
  step.path = std::move(path);
  return step;
}

inline Step policy(const std::string& chain, Verdict verdict, const std::string& table = "filter") {
  Step step = rule(chain, 0, verdict);
  step.kind = StepKind::policy;
  step.rule.reset();
  step.table = table;
  return step;
}

inline Step nft_rule(const std::string& chain, int number, std::uint64_t handle, Verdict verdict,
                     const std::string& text = "") {
  Step step = rule(chain, number, verdict, text);
  step.backend = Backend::nftables;
  step.family = Family::inet;
  step.handle = handle;
  return step;
}

inline Step unnamed(const std::string& why) {
  Step step;
  step.kind = StepKind::rule;
  step.missing = why;
  return step;
}

inline Observation at(const Skb& skb, std::int64_t micros) {
  Observation o = skb.o;
  o.ts_ns = start_ns + micros * us;
  return o;
}

// The walk's backend, family and table are those of its first step.
inline Observation walk(const Skb& skb, std::int64_t micros, Hook hook, std::vector<Step> steps) {
  Observation o = at(skb, micros);
  WalkObservation w;
  w.end_ns = o.ts_ns + 3 * us;
  w.hook = hook;
  w.table = "filter";
  w.backend = Backend::iptables_legacy;
  if (!steps.empty()) {
    const Step& first = steps.front();
    w.backend = first.backend.value_or(w.backend);
    w.family = first.family.value_or(w.family);
    w.table = first.table.value_or(w.table);
    w.every_packet = w.table != "nat";
    const Verdict last = steps.back().verdict.value_or(Verdict::drop);
    w.verdict = last == Verdict::reject ? Verdict::drop : last;
  }
  w.steps = std::move(steps);
  o.hook = hook;
  o.detail = std::move(w);
  return o;
}

inline const char* chain_of(Hook hook) { return Words<Hook>::table[static_cast<std::size_t>(hook)].data(); }

inline Observation accepted(const Skb& skb, std::int64_t micros, Hook hook) {
  return walk(skb, micros, hook, {policy(chain_of(hook), Verdict::accept)});
}

inline Observation rejected(const Skb& skb, std::int64_t micros, const std::string& with) {
  Observation o = at(skb, micros);
  o.detail = RejectObservation{with};
  return o;
}

inline Observation stack_reset(const Skb& skb, std::int64_t micros, bool has_socket = false,
                               std::uint32_t state = 0) {
  Observation o = at(skb, micros);
  o.detail = StackResetObservation{has_socket, state, std::nullopt};
  return o;
}

// The stack answers `skb` with an ICMP error, or would have.
inline Observation icmp_answer(const Skb& skb, std::int64_t micros, std::uint8_t type, std::uint8_t code,
                               bool sent = true) {
  Observation o = at(skb, micros);
  o.detail = IcmpAnswerObservation{skb.o.flow.family == 10, type, code, sent};
  return o;
}

// `skb` waits for `next_hop`; "": that has answered, and it is sent.
inline Observation neighbour(const Skb& skb, std::int64_t micros, const std::string& next_hop) {
  Observation o = at(skb, micros);
  o.detail = NeighbourObservation{!next_hop.empty(), next_hop};
  return o;
}

inline Observation at_listener(const Skb& skb, std::int64_t micros,
                               ListenerSynObservation syn = {0, 128, false}) {
  Observation o = at(skb, micros);
  o.detail = syn;
  return o;
}

inline Observation dropped(const Skb& skb, std::int64_t micros, const std::string& reason,
                           const std::string& where = "nf_hook_slow") {
  Observation o = at(skb, micros);
  DropObservation drop;
  drop.reason = reason;
  drop.where = where;
  o.detail = std::move(drop);
  return o;
}

// A drop and what its event says besides reason and function.
inline Observation lost_at_route(const Skb& skb, std::int64_t micros, const std::string& where,
                                 std::uint32_t route_error, const std::string& reason = "NOT_SPECIFIED") {
  Observation o = dropped(skb, micros, reason, where);
  std::get<DropObservation>(o.detail).route_error = route_error;
  return o;
}

inline Observation lost_by(const Skb& skb, std::int64_t micros, pt_loss loss, const std::string& reason,
                           const std::string& where = "nf_hook_slow") {
  Observation o = dropped(skb, micros, reason, where);
  std::get<DropObservation>(o.detail).loss = loss;
  return o;
}

inline Observation socket(const At& own, const At& peer, std::int64_t micros, SocketObservation what,
                          const Netns& netns = host) {
  Observation o;
  o.flow = flow(own, peer);
  o.netns = netns;
  o.origin = Origin::local;
  o.ts_ns = start_ns + micros * us;
  o.detail = std::move(what);
  return o;
}

inline SocketObservation state(std::uint32_t from, std::uint32_t to, std::uint32_t error = 0,
                               std::uint64_t sock = 0xffff888900000000) {
  SocketObservation fact;
  fact.sock = sock;
  fact.old_state = from;
  fact.new_state = to;
  fact.error = error;
  return fact;
}

inline SocketObservation socket_event(SocketObservation::What what, std::uint32_t state_now,
                                      std::optional<std::string> reason = std::nullopt) {
  SocketObservation fact;
  fact.what = what;
  fact.sock = 0xffff888900000000;
  fact.old_state = state_now;
  fact.new_state = state_now;
  fact.reason = std::move(reason);
  return fact;
}

using Events = std::vector<Observation>;

inline void append(Events& to, const Events& more) { to.insert(to.end(), more.begin(), more.end()); }

// Feeds a stream and takes everything at its end, by default long after the last event.
inline std::vector<ConnectionTrace> run(const Events& events, TimelineSettings settings = {},
                                        std::int64_t end_ns = start_ns + 600 * s) {
  Timeline timeline(settings);
  for (const Observation& o : events) timeline.add(o);
  timeline.finish(end_ns);
  return timeline.take();
}

// The one connection of a stream.
inline ConnectionTrace only(const Events& events) {
  auto traces = run(events);
  if (traces.size() != 1) throw std::runtime_error("not one connection: " + std::to_string(traces.size()));
  return std::move(traces.front());
}

// The stream of the example in the README: a REJECT in a user chain, and its RST on its way out. As
// the kernel reports it: the outer walk ends last.
inline Events reject_in_user_chain() {
  const Skb rejected_syn = syn();
  const Skb rst = rst_to(rejected_syn, Origin::reject).to("eth0");
  return {
      walk(rejected_syn, 0, Hook::prerouting, {policy("PREROUTING", Verdict::accept, "raw")}),
      rejected(rejected_syn, 15, "tcp-reset"),
      walk(rst, 21, Hook::output, {policy("OUTPUT", Verdict::accept)}),
      walk(rejected_syn, 9, Hook::input,
           {rule("INPUT", 2, Verdict::jump, "-p tcp --dport 80 -j web"),
            rule("web", 1, Verdict::continue_, "-m comment --comment \"count me\"", {{"INPUT", 2}}),
            rule("web", 2, Verdict::reject,
                 "-s 10.0.0.0/8 -p tcp --dport 80 -j REJECT --reject-with tcp-reset", {{"INPUT", 2}})}),
      dropped(rejected_syn, 30, "NETFILTER_DROP"),
  };
}

}  // namespace pathtrace::stream
