// SPDX-License-Identifier: GPL-2.0
// Records → JSON Lines. Every documented member is always present, absent knowledge is null, 64-bit
// ids are strings, times are numbers.
// docs/json.md and docs/event.schema.json describe the result; json_read.cpp is the way back.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "render/json_writer.h"
#include "render/output.h"
#include "render/write.h"

namespace pathtrace {
namespace {

// Members in the order in which the documentation lists them.

void put(JsonWriter& out, const Netns& netns) {
  out.begin_object();
  out.member("inode", netns.inode);
  out.member("name", netns.name);
  out.end_object();
}

void put(JsonWriter& out, const Endpoint& end) {
  out.begin_object();
  out.member("address", end.address);
  out.member("port", end.port);
  out.end_object();
}

void put_id(JsonWriter& out, std::string_view name, std::optional<std::uint64_t> id) {
  out.key(name);
  id ? out.id(*id) : out.null();
}

void put_texts(JsonWriter& out, std::string_view name, const std::vector<std::string>& values) {
  out.list(name, values, [&out](const std::string& value) { out.text(value); });
}

// Where a rule or policy stands.
void put_place(JsonWriter& out, const Step& step) {
  out.member("backend", step.backend);
  out.member("family", step.family);
  out.member("table", step.table);
  out.member("chain", step.chain);
  out.member("hook", step.hook);
  if (step.priority) out.member("priority", step.priority);
}

void put(JsonWriter& out, const SetElement& element) {
  out.begin_object();
  out.member("set", element.set);
  out.member("element", element.element);
  out.end_object();
}

void put_rule(JsonWriter& out, const Step& step) {
  put_place(out, step);
  out.member("rule", step.rule);
  put_id(out, "handle", step.handle);
  out.member("verdict", step.verdict);
  out.member("target", step.target);
  out.member("text", step.text);
  out.member("comment", step.comment);
  if (!step.elements.empty())
    out.list("elements", step.elements, [&out](const SetElement& one) { put(out, one); });
  out.member("missing", step.missing);
}

void put_policy(JsonWriter& out, const Step& step) {
  put_place(out, step);
  out.member("verdict", step.verdict);
  out.member("missing", step.missing);
}

// The members of a step, without the braces.
void put_members(JsonWriter& out, const Step& step) {
  out.member("offset_ns", step.offset_ns);
  out.member("kind", step.kind);
  switch (step.kind) {
    case StepKind::rule:
      put_rule(out, step);
      break;
    case StepKind::policy:
      put_policy(out, step);
      break;
    case StepKind::nat:
      out.member("which", step.which);
      out.member("from", step.from);
      out.member("to", step.to);
      break;
    case StepKind::conntrack:
      out.member("state", step.state);
      break;
    case StepKind::reject:
      out.member("with", step.with);
      break;
    case StepKind::drop:
      out.member("reason", step.reason);
      out.member("where", step.where);
      break;
    case StepKind::deliver:
      out.member("listener", step.listener);
      break;
    case StepKind::transmit:
    case StepKind::receive:
      out.member("interface", step.interface);
      break;
  }
}

void put(JsonWriter& out, const Step& step) {
  out.begin_object();
  put_members(out, step);
  out.end_object();
}

void put(JsonWriter& out, const PathElement& element) {
  out.begin_object();
  out.member("chain", element.chain);
  out.member("rule", element.rule);
  out.end_object();
}

// A rule in a cause also says by which jumps it was reached.
void put_deciding(JsonWriter& out, const std::optional<Step>& step) {
  if (!step) return out.null();
  out.begin_object();
  put_members(out, *step);
  if (step->kind == StepKind::rule)
    out.list("path", step->path, [&out](const PathElement& element) { put(out, element); });
  out.end_object();
}

void put(JsonWriter& out, const Listener& listener) {
  out.begin_object();
  out.member("address", listener.address);
  out.member("port", listener.port);
  out.member("pid", listener.pid);
  out.member("program", listener.program);
  out.member("device", listener.device);
  out.key("netns");
  put(out, listener.netns);
  out.member("backlog", listener.backlog);
  out.member("max_backlog", listener.max_backlog);
  out.end_object();
}

void put(JsonWriter& out, const Cause& cause) {
  out.begin_object();
  out.member("kind", cause.kind);
  out.member("summary", cause.summary);
  out.key("rule");
  put_deciding(out, cause.rule);
  out.key("listener");
  cause.listener ? put(out, *cause.listener) : out.null();
  out.member("reason", cause.reason);
  out.key("shadowed");
  put_deciding(out, cause.shadowed);
  put_texts(out, "evidence", cause.evidence);
  out.end_object();
}

void put(JsonWriter& out, const Nat& nat) {
  out.begin_object();
  out.key("original_source");
  put(out, nat.original_source);
  out.key("original_destination");
  put(out, nat.original_destination);
  out.key("translated_source");
  put(out, nat.translated_source);
  out.key("translated_destination");
  put(out, nat.translated_destination);
  out.end_object();
}

void put(JsonWriter& out, const Fix& fix) {
  out.begin_object();
  out.member("command", fix.command);
  out.member("why", fix.why);
  out.end_object();
}

void put(JsonWriter& out, const ProbeStatus& probe) {
  out.begin_object();
  out.member("name", probe.name);
  out.member("state", probe.state);
  out.member("why", probe.why);
  out.member("lost", probe.lost);
  out.end_object();
}

void put_type(JsonWriter& out, std::string_view type) {
  out.key("type");
  out.word(type);
}

void put_members(JsonWriter& out, const StartRecord& start) {
  put_type(out, "start");
  out.member("schema", start.schema);
  out.member("version", start.version);
  out.member("kernel", start.kernel);
  out.member("arch", start.arch);
  out.member("ts_ns", start.ts_ns);
  out.member("filter", start.filter);
  out.list("backends", start.backends, [&out](Backend backend) { out.word(word(backend)); });
  out.list("probes", start.probes, [&out](const ProbeStatus& probe) { put(out, probe); });
}

void put_members(JsonWriter& out, const Packet& packet) {
  put_type(out, "packet");
  put_id(out, "id", packet.id);
  put_id(out, "connection", packet.connection);
  out.member("ts_ns", packet.ts_ns);
  out.key("netns");
  put(out, packet.netns);
  out.member("direction", packet.direction);
  out.member("protocol", packet.protocol);
  out.key("src");
  packet.source.address.empty() ? out.null() : out.text(packet.source.address);
  out.member("sport", packet.source.port);
  out.member("dst", packet.destination.address);
  out.member("dport", packet.destination.port);
  out.member("flags", packet.flags);
  out.member("length", packet.length);
  out.member("iif", packet.iif);
  out.member("oif", packet.oif);
  out.member("origin", packet.origin);
  out.list("steps", packet.steps, [&out](const Step& step) { put(out, step); });
  out.member("outcome", packet.outcome);
}

void put_members(JsonWriter& out, const Connection& connection) {
  put_type(out, "connection");
  put_id(out, "id", connection.id);
  out.member("protocol", connection.protocol);
  out.key("client");
  put(out, connection.client);
  out.key("server");
  put(out, connection.server);
  out.key("nat");
  connection.nat ? put(out, *connection.nat) : out.null();
  out.key("netns");
  put(out, connection.netns);
  out.member("started_ns", connection.started_ns);
  out.member("ended_ns", connection.ended_ns);
  out.member("outcome", connection.outcome);
  out.member("errno", connection.error);
  out.key("cause");
  put(out, connection.cause);
  out.list("fixes", connection.fixes, [&out](const Fix& fix) { put(out, fix); });
  out.list("packets", connection.packets, [&out](std::uint64_t id) { out.id(id); });
  out.member("confidence", connection.confidence);
  put_texts(out, "missing", connection.missing);
}

void put_members(JsonWriter& out, const LostRecord& lost) {
  put_type(out, "lost");
  out.member("count", lost.count);
  out.member("since_ns", lost.since_ns);
  out.member("where", lost.where);
}

void put_members(JsonWriter& out, const EndRecord& end) {
  put_type(out, "end");
  out.member("ts_ns", end.ts_ns);
  out.member("connections", end.connections);
  out.member("packets", end.packets);
  out.member("lost", end.lost);
  out.member("left_out", end.left_out);
  out.member("reason", end.reason);
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
  JsonWriter out;
  out.begin_object();
  std::visit([&out](const auto& one) { put_members(out, one); }, record);
  out.end_object();
  return std::move(out).take();
}

std::unique_ptr<Sink> make_json_sink(std::FILE* out) { return std::make_unique<JsonSink>(out); }

}  // namespace pathtrace
