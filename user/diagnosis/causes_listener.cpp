// SPDX-License-Identifier: GPL-2.0
// Nobody took the SYN: no socket, or one whose queue is full.
#include <algorithm>
#include <ranges>
#include <utility>

#include "diagnosis/causes.h"
#include "diagnosis/listeners.h"
#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

bool is_other_family(const Listener& listener, const std::string& address) {
  return is_ipv6(listener.address) != is_ipv6(address);
}

std::string name_of(const Netns& netns) {
  return netns.name ? "network namespace " + *netns.name
                    : "the network namespace with inode " + std::to_string(netns.inode);
}

struct Elsewhere {
  CauseKind kind = CauseKind::no_listener;
  Listener listener;
};

// The listener that comes closest, and what is wrong with it.
std::optional<Elsewhere> listener_elsewhere(const std::vector<Listener>& listeners, const Packet& syn,
                                            const std::string& address) {
  std::optional<Elsewhere> best;
  const auto rank = [](CauseKind kind) {
    return kind == CauseKind::listener_other_address ? 2 : (kind == CauseKind::listener_other_family ? 1 : 0);
  };
  for (const Listener& listener : listeners) {
    const bool here = listener.netns.inode == syn.netns.inode;
    const bool by_device = listener.device && syn.iif && listener.device != syn.iif;
    // it may have begun to listen after the answer
    if (here && serves(listener, address) != false && !by_device) continue;
    const CauseKind kind = !here ? CauseKind::listener_other_netns
                                 : (is_other_family(listener, address) ? CauseKind::listener_other_family
                                                                       : CauseKind::listener_other_address);
    if (!best || rank(kind) > rank(best->kind)) best = Elsewhere{kind, listener};
  }
  return best;
}

void add_listener_elsewhere(Candidate& candidate, const Story& story, const Packet& syn) {
  if (!story.listeners()) return;
  const Endpoint& server = story.trace().connection.server;
  const auto found = listener_elsewhere(*story.listeners(), syn, server.address);
  if (!found) return;
  Cause& cause = candidate.cause;
  cause.kind = found->kind;
  cause.listener = found->listener;
  cause.summary += ". " + listens_text(found->listener);
  if (found->kind == CauseKind::listener_other_netns) {
    cause.summary += " in " + name_of(found->listener.netns) + ", not in " + name_of(syn.netns);
  } else if (found->kind == CauseKind::listener_other_family) {
    cause.summary += is_ipv6(found->listener.address) ? ": IPv6 only" : ": IPv4 only";
  } else if (serves(found->listener, server.address) == true) {
    cause.summary += ", not for what comes in through " + syn.iif.value_or("another");
  } else {
    cause.summary += ", not on " + server.address;
  }
}

const Answer* last_reset_without_socket(const Story& story) {
  const auto& answers = story.trace().answers;
  for (const Answer& answer : std::views::reverse(answers)) {
    const auto* reset = std::get_if<StackResetObservation>(&answer.what);
    const Packet* packet = story.packet(answer.packet);
    if (reset != nullptr && !reset->has_socket && packet != nullptr && is_syn(*packet))
      return story.stop_of_answer(answer) ? nullptr : &answer;
  }
  return nullptr;
}

Candidate refused_here(const Story& story, const Packet& packet) {
  Candidate candidate;
  candidate.rank = Rank::local_answer;
  candidate.outcome = ConnectionOutcome::refused;
  candidate.error = "ECONNREFUSED";
  candidate.netns = packet.netns;
  candidate.rests_on = {&packet};
  candidate.cause.kind = CauseKind::no_listener;
  candidate.cause.summary = "no socket takes " + endpoint_text(story.trace().connection.server) + "/" +
                            story.trace().connection.protocol + story.in_namespace(packet.netns);
  return candidate;
}

}  // namespace

std::optional<Candidate> nothing_listens(const Story& story) {
  if (!story.is_connecting()) return std::nullopt;
  const Answer* answer = last_reset_without_socket(story);
  if (answer == nullptr) return std::nullopt;
  const Packet& syn = *story.packet(answer->packet);
  Candidate candidate = refused_here(story, syn);
  candidate.cause.reason = std::get<StackResetObservation>(answer->what).reason;
  const std::string function = is_ipv6(syn.destination.address) ? "tcp_v6_send_reset" : "tcp_v4_send_reset";
  candidate.cause.evidence.push_back("TCP answered the SYN with a RST because no socket matched it (" +
                                     function + ")");
  add_listener_elsewhere(candidate, story, syn);
  return candidate;
}

