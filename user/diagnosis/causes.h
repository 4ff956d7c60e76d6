// SPDX-License-Identifier: GPL-2.0
// One small function a cause. Each looks at the whole connection and proposes an explanation, or
// nothing; the one that explains more of what the client sees wins, by rank.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "diagnosis/story.h"

namespace pathtrace {

// What outweighs what. An answer decides over a loss, as the client gets it; but an answer that was
// itself dropped decides nothing.
enum class Rank {
  fallback,
  silence,        // it left and nothing came back
  open,           // the connection was made
  stack_loss,     // the stack freed the packet
  firewall_loss,  // a rule or policy dropped it
  remote_answer,  // somebody else answered
  local_answer,   // this host answered
  rule_answer,    // ... because a rule said so
  lost_answer,    // the answer never left
};

struct Candidate {
  Rank rank = Rank::fallback;
  ConnectionOutcome outcome = ConnectionOutcome::in_progress;
  std::optional<std::string> error;
  Cause cause;
  std::optional<Netns> netns;           // where it was decided
  std::vector<const Packet*> rests_on;  // packets whose steps must be known for it to be exact
  std::vector<std::string> missing;
};

using CauseFunction = std::optional<Candidate> (*)(const Story& story);

// causes_reject.cpp
std::optional<Candidate> rejected_by_rule(const Story& story);
std::optional<Candidate> rejected_unseen(const Story& story);
// causes_drop.cpp
std::optional<Candidate> dropped_by_rule(const Story& story);
std::optional<Candidate> path_mtu_message_dropped(const Story& story);
std::optional<Candidate> dropped_by_other_hook(const Story& story);
// causes_listener.cpp
std::optional<Candidate> nothing_listens(const Story& story);
std::optional<Candidate> datagram_port_closed(const Story& story);
std::optional<Candidate> dropped_by_listener(const Story& story);
// causes_accept.cpp
std::optional<Candidate> turned_away_at_accept(const Story& story);
// causes_stack.cpp
std::optional<Candidate> lost_in_stack(const Story& story);
std::optional<Candidate> unreachable_by_this_host(const Story& story);
std::optional<Candidate> waits_for_next_hop(const Story& story);
// causes_remote.cpp
std::optional<Candidate> remote_end_refused(const Story& story);
std::optional<Candidate> remote_icmp_error(const Story& story);
std::optional<Candidate> nothing_came_back(const Story& story);
// causes_open.cpp
std::optional<Candidate> was_established(const Story& story);
std::optional<Candidate> was_answered(const Story& story);
// Always proposes something.
std::optional<Candidate> undecided(const Story& story);
// causes_reset.cpp
std::optional<Candidate> application_reset(const Story& story);
std::optional<Candidate> gave_up(const Story& story);
std::optional<Candidate> reset_by_stack(const Story& story);
std::optional<Candidate> reset_by_remote(const Story& story);

}  // namespace pathtrace
