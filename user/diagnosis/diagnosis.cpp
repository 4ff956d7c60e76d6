// SPDX-License-Identifier: GPL-2.0
#include "diagnosis/diagnosis.h"

#include <algorithm>
#include <array>
#include <optional>
#include <ranges>
#include <utility>
#include <vector>

#include "diagnosis/causes.h"
#include "diagnosis/errors.h"
#include "diagnosis/outcomes.h"
#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

// A new cause is a function of its own and a line here. Of equal ranks the earlier wins.
constexpr std::array cause_functions = std::to_array<CauseFunction>({
    // it was not let through
    rejected_by_rule,
    rejected_unseen,
    dropped_by_rule,
    path_mtu_message_dropped,
    dropped_by_other_hook,
    // nobody took it
    nothing_listens,
    datagram_port_closed,
    dropped_by_listener,
    turned_away_at_accept,
    lost_in_stack,
    unreachable_by_this_host,
    waits_for_next_hop,
    remote_end_refused,
    remote_icmp_error,
    nothing_came_back,
    // it was made
    application_reset,
    gave_up,
    reset_by_stack,
    reset_by_remote,
    was_established,
    was_answered,
    undecided,
});

Candidate best_cause(const Story& story) {
  std::optional<Candidate> best;
  for (const CauseFunction propose : cause_functions) {
    std::optional<Candidate> candidate = propose(story);
    if (candidate && (!best || candidate->rank > best->rank)) best = std::move(candidate);
  }
  return std::move(*best);
}

// When the client may have been told of an error: a RST or an ICMP error that was made here or passed a rule.
// What is only seen to be freed may have been there for long.
std::vector<std::int64_t> answer_times(const Story& story) {
  std::vector<std::int64_t> times;
  for (const Answer& answer : story.trace().answers) times.push_back(answer.ts_ns);
  for (const Packet& packet : story.trace().packets)
    if (packet.direction == Direction::reply && (is_reset(packet) || is_icmp_error(story, packet)) &&
        std::any_of(packet.steps.begin(), packet.steps.end(), is_decision))
      times.push_back(packet.ts_ns);
  return times;
}

// The application closed its socket before there was anything to be told. (An error that came while the
// socket was in use is told by SO_ERROR and leaves it open: sk_err_soft.)
bool gave_up_before(const Story& story, std::int64_t closed_ns) {
  const auto times = answer_times(story);
  return !times.empty() && *std::min_element(times.begin(), times.end()) > closed_ns;
}

void set_given_up(Candidate& candidate) {
  if (candidate.outcome != ConnectionOutcome::refused && candidate.outcome != ConnectionOutcome::unreachable)
    return;
  candidate.outcome = ConnectionOutcome::timed_out;
  candidate.error = "ETIMEDOUT";
  candidate.cause.evidence.emplace_back("the client closed its socket before an answer came");
}

// Where the client's socket is on this host, it says itself what connect() returned.
void believe_client_socket(Candidate& candidate, const Story& story) {
  if (!story.is_connecting() || !story.is_tcp()) return;
  const auto& facts = story.trace().sockets;
  for (const SocketFact& fact : std::views::reverse(facts)) {
    const bool closed = fact.what.what == SocketObservation::What::state_change && fact.what.old_state == 2 &&
                        fact.what.new_state == 7;
    if (!fact.at_client || !closed) continue;
    if (fact.what.error == 0 && gave_up_before(story, fact.ts_ns)) set_given_up(candidate);
    const auto error = error_of_number(fact.what.error);
    if (!error) return;
    candidate.outcome = error->outcome;
    candidate.error = error->name;
    candidate.cause.evidence.push_back("the client's socket failed with " + *error->name);
    return;
  }
}

