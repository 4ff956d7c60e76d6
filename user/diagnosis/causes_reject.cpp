// SPDX-License-Identifier: GPL-2.0
// A REJECT answered. Its RST or ICMP error fires no event that tells it from a service's; the calls
// of nf_send_reset() and nf_send_unreach() do. Where such a call was missed (its event was lost, its probe is
// not attached), the rule still tells that it rejects, and the answer or the rule's text with what.
#include <array>
#include <ranges>
#include <sstream>
#include <string_view>

#include "diagnosis/causes.h"
#include "diagnosis/errors.h"
#include "diagnosis/listeners.h"
#include "diagnosis/wording.h"
#include "timeline/identity.h"

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

namespace {

// The call that answered it was missed: neither the call itself nor its answer is known of.
bool was_answered_unseen(const Story& story, const Packet& packet) {
  const auto& answers = story.trace().answers;
  return is_rejected_unseen(packet) && std::none_of(answers.begin(), answers.end(), [&](const Answer& a) {
           return a.packet == packet.id && std::holds_alternative<RejectObservation>(a.what);
         });
}

// The last one; not one that got through when it was sent again.
const Packet* last_answered_unseen(const Story& story) {
  if (!story.is_connecting() && !story.trace().progress.stalled) return nullptr;
  const auto is_considered = [&](const Packet& p) {
    return story.is_connecting() || !is_icmp_error(story, p);
  };
  const Packet* last =
      story.last([&](const Packet& p) { return is_considered(p) && was_answered_unseen(story, p); });
  if (last == nullptr || (!story.is_connecting() && is_syn(*last))) return nullptr;
  const Packet* again = story.last([&](const Packet& p) {
    return is_considered(p) && p.direction == last->direction && p.netns == last->netns &&
           is_icmp_error(story, p) == is_icmp_error(story, *last) &&
           (!story.is_connecting() || p.flags == last->flags);
  });
  return again == last ? last : nullptr;
}

// A RST or an ICMP error that this host made in the rejected packet's namespace, in the words of
// --reject-with.
std::optional<std::string> answer_to(const Story& story, const Packet& packet) {
  const auto made_here = [&packet](const Packet& p) {
    return p.direction != packet.direction && p.netns == packet.netns && p.ts_ns >= packet.ts_ns &&
           p.origin != Origin::wire;
  };
  for (const IcmpErrorFact& error : std::views::reverse(story.trace().icmp_errors)) {
    const Packet* own = story.packet(error.packet);
    if (own != nullptr && made_here(*own)) return reject_word(error.ipv6, error.code);
  }
  const Packet* reset =
      story.last([&](const Packet& p) { return is_reset(p) && made_here(p) && !is_icmp_error(story, p); });
  return reset == nullptr ? std::nullopt : std::optional<std::string>("tcp-reset");
}

struct Statement {
  std::string_view nft, with, with6;
};

// nft's words for what ICMP says, and those of --reject-with. Of both families ("icmpx") where both are
// given (nft_reject_icmp_code(), nft_reject_icmpv6_code()).
constexpr std::array<Statement, 11> statements{{
    {"port-unreachable", "icmp-port-unreachable", "icmp6-port-unreachable"},
    {"admin-prohibited", "icmp-admin-prohibited", "icmp6-adm-prohibited"},
    {"no-route", "icmp-net-unreachable", "icmp6-no-route"},
    {"host-unreachable", "icmp-host-unreachable", "icmp6-addr-unreachable"},
    {"net-unreachable", "icmp-net-unreachable", ""},
    {"prot-unreachable", "icmp-proto-unreachable", ""},
    {"net-prohibited", "icmp-net-prohibited", ""},
    {"host-prohibited", "icmp-host-prohibited", ""},
    {"addr-unreachable", "", "icmp6-addr-unreachable"},
    {"policy-fail", "", "icmp6-policy-fail"},
    {"reject-route", "", "icmp6-reject-route"},
}};

// What follows the last "reject" of an nftables rule, it being the last statement: "with tcp reset".
std::optional<std::string> answer_of_statement(std::istringstream words, bool ipv6) {
  std::string word;
  if (!(words >> word) || word != "with") return ipv6 ? "icmp6-port-unreachable" : "icmp-port-unreachable";
  words >> word;
  if (word == "tcp") return "tcp-reset";
  while (words >> word && word == "type") {
  }
  for (const Statement& known : statements)
    if (word == known.nft) {
      const std::string_view with = ipv6 ? known.with6 : known.with;
      return with.empty() ? std::nullopt : std::optional<std::string>(with);
    }
  return std::nullopt;
}

// With what the rule says that it rejects.
std::optional<std::string> answer_of_rule(const Step& step, const Packet& packet) {
  if (!step.text) return std::nullopt;
  const bool ipv6 = packet.destination.address.find(':') != std::string::npos;
  const std::string text = " " + *step.text + " ";
  constexpr std::string_view option = " --reject-with ";
  if (const auto at = text.rfind(option); at != std::string::npos) {
    std::string with;
    std::istringstream(text.substr(at + option.size())) >> with;
    return with;
  }
  if (step.backend != Backend::nftables) return std::nullopt;
  constexpr std::string_view statement = " reject ";
  const auto at = text.rfind(statement, text.find(" comment \""));
  if (at == std::string::npos) return std::nullopt;
  return answer_of_statement(std::istringstream(text.substr(at + statement.size())), ipv6);
}

}  // namespace

std::optional<Candidate> rejected_unseen(const Story& story) {
  const Packet* packet = last_answered_unseen(story);
  if (packet == nullptr) return std::nullopt;
  const Step& step = *stop_of(*packet)->step;
  const auto seen = answer_to(story, *packet);
  const auto with = seen ? seen : answer_of_rule(step, *packet);

  Candidate candidate;
  candidate.rank = Rank::rule_answer;
  candidate.netns = packet->netns;
  candidate.rests_on = {packet};
  Cause& cause = candidate.cause;
  cause.kind = CauseKind::firewall_reject;
  cause.rule = step;
  cause.summary = long_rule(step) + " rejects " + what_is_rejected(story, *packet, step) +
                  story.in_namespace(packet->netns);
  cause.evidence.push_back("the walk of the " + packet_name(*packet) + " ended in " + short_rule(step) +
                           ": reject");
  if (seen) cause.evidence.push_back("this host answered with " + *seen);
  candidate.missing.emplace_back(seen   ? "the call that made the answer"
                                 : with ? "the answer to the " + packet_name(*packet) +
                                              "; the rule's text says " + *with
                                        : "the answer to the " + packet_name(*packet));
  if (with && (story.is_connecting() || *with == "tcp-reset"))
    set_outcome(candidate, story, *packet, *with);
  else if (!story.is_connecting() && with)
    candidate.outcome = ConnectionOutcome::timed_out;
  if (story.is_connecting() && concerns_client(*packet)) add_unreached_listener(candidate, story, *packet);
  return candidate;
}

}  // namespace pathtrace
