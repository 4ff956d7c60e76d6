// SPDX-License-Identifier: GPL-2.0
#include "render/text_block.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "render/text_steps.h"

namespace pathtrace {
namespace {

struct OutcomeWords {
  const char* text;
  Tone tone;
  const char* usual_error;  // what goes without saying
};

OutcomeWords outcome_words(ConnectionOutcome outcome) {
  switch (outcome) {
    case ConnectionOutcome::established:
      return {"ESTABLISHED", Tone::good, ""};
    case ConnectionOutcome::refused:
      return {"REFUSED", Tone::bad, "ECONNREFUSED"};
    case ConnectionOutcome::unreachable:
      return {"UNREACHABLE", Tone::bad, ""};
    case ConnectionOutcome::timed_out:
      return {"TIMED OUT", Tone::bad, "ETIMEDOUT"};
    case ConnectionOutcome::reset:
      return {"RESET", Tone::bad, "ECONNRESET"};
    case ConnectionOutcome::closed:
      return {"CLOSED", Tone::good, ""};
    case ConnectionOutcome::in_progress:
      return {"IN PROGRESS", Tone::open, ""};
  }
  return {"", Tone::plain, ""};
}

struct ErrorWords {
  const char *name, *text;
};
// What programs print for it, so that the reader recognises their own message.
constexpr ErrorWords error_words[] = {
    {"ECONNREFUSED", "Connection refused"},     {"ETIMEDOUT", "Connection timed out"},
    {"ECONNRESET", "Connection reset by peer"}, {"EHOSTUNREACH", "No route to host"},
    {"ENETUNREACH", "Network is unreachable"},  {"EACCES", "Permission denied"},
    {"EPERM", "Operation not permitted"},       {"ENOPROTOOPT", "Protocol not available"},
};

std::string error_text(const std::string& error) {
  for (const auto& words : error_words)
    if (error == words.name) return error + " \"" + words.text + "\"";
  return sanitise(error);
}

std::string endpoint(const Endpoint& end) {
  std::string address = sanitise(end.address);
  if (!end.port) return address;
  const bool ipv6 = address.find(':') != std::string::npos;
  return (ipv6 ? "[" + address + "]" : address) + ":" + std::to_string(*end.port);
}

std::string number_of(const Step& step) {
  if (step.kind == StepKind::policy) return " policy";
  if (step.rule) return " rule " + std::to_string(*step.rule);
  if (step.handle) return " handle " + std::to_string(*step.handle);
  return "";
}

std::string place_of(const Step& step, TableNaming naming) {
  return table_name(step, naming) + "/" + (step.chain ? sanitise(*step.chain) : "?");
}

std::string kind_words(CauseKind kind) {
  if (kind == CauseKind::unknown) return "cause not known";
  std::string words(word(kind));
  std::replace(words.begin(), words.end(), '_', ' ');
  return words;
}

bool went_wrong(ConnectionOutcome outcome) { return outcome_words(outcome).tone == Tone::bad; }

std::string verdict(const Connection& connection, TableNaming naming, const Style& style) {
  const OutcomeWords words = outcome_words(connection.outcome);
  std::string out = style.paint(words.text, words.tone);
  if (connection.error && *connection.error != words.usual_error)
    out += " (" + error_text(*connection.error) + ")";
  const auto& rule = connection.cause.rule;
  if (rule)
    out += " by " + place_of(*rule, naming) + number_of(*rule);
  else if (went_wrong(connection.outcome) || connection.cause.kind == CauseKind::no_reply)
    out += ": " + kind_words(connection.cause.kind);
  return out;
}

// The namespace, where all packets were in one that has a name.
std::string netns_words(const std::vector<Packet>& packets) {
  if (packets.empty() || !packets.front().netns.name) return "";
  for (const auto& packet : packets)
    if (packet.netns != packets.front().netns) return "";
  return " @" + sanitise(*packets.front().netns.name);
}

std::string note(const char* key, const std::string& text) { return "    " + pad(key, 10) + text + "\n"; }

std::string nat_notes(const Connection& connection, const Style& style) {
  if (!connection.nat) return "";
  const auto& nat = *connection.nat;
  std::string out;
  const auto changed = [&](const char* which, const Endpoint& from, const Endpoint& to) {
    if (from != to)
      out += note("nat", which + (" " + endpoint(from)) + " " + style.arrow() + " " + endpoint(to));
  };
  changed("dst", nat.original_destination, nat.translated_destination);
  changed("src", nat.original_source, nat.translated_source);
  return out;
}

std::string shadowed_note(const Cause& cause, TableNaming naming) {
  if (!cause.shadowed) return "";
  const Step& shadowed = *cause.shadowed;
  std::string text = place_of(shadowed, naming) + number_of(shadowed);
  if (shadowed.text) text += " (" + sanitise(*shadowed.text) + ")";
  text += " would have accepted it";
  if (cause.rule) {
    const std::string place = place_of(*cause.rule, naming);
    const bool same_chain = place == place_of(shadowed, naming);
    text += ";" + (same_chain ? "" : " " + place) + number_of(*cause.rule) + " comes first";
  }
  return note("shadowed", text);
}

std::string fix_notes(const std::vector<Fix>& fixes) {
  std::string out;
  for (const auto& fix : fixes)
    out += note("fix", sanitise(fix.command) + "        (printed, never run" +
                           (fix.why.empty() ? "" : "; " + sanitise(fix.why)) + ")");
  return out;
}

std::string missing_notes(const Connection& connection) {
  std::string out;
  for (const auto& missing : connection.missing) out += note("missing", sanitise(missing));
  if (out.empty() && connection.confidence == Confidence::partial)
    out = note("missing", "some of the evidence; the cause may be another");
  return out;
}

std::string notes(const Connection& connection, TableNaming naming, const Style& style) {
  std::string out = nat_notes(connection, style);
  if (!connection.cause.summary.empty()) out += note("cause", sanitise(connection.cause.summary));
  return out + shadowed_note(connection.cause, naming) + fix_notes(connection.fixes) +
         missing_notes(connection);
}

std::string flow(const Endpoint& from, const Endpoint& to, const std::string& protocol,
                 const std::vector<Packet>& packets, const Style& style) {
  return endpoint(from) + " " + style.arrow() + " " + endpoint(to) + " " + sanitise(protocol) +
         netns_words(packets) + "   ";
}

}  // namespace

std::string connection_block(const Connection& connection, const std::vector<Packet>& packets, Told& told,
                             const Style& style) {
  const TableNaming naming = naming_of(packets);
  const bool again = std::exchange(told.shown, true);
  const std::size_t cause = std::hash<std::string>()(connection.cause.summary);
  const bool new_cause = std::exchange(told.cause, cause) != cause;
  std::string out = flow(connection.client, connection.server, connection.protocol, packets, style) +
                    verdict(connection, naming, style) + "\n" + packet_lines(packets, told, style);
  if (!again) return out + notes(connection, naming, style);
  // The first block said the rest; why it ended badly is new, unless that is what the first block said.
  if (new_cause && went_wrong(connection.outcome) && !connection.cause.summary.empty())
    out += note("cause", sanitise(connection.cause.summary));
  return out + missing_notes(connection);
}

std::string unfinished_block(const std::vector<Packet>& packets, const Style& style) {
  if (packets.empty()) return "";
  const Packet& first = packets.front();
  Told told;
  told.start_ns = first.ts_ns;
  const bool reply = first.direction == Direction::reply;
  return flow(reply ? first.destination : first.source, reply ? first.source : first.destination,
              first.protocol, packets, style) +
         style.paint("NOT FINISHED", Tone::open) + "\n" + packet_lines(packets, told, style);
}

}  // namespace pathtrace
