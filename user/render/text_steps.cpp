// SPDX-License-Identifier: GPL-2.0
#include "render/text_steps.h"

#include <algorithm>

#include "render/utf8.h"

namespace pathtrace {
namespace {

constexpr std::size_t indent = 14;        // under the packet's own text
constexpr std::size_t least_text = 20;    // narrower, a rule says nothing
constexpr std::size_t aligned_text = 60;  // without a width: longer texts push their verdict only

std::string clean(const std::optional<std::string>& text) { return text ? sanitise(*text) : std::string(); }

bool denies(const Step& step) {
  return (step.kind == StepKind::rule || step.kind == StepKind::policy) &&
         (step.verdict == Verdict::drop || step.verdict == Verdict::reject);
}

// The reject that this rule's REJECT made: the next one, before another rule.
const Step* reject_of(const std::vector<Step>& steps, std::size_t rule) {
  for (std::size_t i = rule + 1; i < steps.size() && steps[i].kind != StepKind::rule; ++i)
    if (steps[i].kind == StepKind::reject) return &steps[i];
  return nullptr;
}

struct VerdictWords {
  std::string text;
  Tone tone;
};

VerdictWords verdict_words(const Step& step, const Step* reject, const Style& style) {
  const std::string target = step.target ? sanitise(*step.target) : "?";
  if (!step.verdict) return {"", Tone::plain};
  switch (*step.verdict) {
    case Verdict::accept:
      return {"ACCEPT", Tone::good};
    case Verdict::drop:
      return {"DROP", Tone::bad};
    case Verdict::reject:
      return {"REJECT" + (reject != nullptr && reject->with ? " " + sanitise(*reject->with) : ""), Tone::bad};
    case Verdict::jump:
      return {style.arrow() + " " + target, Tone::plain};
    case Verdict::go_to:
      return {"goto " + target, Tone::plain};
    case Verdict::return_:
      return {"return", Tone::plain};
    case Verdict::continue_:
      return {"continue", Tone::plain};
    case Verdict::queue:
      return {"QUEUE", Tone::open};
    case Verdict::stolen:
      return {"STOLEN", Tone::open};
  }
  return {"", Tone::plain};
}

std::string rule_text(const Step& step) {
  if (step.missing) return "(" + sanitise(*step.missing) + ")";
  if (step.kind == StepKind::policy) return "policy";
  if (step.text) return sanitise(*step.text);
  if (step.comment) return "/* " + sanitise(*step.comment) + " */";
  return "(its text is not known)";
}

// "   [10.0.0.0/8 of @blocked]"
std::string elements_text(const Step& step) {
  std::string text;
  for (const SetElement& one : step.elements) {
    if (!text.empty()) text += ", ";
    text += one.element ? sanitise(*one.element) : "?";
    text += one.set ? " of @" + sanitise(*one.set) : " of { }";
    if (!one.element) text += ", which packets and time change";
  }
  return text.empty() ? "" : "   [" + text + "]";
}

StepRow rule_row(const Step& step, const Step* reject, TableNaming naming, const Style& style) {
  StepRow row;
  row.table = table_name(step, naming);
  row.chain = step.chain ? sanitise(*step.chain) : "?";
  if (step.rule) row.number = "#" + std::to_string(*step.rule);
  row.text = rule_text(step) + elements_text(step);
  const VerdictWords verdict = verdict_words(step, reject, style);
  row.verdict = verdict.text;
  row.tone = verdict.tone;
  return row;
}

StepRow labelled(const std::string& label, const std::string& text, Tone tone = Tone::plain) {
  StepRow row;
  row.table = label;
  row.text = text;
  row.label = true;
  row.tone = tone;
  return row;
}

// The kernel calls it a drop, too, when a receiver is done with a packet.
StepRow drop_row(const Step& step, const Packet& packet) {
  std::string text = step.reason ? sanitise(*step.reason) : "the kernel gives no reason";
  if (step.where) text += ", in " + sanitise(*step.where);
  if (packet.outcome == PacketOutcome::delivered) return labelled("freed", "by its receiver (" + text + ")");
  return labelled("dropped", text, Tone::bad);
}

StepRow other_row(const Step& step, const Packet& packet, const Style& style) {
  switch (step.kind) {
    case StepKind::nat:
      return labelled(clean(step.which) + " NAT",
                      clean(step.from) + " " + style.arrow() + " " + clean(step.to));
    case StepKind::conntrack:
      return labelled("conntrack", clean(step.state));
    case StepKind::reject:
      return labelled("rejected", clean(step.with), Tone::bad);
    case StepKind::drop:
      return drop_row(step, packet);
    case StepKind::deliver:
      return labelled("delivered", step.listener ? "to " + sanitise(*step.listener) : "", Tone::good);
    case StepKind::transmit:
      return labelled("sent", "out " + clean(step.interface));
    case StepKind::receive:
      return labelled("received", "in " + clean(step.interface));
    case StepKind::rule:
    case StepKind::policy:
      break;
  }
  return {};
}

// `denied_by`: the last rule or policy before this step, where it denied the packet.
bool says_nothing_new(const Step& step, const Packet& packet, const Step* denied_by) {
  switch (step.kind) {
    case StepKind::receive:
      return step.interface == packet.iif;
    case StepKind::transmit:
      return step.interface == packet.oif;
    case StepKind::reject:
      return denied_by != nullptr && denied_by->verdict == Verdict::reject;
    case StepKind::drop:
      return denied_by != nullptr && (step.reason ? *step.reason == "NETFILTER_DROP"
                                                  : step.where && step.where->starts_with("nf_hook_slow"));
    default:
      return false;
  }
}

}  // namespace

TableNaming naming_of(const std::vector<Packet>& packets) {
  bool legacy = false;
  bool nft = false;
  for (const auto& packet : packets)
    for (const auto& step : packet.steps) {
      legacy = legacy || step.backend == Backend::iptables_legacy;
      nft = nft || step.backend == Backend::iptables_nft;
    }
  return {legacy && nft};
}

std::string table_name(const Step& step, TableNaming naming) {
  std::string table = step.table ? sanitise(*step.table) : "?";
  if (step.backend == Backend::nftables)
    return (step.family ? std::string(word(*step.family)) + " " : "") + table;
  if (!naming.both_iptables) return table;
  return table + (step.backend == Backend::iptables_nft ? "(nft)" : "(legacy)");
}

std::vector<StepRow> step_rows(const Packet& packet, TableNaming naming, const Style& style) {
  std::vector<StepRow> rows;
  const Step* denied_by = nullptr;
  for (std::size_t i = 0; i < packet.steps.size(); ++i) {
    const Step& step = packet.steps[i];
    if (says_nothing_new(step, packet, denied_by)) continue;
    if (step.kind != StepKind::rule && step.kind != StepKind::policy) {
      rows.push_back(other_row(step, packet, style));
      continue;
    }
    const bool rejects = step.verdict == Verdict::reject;
    rows.push_back(rule_row(step, rejects ? reject_of(packet.steps, i) : nullptr, naming, style));
    denied_by = denies(step) ? &step : nullptr;
  }
  return rows;
}

StepTable::StepTable(const std::vector<const StepRow*>& all_rows, const Style& style) : style_(style) {
  std::size_t verdict = 0;
  for (const StepRow* row : all_rows) {
    verdict = std::max(verdict, columns(row->verdict));
    if (!row->verdict.empty()) text_ = std::max(text_, columns(row->text));
    if (row->label) continue;
    table_ = std::max(table_, columns(row->table));
    const std::size_t number = row->number.empty() ? 0 : columns(row->number) + 1;
    place_ = std::max(place_, columns(row->chain) + number);
  }
  for (const StepRow* row : all_rows)
    if (row->label && columns(row->table) > table_ + 1 + place_) place_ = columns(row->table) - table_ - 1;
  std::size_t room = aligned_text;
  if (style.width() > 0) {
    const std::size_t taken = indent + table_ + 1 + place_ + 2 + 3 + verdict;
    const auto width = static_cast<std::size_t>(style.width());
    room = std::max(least_text, width - std::min(width, taken));
  }
  text_ = std::min(text_, room);
}

std::string StepTable::line(const StepRow& row) const {
  std::string place;
  if (row.label) {
    place = pad(row.table, table_ + 1 + place_);
  } else {
    const std::size_t gap = place_ - columns(row.chain) - columns(row.number);
    place = pad(row.table, table_) + " " + row.chain + std::string(gap, ' ') + row.number;
  }
  std::string out = std::string(indent, ' ') + place + "  ";
  if (row.verdict.empty()) return out + style_.paint(row.text, row.tone);
  const std::string text = style_.width() > 0 ? style_.shorten(row.text, text_) : row.text;
  return out + pad(text, text_) + "   " + style_.paint(row.verdict, row.tone);
}

}  // namespace pathtrace
