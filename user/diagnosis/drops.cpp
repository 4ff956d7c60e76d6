// SPDX-License-Identifier: GPL-2.0
#include "diagnosis/drops.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

namespace pathtrace {

namespace {

struct Reason {
  std::string_view name;
  CauseKind kind;
  std::string_view says;
};

constexpr auto reasons = std::to_array<Reason>({
    {"IP_LOCAL_SOURCE", CauseKind::martian, "it is martian: its source is an address of this host"},
    {"IP_INVALID_SOURCE", CauseKind::martian, "it is martian: its source address is not a valid one"},
    {"IP_INVALID_DEST", CauseKind::martian, "it is martian: its destination address is not a valid one"},
    {"IP_LOCALNET", CauseKind::martian, "it is martian: 127.0.0.0/8 from outside (route_localnet is off)"},
    {"IP_OUTNOROUTES", CauseKind::no_route, "there is no route to its destination"},
    {"IP_INNOROUTES", CauseKind::no_route, "there is no route to its destination"},
    {"NEIGH_FAILED", CauseKind::neighbour_failed, "the next hop does not answer ARP or neighbour discovery"},
    {"NEIGH_DEAD", CauseKind::neighbour_failed, "the next hop's neighbour entry is dead"},
    {"NEIGH_QUEUEFULL", CauseKind::neighbour_failed,
     "the next hop did not answer ARP or neighbour discovery yet, and too many packets wait for that"},
    {"XDP", CauseKind::stack_drop, "an XDP program drops it"},
    {"TC_INGRESS", CauseKind::stack_drop, "a tc filter drops it where it comes in"},
    {"TC_EGRESS", CauseKind::stack_drop, "a tc filter drops it where it goes out"},
    {"QDISC_DROP", CauseKind::stack_drop, "the queueing discipline of the interface drops it"},
    {"BPF_CGROUP_EGRESS", CauseKind::stack_drop, "a BPF program of the sender's cgroup drops it"},
    {"SOCKET_FILTER", CauseKind::stack_drop,
     "a filter of the socket (SO_ATTACH_FILTER), or a BPF program of its cgroup, drops it"},
    {"XFRM_POLICY", CauseKind::stack_drop, "an IPsec policy does not let it pass in the clear"},
    {"CPU_BACKLOG", CauseKind::stack_drop,
     "too many packets wait for this CPU (net.core.netdev_max_backlog)"},
    {"IPV6DISABLED", CauseKind::stack_drop, "IPv6 is disabled there (net.ipv6.conf.*.disable_ipv6)"},
    {"TCP_LISTEN_OVERFLOW", CauseKind::listen_queue_full, "the listener's accept queue is full"},
});

std::optional<Explanation> by_reason(const DropObservation& drop) {
  const auto* found =
      std::find_if(reasons.begin(), reasons.end(), [&](const Reason& r) { return drop.reason == r.name; });
  if (found == reasons.end()) return std::nullopt;
  return Explanation{found->kind, std::string(found->says), ""};
}

bool is_loopback(const std::string& address) { return address.starts_with("127."); }

std::string from_interface(const Packet& packet) {
  return packet.iif ? " from " + *packet.iif : std::string();
}

// fib_validate_source() returned -EXDEV (since 5.18), or something that is a martian.
std::optional<Explanation> by_source(const DropObservation& drop, const Packet& packet) {
  const std::string& source = packet.source.address;
  if (drop.reason == "IP_RPFILTER")
    return Explanation{CauseKind::rp_filter,
                       "the reverse path filter (rp_filter) has no route back to " + source + " by " +
                           packet.iif.value_or("that interface"),
                       ""};
  if (drop.loss == PT_LOSS_MARTIAN_SOURCE)
    return Explanation{CauseKind::martian,
                       "it is martian: no packet" + from_interface(packet) + " can have the source " +
                           source + (is_loopback(source) ? " (route_localnet is off)" : ""),
                       "ip_handle_martian_source was called for it"};
  const bool at_routing = drop.where == "ip_rcv_finish_core" || drop.where == "ip_rcv_finish";
  if (at_routing && is_loopback(packet.destination.address) && packet.iif != "lo")
    return Explanation{CauseKind::martian,
                       "it is martian: no packet" + from_interface(packet) + " can be for " +
                           packet.destination.address + " (route_localnet is off)",
                       ""};
  return std::nullopt;
}

// The route that a packet of another host got: its type says how it is refused (fib_props[], fib6_prop[]).
std::optional<Explanation> by_route(const DropObservation& drop, const Packet& packet) {
  const bool at_route = drop.where == "ip_error" || drop.where == "ip6_pkt_drop" ||
                        drop.where == "ip6_pkt_discard" || drop.where == "ip6_pkt_prohibit" ||
                        drop.where == "dst_discard_out" || drop.where == "dst_discard";
  if (!at_route) return std::nullopt;
  const std::string to = " to " + packet.destination.address;
  const std::string evidence = "its route's error is ";
  switch (drop.route_error) {
    case ENETUNREACH:
      return Explanation{CauseKind::no_route, "there is no route" + to, evidence + "ENETUNREACH"};
    case EHOSTUNREACH:
      return Explanation{CauseKind::no_route, "the route" + to + " is of type unreachable",
                         evidence + "EHOSTUNREACH"};
    case EACCES:
      return Explanation{CauseKind::no_route, "the route" + to + " is of type prohibit", evidence + "EACCES"};
    case EINVAL:
      return Explanation{CauseKind::no_route, "the route" + to + " is a blackhole", evidence + "EINVAL"};
    default:
      return std::nullopt;
  }
}

// ip_error() counts IP_INADDRERRORS, and sends no error, where the device doesn't forward.
std::optional<Explanation> by_forwarding(const DropObservation& drop) {
  if (drop.where == "ip_error" && drop.reason == "IP_INADDRERRORS")
    return Explanation{CauseKind::forwarding_off,
                       "it is for another host, and this one doesn't forward (net.ipv4.ip_forward)", ""};
  if (drop.where == "ip6_forward" && drop.not_forwarding)
    return Explanation{CauseKind::forwarding_off,
                       "it is for another host, and this one doesn't forward (net.ipv6.conf.all.forwarding)",
                       "net.ipv6.conf.all.forwarding was 0 when it was dropped"};
  return std::nullopt;
}

struct Place {
  std::string_view function;
  CauseKind kind;
  std::string_view says;
};

constexpr std::string_view no_neighbour = "the next hop does not answer ARP or neighbour discovery";
constexpr std::string_view by_xdp = "an XDP program drops it";

// Functions that free packets for one reason only, where the kernel gives none. arp_error_report() and
// ndisc_error_report() may call kfree_skb() last, and then their caller is named.
constexpr auto places = std::to_array<Place>({
    {"arp_error_report", CauseKind::neighbour_failed, no_neighbour},
    {"ndisc_error_report", CauseKind::neighbour_failed, no_neighbour},
    {"neigh_invalidate", CauseKind::neighbour_failed, no_neighbour},
    {"do_xdp_generic", CauseKind::stack_drop, by_xdp},
    {"bpf_prog_run_generic_xdp", CauseKind::stack_drop, by_xdp},
    {"netif_receive_generic_xdp", CauseKind::stack_drop, by_xdp},
    {"veth_xdp_rcv_skb", CauseKind::stack_drop, by_xdp},
});

std::optional<Explanation> by_place(const DropObservation& drop) {
  const auto* found =
      std::find_if(places.begin(), places.end(), [&](const Place& p) { return drop.where == p.function; });
  if (found == places.end()) return std::nullopt;
  return Explanation{found->kind, std::string(found->says), ""};
}

}  // namespace

std::optional<Explanation> explain(const DropObservation& drop, const Packet& packet) {
  if (auto found = by_source(drop, packet)) return found;
  if (auto found = by_forwarding(drop)) return found;
  if (auto found = by_route(drop, packet)) return found;
  if (auto found = by_reason(drop)) return found;
  return by_place(drop);
}

}  // namespace pathtrace
