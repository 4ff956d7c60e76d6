// SPDX-License-Identifier: GPL-2.0
// What the timeline is made from: one kernel event, with its numbers already turned
// into names (rules, interfaces, drop reasons). Pure data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "pathtrace/event.h"
#include "timeline/model.h"

namespace pathtrace {

// States of a TCP socket, as the kernel numbers them.
constexpr std::uint32_t state_established = 1;
constexpr std::uint32_t state_syn_sent = 2;
constexpr std::uint32_t state_syn_recv = 3;

// A packet's walk through one table (iptables) or one base chain (nftables).
struct WalkObservation {
  std::int64_t end_ns = 0;
  Backend backend = Backend::nftables;
  Family family = Family::ip;
  std::string table;  // "" if not known
  std::optional<Hook> hook;
  Verdict verdict = Verdict::accept;  // accept, drop, queue or stolen, as the kernel returned it
  // Its chain is called for all packets: known not to be of type nat, where nf_nat_inet_fn() calls it for
  // the first packet of a connection only.
  bool every_packet = false;
  // Rules and policy in the order in which they matched; offset_ns unset. Where the
  // evidence was not conclusive: one step without chain and rule, with `missing` set.
  std::vector<Step> steps;
};

// Netfilter answers this packet with a RST or an ICMP error.
struct RejectObservation {
  std::string with;  // "tcp-reset", "icmp-port-unreachable", "icmp6-adm-prohibited", ...
};

// TCP answers this packet with a RST.
struct StackResetObservation {
  bool has_socket = false;
  std::uint32_t state = 0;            // TCP_* of the socket
  std::optional<std::string> reason;  // sk_rst_reason's name, 6.10+
};

// The stack answers this packet with an ICMP error, or would have: rate limits may keep it back.
struct IcmpAnswerObservation {
  bool ipv6 = false;
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  bool sent = false;
};

// A packet waits for its next hop to tell its link-layer address (ARP, neighbour discovery); or it did, and
// is sent now.
struct NeighbourObservation {
  bool waits = false;
  std::string next_hop;  // "" if it doesn't wait
};

// A socket changed state, sent a RST of its own accord, accepted one, or sent again.
// The flow's source is the socket's own address.
struct SocketObservation {
  enum class What { state_change, active_reset, received_reset, retransmit };
  What what = What::state_change;
  std::uint64_t sock = 0;
  std::uint32_t old_state = 0;
  std::uint32_t new_state = 0;
  std::uint32_t error = 0;  // sk_err
  std::optional<std::string> reason;
  std::vector<std::string> callers;  // of tcp_send_active_reset, innermost first
};

// A SYN, or the ACK that ends the handshake, reached a listening socket. Of ACKs only those are told that
// found no room.
struct ListenerSynObservation {
  std::uint32_t backlog = 0;
  std::uint32_t max_backlog = 0;
  bool dropped = false;
  std::optional<std::string> bound_to;  // "0.0.0.0:80", "[::]:80"
  bool is_ack = false;
  bool no_route = false;              // the SYN-ACK has none
  std::uint32_t syn_queue = 0;        // requests that wait for the handshake's last ACK
  std::uint32_t max_syn_backlog = 0;  // net.ipv4.tcp_max_syn_backlog
  std::uint32_t syncookies = 1;       // net.ipv4.tcp_syncookies
};

// A packet was freed as a loss.
struct DropObservation {
  std::optional<std::string> reason;  // "NETFILTER_DROP"; none before 5.17
  std::string where;                  // kernel function
  pt_loss loss = PT_LOSS_UNEXPLAINED;
  std::uint32_t route_error = 0;  // errno of the route it had: 22 (EINVAL) of a blackhole
  bool not_forwarding = false;    // IPv6 forwarding is off in this namespace
};

struct Observation {
  std::int64_t ts_ns = 0;  // CLOCK_REALTIME
  std::uint64_t skb = 0;
  std::uint64_t head = 0;
  std::uint64_t parent = 0;
  Netns netns;
  std::uint32_t cpu = 0;
  std::optional<std::string> iif;
  std::optional<std::string> oif;
  std::optional<Origin> origin;
  std::optional<Hook> hook;
  bool reversed = false;    // PT_FLAG_REVERSED
  bool icmp_error = false;  // flow is the quoted packet's
  bool joins_only = false;  // may belong to a connection that something else began, begins none itself
  pt_flow flow{};
  std::optional<std::string> icmp_source;  // of an ICMP error: the address in its own header
  std::variant<WalkObservation, RejectObservation, StackResetObservation, SocketObservation,
               ListenerSynObservation, DropObservation, IcmpAnswerObservation, NeighbourObservation>
      detail;
};

}  // namespace pathtrace
