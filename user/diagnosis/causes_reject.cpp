// SPDX-License-Identifier: GPL-2.0
// A REJECT answered. Its RST or ICMP error fires no event that tells it from a service's; the calls
// of nf_send_reset() and nf_send_unreach() do.
#include <ranges>

#include "diagnosis/causes.h"
#include "diagnosis/errors.h"
#include "diagnosis/listeners.h"
#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

// The last reject whose answer was not stopped itself.
const Answer* last_reject(const Story& story) {
  const auto& answers = story.trace().answers;
  for (const Answer& answer : std::views::reverse(answers))
    if (std::holds_alternative<RejectObservation>(answer.what) && story.packet(answer.packet) != nullptr)
      return story.stop_of_answer(answer) ? nullptr : &answer;
  return nullptr;
}

std::string sender_of(const std::string& with, const Packet& packet) {
  const bool ipv6 = packet.destination.address.find(':') != std::string::npos;
  return std::string(with == "tcp-reset" ? "nf_send_reset" : "nf_send_unreach") + (ipv6 ? "6" : "");
}

bool concerns_client(const Packet& packet) { return packet.direction == Direction::original; }

void set_outcome(Candidate& candidate, const Story& story, const Packet& packet, const std::string& with) {
  if (!story.is_connecting()) {
    candidate.outcome = ConnectionOutcome::reset;
    return;
  }
  if (!concerns_client(packet)) {  // the answer goes to the server; the client hears nothing
    candidate.outcome = ConnectionOutcome::timed_out;
    if (story.is_tcp()) candidate.error = "ETIMEDOUT";
    return;
  }
  const ClientError error = error_of_reject(with, story.is_tcp());
  candidate.outcome = error.outcome;
  candidate.error = error.name;
  if (!error.name && error.outcome != ConnectionOutcome::timed_out)
    candidate.missing.emplace_back("the client's error for a reject with " + with);
}

std::string what_is_rejected(const Story& story, const Packet& packet, const Step& step) {
  if (!story.is_connecting()) return later_packet(packet);
  if (!concerns_client(packet)) return "the server's " + packet_name(packet);
  return step.kind == StepKind::policy ? "it" : object_of(step);
}

std::string unnamed(const std::optional<Stop>& stop) {
  return stop && stop->step->missing ? *stop->step->missing
                                     : "the walk that rejected the packet was not reported";
}

void blame(Candidate& candidate, const Story& story, const Packet& packet, const std::string& with) {
  const auto stop = stop_of_reject(packet);
  const std::string name = packet_name(packet);
  std::string inside = "a rule that could not be named";
  if (stop && !stop->step->missing) {
    candidate.cause.rule = *stop->step;
    inside = short_rule(*stop->step);
    candidate.cause.summary =
        long_rule(*stop->step) + " rejects " + what_is_rejected(story, packet, *stop->step);
  } else {
    candidate.missing.push_back(unnamed(stop));
    const std::string table = stop ? " of " + table_of(*stop->step) : "";
    candidate.cause.summary = "a rule" + table + " rejects the " + name + "; which one is not known";
  }
  candidate.cause.summary += story.in_namespace(packet.netns);
  candidate.cause.evidence.push_back(sender_of(with, packet) + " answered the " + name + " inside " + inside);
}

}  // namespace

std::optional<Candidate> rejected_by_rule(const Story& story) {
  const Answer* answer = last_reject(story);
  if (answer == nullptr) return std::nullopt;
  const Packet& packet = *story.packet(answer->packet);
  const std::string& with = std::get<RejectObservation>(answer->what).with;
  // an attempt that was rejected before the one that succeeded explains nothing
  if (!story.is_connecting() && is_syn(packet)) return std::nullopt;

  Candidate candidate;
  candidate.rank = Rank::rule_answer;
  candidate.cause.kind = CauseKind::firewall_reject;
  candidate.netns = packet.netns;
  candidate.rests_on = {&packet};
  set_outcome(candidate, story, packet, with);
  blame(candidate, story, packet, with);
  if (answer->answer_packet)
    candidate.cause.evidence.push_back("the answer, " + with + ", is packet " +
                                       std::to_string(*answer->answer_packet));
  if (story.is_connecting() && concerns_client(packet)) add_unreached_listener(candidate, story, packet);
  return candidate;
}

}  // namespace pathtrace
