// SPDX-License-Identifier: GPL-2.0
// What a cause may ask of a connection.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "diagnosis/diagnosis.h"

namespace pathtrace {

[[nodiscard]] inline bool is_ipv6(const std::string& address) {
  return address.find(':') != std::string::npos;
}

// The step that stopped a packet, and the packet.
struct Stop {
  const Packet* packet = nullptr;
  const Step* step = nullptr;  // of kind rule or policy; it may name no rule (`missing`)
};

class Story {
 public:
  Story(const ConnectionTrace& trace, const Facts& facts);

  [[nodiscard]] const ConnectionTrace& trace() const { return trace_; }
  [[nodiscard]] bool is_tcp() const { return trace_.connection.protocol == "tcp"; }
  // The client has not got its connection (yet). False for one whose beginning was not seen.
  [[nodiscard]] bool is_connecting() const { return connecting_; }
  [[nodiscard]] bool spans_namespaces() const { return spans_namespaces_; }

  [[nodiscard]] const Packet* packet(std::uint64_t id) const;
  // It was closed in order before `ts_ns`, and no socket took a RST since.
  [[nodiscard]] bool was_over(std::int64_t ts_ns) const;
  // The last packet that `wanted` accepts; nullptr if there is none.
  [[nodiscard]] const Packet* last(const std::function<bool(const Packet&)>& wanted) const;
  // The last sighting of what opens the connection: the SYN; UDP and ICMP: the client's last packet.
  [[nodiscard]] const Packet* last_opening() const;
  // The same sent before, where it got to a namespace in which this one, sent last, was not seen: its last
  // sighting there. This one went another way, or events of it are missing.
  [[nodiscard]] const Packet* got_further_before(const Packet& packet) const;
  // A rule that it matched changes its addresses: from there on its packets are another connection's, which
  // this one is not joined with.
  [[nodiscard]] bool is_translated() const;
  // The rule of an answer's own way out that kept it from leaving.
  [[nodiscard]] std::optional<Stop> stop_of_answer(const Answer& answer) const;

  // Listening sockets of the server's port; nullopt if that can't be known. Asked for once.
  [[nodiscard]] const std::optional<std::vector<Listener>>& listeners() const;
  // " in network namespace NAME" if more than one is involved, else "".
  [[nodiscard]] std::string in_namespace(const Netns& netns) const;

 private:
  const ConnectionTrace& trace_;
  const Facts& facts_;
  bool connecting_ = false;
  bool spans_namespaces_ = false;
  std::map<std::uint64_t, const Packet*> by_id_;
  mutable bool asked_ = false;
  mutable std::optional<std::vector<Listener>> listeners_;
};

bool is_syn(const Packet& packet);
bool is_syn_ack(const Packet& packet);
bool is_reset(const Packet& packet);
bool is_icmp_error(const Story& story, const Packet& packet);

bool is_decision(const Step& step);
bool is_stop(const Step& step);
bool has_step(const Packet& packet, StepKind kind);
// The rule or policy that ended the packet's last walk, if that walk ended in drop or reject.
std::optional<Stop> stop_of(const Packet& packet);
// Its last walk ended in a rule that rejects, and it has no reject step: what the rule called was missed.
bool is_rejected_unseen(const Packet& packet);
// The same for a packet that was rejected: the step right before its reject step; without one, the rule that
// rejects.
std::optional<Stop> stop_of_reject(const Packet& packet);

// Does a socket bound to `listener` get what is sent to `address`? nullopt: that isn't known.
std::optional<bool> serves(const Listener& listener, const std::string& address);

}  // namespace pathtrace
