// SPDX-License-Identifier: GPL-2.0
// JSON Lines → records, for replay. A capture may come from anywhere: nothing in it is believed
// before it was checked, and what is wrong is named. Members that are not known are ignored, so
// that a capture of a later 0.x still reads.
#include "render/json_fields.h"
#include "render/output.h"

namespace pathtrace {
namespace {

using Json = nlohmann::json;

constexpr int known_schema = 1;
// connection → cause → rule → path → element is five; what is far deeper is not ours.
constexpr int max_depth = 16;

std::vector<std::string> texts(const Fields& in, const char* name) {
  std::vector<std::string> out;
  in.each(name, [&](const Fields& one) { out.push_back(one.as_text()); });
  return out;
}

Netns read_netns(const Fields& in) { return {in.number<std::uint32_t>("inode"), in.text_or_null("name")}; }

Endpoint read_endpoint(const Fields& in) {
  return {in.text("address"), in.number_or_null<std::uint16_t>("port")};
}

void read_place(const Fields& in, Step& step) {
  step.backend = in.one_of_or_null<Backend>("backend");
  step.family = in.one_of_or_null<Family>("family");
  step.table = in.text_or_null("table");
  step.chain = in.text_or_null("chain");
  step.hook = in.one_of_or_null<Hook>("hook");
  if (in.has("priority")) step.priority = in.number<int>("priority");
  step.verdict = in.one_of_or_null<Verdict>("verdict");
  step.missing = in.text_or_null("missing");
}

void read_rule(const Fields& in, Step& step) {
  read_place(in, step);
  step.rule = in.number_or_null<int>("rule");
  step.handle = in.id_or_null("handle");
  step.target = in.text_or_null("target");
  step.text = in.text_or_null("text");
  step.comment = in.text_or_null("comment");
  if (in.has("elements"))
    in.each("elements", [&](const Fields& one) {
      step.elements.push_back({one.text_or_null("set"), one.text_or_null("element")});
    });
  if (!in.has("path")) return;
  in.each("path", [&](const Fields& element) {
    step.path.push_back({element.text("chain"), element.number<int>("rule")});
  });
}

Step read_step(const Fields& in) {
  Step step;
  step.offset_ns = in.number<std::int64_t>("offset_ns");
  step.kind = in.one_of<StepKind>("kind");
  switch (step.kind) {
    case StepKind::rule:
      read_rule(in, step);
      break;
    case StepKind::policy:
      read_place(in, step);
      break;
    case StepKind::nat:
      step.which = in.text_or_null("which");
      step.from = in.text_or_null("from");
      step.to = in.text_or_null("to");
      break;
    case StepKind::conntrack:
      step.state = in.text_or_null("state");
      break;
    case StepKind::reject:
      step.with = in.text_or_null("with");
      break;
    case StepKind::drop:
      step.reason = in.text_or_null("reason");
      step.where = in.text_or_null("where");
      break;
    case StepKind::deliver:
      step.listener = in.text_or_null("listener");
      break;
    case StepKind::transmit:
    case StepKind::receive:
      step.interface = in.text_or_null("interface");
      break;
  }
  return step;
}

Listener read_listener(const Fields& in) {
  Listener listener;
  listener.address = in.text("address");
  listener.port = in.number<std::uint16_t>("port");
  listener.pid = in.number_or_null<std::uint32_t>("pid");
  listener.program = in.text_or_null("program");
  listener.device = in.text_or_null("device");
  listener.netns = read_netns(in.object("netns"));
  listener.backlog = in.number_or_null<std::uint32_t>("backlog");
  listener.max_backlog = in.number_or_null<std::uint32_t>("max_backlog");
  return listener;
}

Cause read_cause(const Fields& in) {
  Cause cause;
  cause.kind = in.one_of<CauseKind>("kind");
  cause.summary = in.text("summary");
  if (!in.null("rule")) cause.rule = read_step(in.object("rule"));
  if (!in.null("listener")) cause.listener = read_listener(in.object("listener"));
  cause.reason = in.text_or_null("reason");
  if (!in.null("shadowed")) cause.shadowed = read_step(in.object("shadowed"));
  cause.evidence = texts(in, "evidence");
  return cause;
}

Nat read_nat(const Fields& in) {
  Nat nat;
  nat.original_source = read_endpoint(in.object("original_source"));
  nat.original_destination = read_endpoint(in.object("original_destination"));
  nat.translated_source = read_endpoint(in.object("translated_source"));
  nat.translated_destination = read_endpoint(in.object("translated_destination"));
  return nat;
}

Record read_start(const Fields& in) {
  StartRecord start;
  start.schema = in.number<int>("schema");
  if (start.schema != known_schema)
    in.fail("schema", "is " + std::to_string(start.schema) + ", this pathtrace reads schema 1");
  start.version = in.text("version");
  start.kernel = in.text("kernel");
  start.arch = in.text("arch");
  start.ts_ns = in.number<std::int64_t>("ts_ns");
  start.filter = in.text("filter");
  in.each("backends", [&](const Fields& one) {
    const auto backend = from_word<Backend>(one.as_text());
    if (!backend) one.fail("", "has the unknown word \"" + one.as_text().substr(0, 40) + "\"");
    start.backends.push_back(backend.value_or(Backend::nftables));
  });
  in.each("probes", [&](const Fields& one) {
    start.probes.push_back({one.text("name"), one.one_of<ProbeState>("state"), one.text_or_null("why"),
                            one.text_or_null("lost")});
  });
  return start;
}

Record read_packet(const Fields& in) {
  Packet packet;
  packet.id = in.id("id");
  packet.connection = in.id("connection");
  packet.ts_ns = in.number<std::int64_t>("ts_ns");
  packet.netns = read_netns(in.object("netns"));
  packet.direction = in.one_of<Direction>("direction");
  packet.protocol = in.text("protocol");
  packet.source = {in.text_or_null("src").value_or(""), in.number_or_null<std::uint16_t>("sport")};
  packet.destination = {in.text("dst"), in.number_or_null<std::uint16_t>("dport")};
  packet.flags = in.text_or_null("flags");
  packet.length = in.number_or_null<std::uint32_t>("length");
  packet.iif = in.text_or_null("iif");
  packet.oif = in.text_or_null("oif");
  packet.origin = in.one_of_or_null<Origin>("origin");
  in.each("steps", [&](const Fields& one) { packet.steps.push_back(read_step(one)); });
  packet.outcome = in.one_of<PacketOutcome>("outcome");
  return packet;
}

Record read_connection(const Fields& in) {
  Connection connection;
  connection.id = in.id("id");
  connection.protocol = in.text("protocol");
  connection.client = read_endpoint(in.object("client"));
  connection.server = read_endpoint(in.object("server"));
  if (!in.null("nat")) connection.nat = read_nat(in.object("nat"));
  connection.netns = read_netns(in.object("netns"));
  connection.started_ns = in.number<std::int64_t>("started_ns");
  connection.ended_ns = in.number_or_null<std::int64_t>("ended_ns");
  connection.outcome = in.one_of<ConnectionOutcome>("outcome");
  connection.error = in.text_or_null("errno");
  connection.cause = read_cause(in.object("cause"));
  in.each("fixes", [&](const Fields& one) {
    connection.fixes.push_back({one.text("command"), one.text("why")});
  });
  in.each("packets", [&](const Fields& one) { connection.packets.push_back(one.as_id()); });
  connection.confidence = in.one_of<Confidence>("confidence");
  connection.missing = texts(in, "missing");
  return connection;
}

Record read_lost(const Fields& in) {
  return LostRecord{in.number<std::uint64_t>("count"), in.number<std::int64_t>("since_ns"), in.text("where")};
}

Record read_end(const Fields& in) {
  return EndRecord{in.number<std::int64_t>("ts_ns"),     in.number<std::uint64_t>("connections"),
                   in.number<std::uint64_t>("packets"),  in.number<std::uint64_t>("lost"),
                   in.number<std::uint64_t>("left_out"), in.text("reason")};
}

Record read_record(const Fields& in) {
  const std::string type = in.text("type");
  if (type == "start") return read_start(in);
  if (type == "packet") return read_packet(in);
  if (type == "connection") return read_connection(in);
  if (type == "lost") return read_lost(in);
  if (type == "end") return read_end(in);
  in.fail("type", "has the unknown word \"" + type.substr(0, 40) + "\"");
  return StartRecord{};
}

Error input_error(const std::string& what) { return {ExitStatus::input_failed, sanitise(what), {}}; }

}  // namespace

Result<Record> from_json_line(const std::string& line) {
  bool too_deep = false;
  const auto limit = [&](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > max_depth;
    return !too_deep;
  };
  const Json json = Json::parse(line, limit, false);
  if (too_deep) return input_error("is nested too deeply");
  if (json.is_discarded()) return input_error("is not JSON");
  if (!json.is_object()) return input_error("is not a JSON object");
  std::string error;
  Record record = read_record(Fields(json, "", error));
  if (!error.empty()) return input_error(error);
  return record;
}

}  // namespace pathtrace