std::optional<Candidate> datagram_port_closed(const Story& story) {
  if (story.trace().connection.protocol != "udp" || !story.is_connecting()) return std::nullopt;
  const Packet* packet = story.last_opening();
  if (packet == nullptr) return std::nullopt;
  for (const DropFact& drop : story.trace().drops) {
    if (drop.packet != packet->id || drop.what.reason != "NO_SOCKET") continue;
    Candidate candidate = refused_here(story, *packet);
    candidate.cause.reason = drop.what.reason;
    candidate.cause.evidence.push_back("kfree_skb freed the packet: NO_SOCKET");
    add_listener_elsewhere(candidate, story, *packet);
    return candidate;
  }
  return std::nullopt;
}

namespace {

// sk_acceptq_is_full(): more than the maximum.
bool accept_queue_is_full(const ListenerSynObservation& syn) { return syn.backlog > syn.max_backlog; }

// tcp_conn_request() without SYN cookies: inet_csk_reqsk_queue_is_full(), or but a quarter of
// tcp_max_syn_backlog is left for peers that are not known.
bool syn_queue_is_full(const ListenerSynObservation& syn) {
  if (syn.syncookies != 0) return false;
  return syn.syn_queue >= syn.max_backlog || syn.max_syn_backlog < syn.syn_queue + (syn.max_syn_backlog >> 2);
}

std::string out_of(std::uint32_t number, std::uint32_t most) {
  return std::to_string(number) + "/" + std::to_string(most);
}

void explain_dropped_syn(Candidate& candidate, const Story& story, const ListenerFact& fact) {
  const ListenerSynObservation& syn = fact.what;
  Cause& cause = candidate.cause;
  const std::string queue = out_of(syn.backlog, syn.max_backlog);
  cause.evidence.push_back("tcp_conn_request dropped the SYN with accept queue " + queue);
  if (syn.no_route) {
    cause.kind = CauseKind::no_route;
    cause.summary = "the listener drops the SYN: there is no route back to " +
                    story.trace().connection.client.address + story.in_namespace(fact.netns);
    cause.evidence.emplace_back("the SYN-ACK got no route (inet_csk_route_req)");
  } else if (accept_queue_is_full(syn)) {
    cause.kind = CauseKind::listen_queue_full;
    cause.summary = "the listener's accept queue is full (" + queue +
                    "): it drops the SYN; the program doesn't call accept() fast enough";
  } else if (syn_queue_is_full(syn)) {
    cause.kind = CauseKind::listen_queue_full;
    cause.summary = "the listener's SYN queue is full (" + out_of(syn.syn_queue, syn.max_backlog) +
                    "), and SYN cookies are off: it drops the SYN";
    cause.evidence.push_back(std::to_string(syn.syn_queue) +
                             " handshakes waited for their last ACK; net.ipv4.tcp_max_syn_backlog is " +
                             std::to_string(syn.max_syn_backlog));
  } else {
    cause.kind = CauseKind::stack_drop;
    cause.summary = "the listener dropped the SYN; its accept queue is not full (" + queue + ")";
    candidate.missing.emplace_back("why the listener dropped the SYN");
  }
}

}  // namespace

std::optional<Candidate> dropped_by_listener(const Story& story) {
  const auto& listeners = story.trace().listeners;
  if (!story.is_connecting() || listeners.empty() || !listeners.back().what.dropped) return std::nullopt;
  const ListenerFact& fact = listeners.back();
  if (fact.what.is_ack) return std::nullopt;
  const Packet* syn = story.packet(fact.packet);
  if (syn == nullptr) return std::nullopt;
  Candidate candidate;
  candidate.rank = Rank::stack_loss;
  candidate.outcome = ConnectionOutcome::timed_out;
  candidate.error = "ETIMEDOUT";
  candidate.netns = fact.netns;
  candidate.rests_on = {syn};
  explain_dropped_syn(candidate, story, fact);
  add_full_listener(candidate, story, fact);
  return candidate;
}

}  // namespace pathtrace
