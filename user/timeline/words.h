// SPDX-License-Identifier: GPL-2.0
// Every enumeration of the output contract and the word each value has there.
// Defined once: the JSON writer, the reader, the text view and the schema test use
// these tables.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace pathtrace {

enum class Backend { iptables_legacy, iptables_nft, nftables };
enum class Family { ip, ip6, inet, arp, bridge, netdev };
enum class Verdict { accept, drop, reject, jump, go_to, return_, continue_, queue, stolen };
enum class StepKind { rule, policy, nat, conntrack, reject, drop, deliver, transmit, receive };
enum class Hook { prerouting, input, forward, output, postrouting, ingress, egress };
enum class Direction { original, reply };
enum class Origin { wire, local, reject, stack };
enum class PacketOutcome { delivered, sent, forwarded, dropped, rejected, queued, unknown };
enum class ConnectionOutcome { established, refused, unreachable, timed_out, reset, closed, in_progress };
enum class CauseKind {
  // refused or unreachable
  firewall_reject,
  no_listener,
  listener_other_address,
  listener_other_netns,
  listener_other_family,
  listen_queue_full,
  remote_refused,
  // timed out
  firewall_drop,
  firewall_policy,
  rp_filter,
  martian,
  no_route,
  forwarding_off,
  neighbour_failed,
  conntrack_full,
  conntrack_invalid,
  conntrack_clash,
  stack_drop,
  no_reply,
  // reset
  application_close,
  application_abort,
  stack_reset,
  remote_reset,
  // fine
  established,
  // nothing is known yet, or the evidence doesn't say
  unknown
};
enum class Confidence { exact, partial };

// Words<E>::table[i] is the word of the i-th enumerator.
template <typename E>
struct Words;

#define PATHTRACE_WORDS(E, ...)                                                   \
  template <>                                                                     \
  struct Words<E> {                                                               \
    static constexpr auto table = std::to_array<std::string_view>({__VA_ARGS__}); \
  }

PATHTRACE_WORDS(Backend, "iptables-legacy", "iptables-nft", "nftables");
PATHTRACE_WORDS(Family, "ip", "ip6", "inet", "arp", "bridge", "netdev");
PATHTRACE_WORDS(Verdict, "accept", "drop", "reject", "jump", "goto", "return", "continue", "queue", "stolen");
PATHTRACE_WORDS(StepKind, "rule", "policy", "nat", "conntrack", "reject", "drop", "deliver", "transmit",
                "receive");
PATHTRACE_WORDS(Hook, "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "INGRESS", "EGRESS");
PATHTRACE_WORDS(Direction, "original", "reply");
PATHTRACE_WORDS(Origin, "wire", "local", "reject", "stack");
PATHTRACE_WORDS(PacketOutcome, "delivered", "sent", "forwarded", "dropped", "rejected", "queued", "unknown");
PATHTRACE_WORDS(ConnectionOutcome, "established", "refused", "unreachable", "timed_out", "reset", "closed",
                "in_progress");
PATHTRACE_WORDS(CauseKind, "firewall_reject", "no_listener", "listener_other_address", "listener_other_netns",
                "listener_other_family", "listen_queue_full", "remote_refused", "firewall_drop",
                "firewall_policy", "rp_filter", "martian", "no_route", "forwarding_off", "neighbour_failed",
                "conntrack_full", "conntrack_invalid", "conntrack_clash", "stack_drop", "no_reply",
                "application_close", "application_abort", "stack_reset", "remote_reset", "established",
                "unknown");
PATHTRACE_WORDS(Confidence, "exact", "partial");

template <typename E>
constexpr std::string_view word(E value) {
  return Words<E>::table[static_cast<std::size_t>(value)];
}

template <typename E>
constexpr std::optional<E> from_word(std::string_view text) {
  for (std::size_t i = 0; i < Words<E>::table.size(); ++i)
    if (Words<E>::table[i] == text) return static_cast<E>(i);
  return std::nullopt;
}

}  // namespace pathtrace