// The administrator who looks for the rule with the command that doesn't show it misses it.
void point_to_other_backend(Cause& cause, const Facts& facts) {
  if (!cause.rule || !cause.rule->backend || !cause.rule->family || !facts.iptables_backend) return;
  const Backend has_it = *cause.rule->backend;
  if (has_it == Backend::nftables) return;
  const auto shown = facts.iptables_backend(*cause.rule->family);
  if (shown && *shown != has_it) cause.summary += ". " + other_backend_text(*cause.rule, *shown);
}

void add_distinct(std::vector<std::string>& values, const std::string& value) {
  if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
}

std::vector<std::string> all_missing(const Candidate& candidate, const ConnectionTrace& trace) {
  std::vector<std::string> missing;
  for (const std::string& what : candidate.missing) add_distinct(missing, what);
  for (const Packet* packet : candidate.rests_on)
    for (const Step& step : packet->steps)
      if (step.missing) add_distinct(missing, *step.missing);
  if (trace.packets_omitted != 0)
    missing.push_back(std::to_string(trace.packets_omitted) + " packets beyond the most that are kept");
  return missing;
}

// `seen`: up to where the conclusion goes.
void add_losses(std::vector<std::string>& missing, const ConnectionTrace& seen, const LossLog& losses) {
  const std::uint64_t lost = losses.within(seen.connection.started_ns, seen.as_of_ns);
  if (lost == 0) return;
  missing.push_back(std::to_string(lost) + (lost == 1 ? " event was" : " events were") +
                    " lost while it lasted");
}

std::string times_text(std::uint64_t times) { return times == 1 ? "once" : std::to_string(times) + " times"; }

void add_unwatched(std::vector<std::string>& missing, const ConnectionTrace& seen, const Facts& facts) {
  for (const std::string& spot : facts.blind_spots) add_distinct(missing, spot);
  const std::int64_t began_ns = seen.connection.started_ns;
  for (const Gap& gap : facts.gaps)
    if (gap.since_ns <= seen.as_of_ns && gap.until_ns > began_ns)
      missing.push_back(gap.what + " were not watched until " + duration_text(gap.until_ns - began_ns) +
                        " after it began");
  if (const auto times = facts.left_out ? facts.left_out(began_ns, seen.as_of_ns) : 0; times != 0)
    add_distinct(missing, "the kernel left out a program " + times_text(times) +
                              " while it lasted, as an interrupt came while it ran");
}

// Concluded from what was not seen: nothing here answered or dropped it, so somebody else did.
bool is_by_elimination(CauseKind kind) {
  return kind == CauseKind::remote_refused || kind == CauseKind::remote_reset || kind == CauseKind::no_reply;
}

}  // namespace

void diagnose(ConnectionTrace& trace, const Facts& facts) {
  for (Packet& packet : trace.packets) packet.outcome = outcome_of(trace, packet);
  // what came after it was reported for good is shown, and changes no conclusion
  const auto before = trace.decided ? std::optional(as_decided(trace)) : std::nullopt;
  const Story story(before ? *before : trace, facts);
  Candidate best = best_cause(story);
  believe_client_socket(best, story);
  point_to_other_backend(best.cause, facts);

  Connection& connection = trace.connection;
  connection.outcome = best.outcome;
  connection.error = best.error;
  connection.fixes.clear();
  connection.missing = all_missing(best, trace);
  if (trace.occasion == Occasion::no_room)
    connection.missing.push_back("what came later: it was let go of " +
                                 duration_text(trace.as_of_ns - connection.started_ns) +
                                 " after it began, for want of room");
  add_losses(connection.missing, story.trace(), facts.losses);
  if (is_by_elimination(best.cause.kind)) {
    add_unwatched(connection.missing, story.trace(), facts);
    if (story.is_translated())
      connection.missing.emplace_back("what became of it behind the rule that translated its addresses");
  }
  connection.confidence = connection.missing.empty() ? Confidence::exact : Confidence::partial;
  if (best.netns) connection.netns = *best.netns;
  connection.cause = std::move(best.cause);
}

}  // namespace pathtrace
