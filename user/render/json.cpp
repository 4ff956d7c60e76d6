// SPDX-License-Identifier: GPL-2.0
// Records → JSON Lines. Every documented member is always present, absent knowledge is null, 64-bit
// ids are strings (a double holds 53 bits, and most readers use doubles), times are numbers.
// docs/json.md and docs/event.schema.json describe the result; json_read.cpp is the way back.
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "render/output.h"
#include "render/utf8.h"
#include "render/write.h"

namespace pathtrace {
namespace {

// Members in the order in which the documentation lists them.
using Json = nlohmann::ordered_json;

Json text(const std::string& value) { return escape_invalid(value); }
Json id(std::uint64_t value) { return std::to_string(value); }

Json or_null(const std::optional<std::string>& value) { return value ? text(*value) : Json(nullptr); }

template <typename T>
Json or_null(const std::optional<T>& value) {
  if (!value) return nullptr;
  if constexpr (std::is_enum_v<T>)
    return word(*value);
  else
    return *value;
}

Json texts(const std::vector<std::string>& values) {
  Json out = Json::array();
  for (const auto& value : values) out.push_back(text(value));
  return out;
}

template <typename T, typename F>
Json list(const std::vector<T>& values, F&& one) {
  Json out = Json::array();
  for (const auto& value : values) out.push_back(one(value));
  return out;
}

Json to_json(const Netns& netns) {
  return Json::object({{"inode", netns.inode}, {"name", or_null(netns.name)}});
}

Json to_json(const Endpoint& end) {
  return Json::object({{"address", text(end.address)}, {"port", or_null(end.port)}});
}

// Where a rule or policy stands.
void put_place(Json& out, const Step& step) {
  out["backend"] = or_null(step.backend);
  out["family"] = or_null(step.family);
  out["table"] = or_null(step.table);
  out["chain"] = or_null(step.chain);
  out["hook"] = or_null(step.hook);
}

void put_rule(Json& out, const Step& step) {
  put_place(out, step);
  out["rule"] = or_null(step.rule);
  out["handle"] = step.handle ? id(*step.handle) : Json(nullptr);
  out["verdict"] = or_null(step.verdict);
  out["target"] = or_null(step.target);
  out["text"] = or_null(step.text);
  out["comment"] = or_null(step.comment);
  out["missing"] = or_null(step.missing);
}

void put_policy(Json& out, const Step& step) {
  put_place(out, step);
  out["verdict"] = or_null(step.verdict);
  out["missing"] = or_null(step.missing);
}

Json to_json(const Step& step) {
  Json out = Json::object({{"offset_ns", step.offset_ns}, {"kind", word(step.kind)}});
  switch (step.kind) {
    case StepKind::rule:
      put_rule(out, step);
      break;
    case StepKind::policy:
      put_policy(out, step);
      break;
    case StepKind::nat:
      out["which"] = or_null(step.which);
      out["from"] = or_null(step.from);
      out["to"] = or_null(step.to);
      break;
    case StepKind::conntrack:
      out["state"] = or_null(step.state);
      break;
    case StepKind::reject:
      out["with"] = or_null(step.with);
      break;
    case StepKind::drop:
      out["reason"] = or_null(step.reason);
      out["where"] = or_null(step.where);
      break;
    case StepKind::deliver:
      out["listener"] = or_null(step.listener);
      break;
    case StepKind::transmit:
    case StepKind::receive:
      out["interface"] = or_null(step.interface);
      break;
  }
  return out;
}

Json to_json(const PathElement& element) {
  return Json::object({{"chain", text(element.chain)}, {"rule", element.rule}});
}

// A rule in a cause also says by which jumps it was reached.
Json deciding(const std::optional<Step>& step) {
  if (!step) return nullptr;
  Json out = to_json(*step);
  if (step->kind == StepKind::rule)
    out["path"] = list(step->path, [](const PathElement& element) { return to_json(element); });
  return out;
}

Json to_json(const Listener& listener) {
  return Json::object({{"address", text(listener.address)},
                       {"port", listener.port},
                       {"pid", or_null(listener.pid)},
                       {"program", or_null(listener.program)},
                       {"netns", to_json(listener.netns)},
                       {"backlog", or_null(listener.backlog)},
                       {"max_backlog", or_null(listener.max_backlog)}});
}

Json to_json(const Cause& cause) {
  return Json::object({{"kind", word(cause.kind)},
                       {"summary", text(cause.summary)},
                       {"rule", deciding(cause.rule)},
                       {"listener", cause.listener ? to_json(*cause.listener) : Json(nullptr)},
                       {"reason", or_null(cause.reason)},
                       {"shadowed", deciding(cause.shadowed)},
                       {"evidence", texts(cause.evidence)}});
}

Json to_json(const Nat& nat) {
  return Json::object({{"original_source", to_json(nat.original_source)},
                       {"original_destination", to_json(nat.original_destination)},
                       {"translated_source", to_json(nat.translated_source)},
                       {"translated_destination", to_json(nat.translated_destination)}});
}

Json to_json(const Fix& fix) {
  return Json::object({{"command", text(fix.command)}, {"why", text(fix.why)}});
}

Json to_json(const ProbeStatus& probe) {
  return Json::object(
      {{"name", text(probe.name)}, {"state", word(probe.state)}, {"why", or_null(probe.why)}});
}

Json to_json(const StartRecord& start) {
  return Json::object(
      {{"type", "start"},
       {"schema", start.schema},
       {"version", text(start.version)},
       {"kernel", text(start.kernel)},
       {"arch", text(start.arch)},
       {"ts_ns", start.ts_ns},
       {"filter", text(start.filter)},
       {"backends", list(start.backends, [](Backend backend) { return Json(word(backend)); })},
       {"probes", list(start.probes, [](const ProbeStatus& probe) { return to_json(probe); })}});
}

Json to_json(const Packet& packet) {
  return Json::object({{"type", "packet"},
                       {"id", id(packet.id)},
                       {"connection", id(packet.connection)},
                       {"ts_ns", packet.ts_ns},
                       {"netns", to_json(packet.netns)},
                       {"direction", word(packet.direction)},
                       {"protocol", text(packet.protocol)},
                       {"src", text(packet.source.address)},
                       {"sport", or_null(packet.source.port)},
                       {"dst", text(packet.destination.address)},
                       {"dport", or_null(packet.destination.port)},
                       {"flags", or_null(packet.flags)},
                       {"length", or_null(packet.length)},
                       {"iif", or_null(packet.iif)},
                       {"oif", or_null(packet.oif)},
                       {"origin", or_null(packet.origin)},
                       {"steps", list(packet.steps, [](const Step& step) { return to_json(step); })},
                       {"outcome", word(packet.outcome)}});
}

Json to_json(const Connection& connection) {
  return Json::object({{"type", "connection"},
                       {"id", id(connection.id)},
                       {"protocol", text(connection.protocol)},
                       {"client", to_json(connection.client)},
                       {"server", to_json(connection.server)},
                       {"nat", connection.nat ? to_json(*connection.nat) : Json(nullptr)},
                       {"netns", to_json(connection.netns)},
                       {"started_ns", connection.started_ns},
                       {"ended_ns", or_null(connection.ended_ns)},
                       {"outcome", word(connection.outcome)},
                       {"errno", or_null(connection.error)},
                       {"cause", to_json(connection.cause)},
                       {"fixes", list(connection.fixes, [](const Fix& fix) { return to_json(fix); })},
                       {"packets", list(connection.packets, id)},
                       {"confidence", word(connection.confidence)},
                       {"missing", texts(connection.missing)}});
}

Json to_json(const LostRecord& lost) {
  return Json::object(
      {{"type", "lost"}, {"count", lost.count}, {"since_ns", lost.since_ns}, {"where", text(lost.where)}});
}

Json to_json(const EndRecord& end) {
  return Json::object({{"type", "end"},
                       {"ts_ns", end.ts_ns},
                       {"connections", end.connections},
                       {"packets", end.packets},
                       {"lost", end.lost},
                       {"reason", text(end.reason)}});
}

// JSON leaves DEL, C1 and bidi controls as they are, but a terminal acts upon them. They can only
// stand inside of strings, where \uNNNN means the same.
std::string escape_controls(std::string_view line) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(line.size());
  while (!line.empty()) {
    const Utf8Char c = first_char(line);
    if (is_control(c.code) && c.length > 0) {
      out += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4) out += digits[c.code >> shift & 15];
    } else {
      out += line.substr(0, c.length);
    }
    line.remove_prefix(c.length == 0 ? 1 : c.length);
  }
  return out;
}

class JsonSink final : public Sink {
 public:
  explicit JsonSink(std::FILE* out) : out_(out) {}

  Result<void> write(const Record& record) override { return write_text(out_, to_json_line(record) + "\n"); }
  Result<void> flush() override { return flush_text(out_); }

 private:
  std::FILE* out_;
};

}  // namespace

std::string to_json_line(const Record& record) {
  const Json json = std::visit([](const auto& one) { return to_json(one); }, record);
  return escape_controls(json.dump());
}

std::unique_ptr<Sink> make_json_sink(std::FILE* out) { return std::make_unique<JsonSink>(out); }

}  // namespace pathtrace
