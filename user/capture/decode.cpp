// SPDX-License-Identifier: GPL-2.0
#include "capture/decode.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

#include "timeline/identity.h"

namespace pathtrace {

namespace {

constexpr std::uint32_t no_reason = ~0U;

template <typename T>
const T& as(const pt_event& event) {
  // e is the first member of every event
  return reinterpret_cast<const T&>(event);  // NOLINT(cppcoreguidelines-pro-type-reinterpret-cast)
}

std::size_t minimum_size(const pt_event& event) {
  switch (event.kind) {
    case PT_EVENT_LEGACY_WALK:
      return sizeof(pt_legacy_walk);
    case PT_EVENT_NFT_WALK:
      return sizeof(pt_nft_walk);
    case PT_EVENT_REJECT:
      return sizeof(pt_reject);
    case PT_EVENT_STACK_RESET:
      return sizeof(pt_stack_reset);
    case PT_EVENT_LISTENER_SYN:
    case PT_EVENT_LISTENER_ACK:
      return sizeof(pt_listener_syn);
    case PT_EVENT_DROP:
      return sizeof(pt_drop);
    case PT_EVENT_ICMP_ERROR:
      return sizeof(pt_icmp_error);
    case PT_EVENT_NEIGHBOUR:
      return sizeof(pt_neighbour);
    case PT_EVENT_TRACE_LOG:
      return sizeof(pt_trace_log);
    case PT_EVENT_ACTIVE_RESET:
      return sizeof(pt_active_reset);
    case PT_EVENT_RECEIVED_RESET:
    case PT_EVENT_TCP_STATE:
    case PT_EVENT_RETRANSMIT:
      return sizeof(pt_sock_event);
    default:
      return sizeof(pt_event);
  }
}

std::optional<Origin> origin_of(std::uint8_t origin) {
  switch (origin) {
    case PT_ORIGIN_WIRE:
      return Origin::wire;
    case PT_ORIGIN_LOCAL:
      return Origin::local;
    case PT_ORIGIN_REJECT:
      return Origin::reject;
    case PT_ORIGIN_STACK:
      return Origin::stack;
    default:
      return std::nullopt;
  }
}

constexpr std::uint8_t arp = 3;     // NFPROTO_ARP
constexpr std::uint8_t netdev = 5;  // NFPROTO_NETDEV

std::optional<Hook> arp_hook_of(std::uint8_t hook) {  // NF_ARP_*
  switch (hook) {
    case 0:
      return Hook::input;
    case 1:
      return Hook::output;
    case 2:
      return Hook::forward;
    default:
      return std::nullopt;
  }
}

std::optional<Hook> hook_of(std::uint8_t pf, std::uint8_t hook) {
  if (pf == netdev)  // NF_NETDEV_INGRESS, NF_NETDEV_EGRESS
    return hook == 0 ? std::optional(Hook::ingress) : hook == 1 ? std::optional(Hook::egress) : std::nullopt;
  if (pf == arp) return arp_hook_of(hook);
  switch (hook) {
    case 0:
      return Hook::prerouting;
    case 1:
      return Hook::input;
    case 2:
      return Hook::forward;
    case 3:
      return Hook::output;
    case 4:
      return Hook::postrouting;
    case 5:
      return Hook::ingress;
    default:
      return std::nullopt;
  }
}

std::string icmp_with(std::uint32_t code) {
  switch (code) {  // ICMP_DEST_UNREACH codes, in the words of -j REJECT
    case 0:
      return "icmp-net-unreachable";
    case 1:
      return "icmp-host-unreachable";
    case 2:
      return "icmp-proto-unreachable";
    case 3:
      return "icmp-port-unreachable";
    case 9:
      return "icmp-net-prohibited";
    case 10:
      return "icmp-host-prohibited";
    case 13:
      return "icmp-admin-prohibited";
    default:
      return fmt::format("icmp-code-{}", code);
  }
}

std::string icmp6_with(std::uint32_t code) {
  switch (code) {  // ICMPV6_DEST_UNREACH codes, likewise
    case 0:
      return "icmp6-no-route";
    case 1:
      return "icmp6-adm-prohibited";
    case 3:
      return "icmp6-addr-unreachable";
    case 4:
      return "icmp6-port-unreachable";
    case 5:
      return "icmp6-policy-fail";
    case 6:
      return "icmp6-reject-route";
    default:
      return fmt::format("icmp6-code-{}", code);
  }
}

RejectObservation reject_of(const pt_reject& reject) {
  switch (reject.with) {
    case PT_REJECT_TCP_RESET:
      return {"tcp-reset"};
    case PT_REJECT_ICMP:
      return {icmp_with(reject.code)};
    default:
      return {icmp6_with(reject.code)};
  }
}

// tcp_rcv_state_process() frees an ACK that it has processed by kfree_skb, at its label `discard`: no
// loss, though it looks like one (5.4 .. 6.18).
bool is_consumed(const DropObservation& drop) {
  return drop.where == "tcp_rcv_state_process" && (!drop.reason || *drop.reason == "NOT_SPECIFIED");
}

// Where the function that freed it has no name (kernel.kptr_restrict=2), that can't be told of an ACK.
bool may_be_consumed(const DropObservation& drop, const pt_event& event) {
  const bool is_ack = event.flow.protocol == IPPROTO_TCP && (event.flow.tcp_flags & tcp_ack) != 0 &&
                      (event.flags & PT_FLAG_ICMP_ERROR) == 0;
  return is_ack && drop.where.empty() && (!drop.reason || *drop.reason == "NOT_SPECIFIED") &&
         drop.loss == PT_LOSS_UNEXPLAINED && drop.route_error == 0;
}

std::string bound_to(const pt_listener_syn& syn) {
  const std::string address = address_text(syn.address, syn.family);
  return syn.family == AF_INET6 ? fmt::format("[{}]:{}", address, syn.port)
                                : fmt::format("{}:{}", address, syn.port);
}

// A return address may be that of the function that follows the calling one: the call is the byte before.
// Before tcp_send_active_reset() come the frames of the program itself and its trampoline.
std::vector<std::string> callers_of(const pt_active_reset& reset, const Names& names) {
  std::vector<std::string> callers;
  bool inside = false;
  for (const std::uint64_t address : reset.callers) {
    if (address == 0) break;
    if (inside)
      callers.push_back(names.symbol(address - 1).value_or("?"));
    else
      inside = names.symbol(address) == "tcp_send_active_reset";
  }
  return callers;
}

SocketObservation::What socket_event(std::uint8_t kind) {
  switch (kind) {
    case PT_EVENT_ACTIVE_RESET:
      return SocketObservation::What::active_reset;
    case PT_EVENT_RECEIVED_RESET:
      return SocketObservation::What::received_reset;
    case PT_EVENT_RETRANSMIT:
      return SocketObservation::What::retransmit;
    default:
      return SocketObservation::What::state_change;
  }
}

}  // namespace

const pt_event* checked_event(const void* data, std::size_t size) {
  if (size < sizeof(pt_event)) return nullptr;
  const auto* event = static_cast<const pt_event*>(data);
  if (event->size > size || event->size < minimum_size(*event)) return nullptr;
  std::size_t payload = 0;
  if (event->kind == PT_EVENT_LEGACY_WALK) payload = as<pt_legacy_walk>(*event).n_matched * sizeof(pt_match);
  if (event->kind == PT_EVENT_NFT_WALK) payload = as<pt_nft_walk>(*event).n_records * sizeof(pt_nft_record);
  return minimum_size(*event) + payload <= event->size ? event : nullptr;
}

Decoder::Decoder(Names names, std::int64_t realtime_offset_ns)
    : names_(std::move(names)), realtime_offset_ns_(realtime_offset_ns) {}

Observation Decoder::header(const pt_event& event) const {
  Observation o;
  o.ts_ns = static_cast<std::int64_t>(event.ts_ns) + realtime_offset_ns_;
  o.skb = event.skb;
  o.head = event.head;
  o.parent = event.parent;
  o.netns = {event.netns, names_.netns(event.netns)};
  o.cpu = event.cpu;
  if (event.iif != 0) o.iif = names_.interface(event.netns, event.iif);
  if (event.oif != 0) o.oif = names_.interface(event.netns, event.oif);
  o.origin = origin_of(event.origin);
  o.hook = hook_of(event.pf, event.hook);
  o.reversed = (event.flags & PT_FLAG_REVERSED) != 0;
  o.icmp_error = (event.flags & PT_FLAG_ICMP_ERROR) != 0;
  o.flow = event.flow;
  if (o.icmp_error) o.icmp_source = address_text(event.icmp_source, event.flow.family);
  return o;
}

std::optional<Observation> Decoder::decode(const pt_event& event) const {
  if (event.kind == PT_EVENT_MODULE_LOADED) return std::nullopt;
  Observation o = header(event);
  switch (event.kind) {
    case PT_EVENT_LEGACY_WALK: {
      const auto& walk = as<pt_legacy_walk>(event);
      auto resolved = names_.legacy_walk(walk);
      resolved.end_ns = static_cast<std::int64_t>(walk.end_ns) + realtime_offset_ns_;
      o.detail = std::move(resolved);
      return o;
    }
    case PT_EVENT_NFT_WALK: {
      const auto& walk = as<pt_nft_walk>(event);
      auto resolved = names_.nft_walk(walk);
      resolved.end_ns = static_cast<std::int64_t>(walk.end_ns) + realtime_offset_ns_;
      o.detail = std::move(resolved);
      return o;
    }
    case PT_EVENT_REJECT:
      o.detail = reject_of(as<pt_reject>(event));
      return o;
    case PT_EVENT_STACK_RESET: {
      const auto& reset = as<pt_stack_reset>(event);
      o.detail =
          StackResetObservation{reset.sock != 0, reset.state,
                                reset.reason == no_reason ? std::nullopt : names_.reset_reason(reset.reason)};
      return o;
    }
    case PT_EVENT_ICMP_ERROR: {
      const auto& icmp = as<pt_icmp_error>(event);
      o.detail = IcmpAnswerObservation{event.flow.family == AF_INET6, icmp.type, icmp.code, icmp.sent != 0};
      return o;
    }
    case PT_EVENT_NEIGHBOUR: {
      const auto& neighbour = as<pt_neighbour>(event);
      const bool waits = neighbour.waits != 0;
      o.detail = NeighbourObservation{waits, waits ? address_text(neighbour.next_hop, neighbour.family) : ""};
      return o;
    }
    case PT_EVENT_ACTIVE_RESET:
    case PT_EVENT_RECEIVED_RESET:
    case PT_EVENT_TCP_STATE:
    case PT_EVENT_RETRANSMIT: {
      const auto& sock = as<pt_sock_event>(event);
      SocketObservation what{socket_event(event.kind),
                             sock.sock,
                             sock.old_state,
                             sock.new_state,
                             sock.sk_err,
                             sock.reason == no_reason ? std::nullopt : names_.reset_reason(sock.reason),
                             {}};
      if (event.kind == PT_EVENT_ACTIVE_RESET) what.callers = callers_of(as<pt_active_reset>(event), names_);
      o.detail = std::move(what);
      return o;
    }
    case PT_EVENT_LISTENER_SYN:
    case PT_EVENT_LISTENER_ACK: {
      const auto& syn = as<pt_listener_syn>(event);
      o.detail = ListenerSynObservation{.backlog = syn.ack_backlog,
                                        .max_backlog = syn.max_ack_backlog,
                                        .dropped = syn.dropped != 0,
                                        .bound_to = bound_to(syn),
                                        .is_ack = event.kind == PT_EVENT_LISTENER_ACK,
                                        .no_route = syn.no_route != 0,
                                        .syn_queue = syn.syn_queue,
                                        .max_syn_backlog = syn.max_syn_backlog,
                                        .syncookies = syn.syncookies};
      return o;
    }
    case PT_EVENT_DROP: {
      const auto& drop = as<pt_drop>(event);
      DropObservation lost{drop.reason == no_reason ? std::nullopt : names_.drop_reason(drop.reason),
                           names_.symbol(drop.location).value_or(""), static_cast<pt_loss>(drop.loss),
                           drop.route_error, drop.not_forwarding != 0};
      if (is_consumed(lost) || may_be_consumed(lost, event)) return std::nullopt;
      o.detail = std::move(lost);
      return o;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace pathtrace
