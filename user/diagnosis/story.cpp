// SPDX-License-Identifier: GPL-2.0
#include "diagnosis/story.h"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <string_view>

namespace pathtrace {

namespace {

bool has_flags(const Packet& packet, char set, std::optional<char> clear) {
  return packet.flags && packet.flags->find(set) != std::string::npos &&
         (!clear || packet.flags->find(*clear) == std::string::npos);
}

// iptables names the target; nftables has it in the rule's text.
bool translates(const Step& step) {
  if (step.kind != StepKind::rule) return false;
  constexpr std::array<std::string_view, 5> targets{"DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"};
  if (step.target && std::find(targets.begin(), targets.end(), *step.target) != targets.end()) return true;
  if (step.backend != Backend::nftables || !step.text) return false;
  constexpr std::array<std::string_view, 4> statements{"dnat", "snat", "masquerade", "redirect"};
  std::istringstream words(*step.text);
  for (std::string word; words >> word && word != "comment";)
    if (std::find(statements.begin(), statements.end(), word) != statements.end()) return true;
  return false;
}

}  // namespace

Story::Story(const ConnectionTrace& trace, const Facts& facts) : trace_(trace), facts_(facts) {
  const Progress& progress = trace.progress;
  connecting_ = !progress.established && (!is_tcp() || progress.opened || progress.syn_ack);
  std::set<std::uint32_t> namespaces;
  for (const Packet& packet : trace.packets) {
    by_id_[packet.id] = &packet;
    namespaces.insert(packet.netns.inode);
  }
  for (const SocketFact& fact : trace.sockets) namespaces.insert(fact.netns.inode);
  spans_namespaces_ = namespaces.size() > 1;
}

const Packet* Story::packet(std::uint64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

bool Story::was_over(std::int64_t ts_ns) const {
  const std::int64_t closed_ns = trace_.progress.closed_ns;
  return closed_ns != 0 && ts_ns > closed_ns &&
         std::none_of(trace_.sockets.begin(), trace_.sockets.end(), [closed_ns](const SocketFact& fact) {
           return fact.what.what == SocketObservation::What::received_reset && fact.ts_ns > closed_ns;
         });
}

const Packet* Story::last(const std::function<bool(const Packet&)>& wanted) const {
  const auto found = std::find_if(trace_.packets.rbegin(), trace_.packets.rend(), wanted);
  return found == trace_.packets.rend() ? nullptr : &*found;
}

const Packet* Story::last_opening() const {
  return last([this](const Packet& p) {
    if (p.direction != Direction::original || is_icmp_error(*this, p)) return false;
    return !is_tcp() || is_syn(p);
  });
}

const Packet* Story::got_further_before(const Packet& packet) const {
  const auto is_same = [&packet](const Packet& p) {
    return p.direction == packet.direction && p.protocol == packet.protocol && p.flags == packet.flags;
  };
  const auto& all = trace_.packets;
  const auto first = std::find_if(all.begin(), all.end(), is_same);
  // where the last one was first seen, like the others before it
  const Packet* again = last([&](const Packet& p) { return is_same(p) && p.netns == first->netns; });
  std::set<std::uint32_t> seen;
  for (const Packet& p : all)
    if (is_same(p) && p.ts_ns >= again->ts_ns) seen.insert(p.netns.inode);
  return last([&](const Packet& p) { return is_same(p) && !seen.contains(p.netns.inode); });
}

std::optional<Stop> Story::stop_of_answer(const Answer& answer) const {
  const Packet* own = answer.answer_packet ? packet(*answer.answer_packet) : nullptr;
  return own == nullptr ? std::nullopt : stop_of(*own);
}

bool Story::is_translated() const {
  return std::any_of(trace_.packets.begin(), trace_.packets.end(), [](const Packet& packet) {
    return std::any_of(packet.steps.begin(), packet.steps.end(), translates);
  });
}

const std::optional<std::vector<Listener>>& Story::listeners() const {
  const Connection& connection = trace_.connection;
  if (!asked_ && facts_.listeners && connection.server.port)
    listeners_ = facts_.listeners(connection.protocol, *connection.server.port);
  asked_ = true;
  return listeners_;
}

std::string Story::in_namespace(const Netns& netns) const {
  if (!spans_namespaces_) return "";
  return " in network namespace " + netns.name.value_or(std::to_string(netns.inode));
}

bool is_syn(const Packet& packet) { return has_flags(packet, 'S', 'A'); }

bool is_syn_ack(const Packet& packet) {
  return has_flags(packet, 'S', std::nullopt) && has_flags(packet, 'A', std::nullopt);
}

bool is_reset(const Packet& packet) { return has_flags(packet, 'R', std::nullopt); }

bool is_icmp_error(const Story& story, const Packet& packet) {
  const auto& errors = story.trace().icmp_errors;
  return std::any_of(errors.begin(), errors.end(),
                     [&packet](const auto& e) { return e.packet == packet.id; });
}

bool is_decision(const Step& step) { return step.kind == StepKind::rule || step.kind == StepKind::policy; }

bool is_stop(const Step& step) {
  return is_decision(step) && (step.verdict == Verdict::drop || step.verdict == Verdict::reject);
}

bool has_step(const Packet& packet, StepKind kind) {
  return std::any_of(packet.steps.begin(), packet.steps.end(),
                     [kind](const Step& s) { return s.kind == kind; });
}

std::optional<Stop> stop_of(const Packet& packet) {
  const auto last = std::find_if(packet.steps.rbegin(), packet.steps.rend(), is_decision);
  if (last == packet.steps.rend() || !is_stop(*last)) return std::nullopt;
  return Stop{&packet, &*last};
}

bool is_rejected_unseen(const Packet& packet) {
  const auto stop = stop_of(packet);
  return stop && stop->step->verdict == Verdict::reject && !has_step(packet, StepKind::reject);
}

std::optional<Stop> stop_of_reject(const Packet& packet) {
  if (is_rejected_unseen(packet)) return stop_of(packet);
  for (std::size_t i = 1; i < packet.steps.size(); ++i)
    if (packet.steps[i].kind == StepKind::reject && is_stop(packet.steps[i - 1]))
      return Stop{&packet, &packet.steps[i - 1]};
  return std::nullopt;
}

std::optional<bool> serves(const Listener& listener, const std::string& address) {
  if (listener.address == address) return true;
  if (is_ipv6(address)) return listener.address == "::";
  if (listener.address == "::") return listener.v6only ? std::optional(!*listener.v6only) : std::nullopt;
  return listener.address == "0.0.0.0" || listener.address == "::ffff:" + address;
}

}  // namespace pathtrace
