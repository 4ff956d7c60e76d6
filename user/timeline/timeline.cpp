// SPDX-License-Identifier: GPL-2.0
#include "timeline/timeline.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "timeline/answers.h"
#include "timeline/connections.h"
#include "timeline/deadlines.h"
#include "timeline/packets.h"
#include "timeline/progress.h"
#include "timeline/reorder.h"
#include "timeline/report.h"

namespace pathtrace {

namespace {

// Packets that are kept of a connection that was reported for good, its first and its last: what decides is
// among them.
constexpr std::size_t most_decisive = 64;

// The first sign of an established connection's end.
bool begins_end(const pt_flow& flow) {
  return flow.protocol == protocol_tcp && (flow.tcp_flags & (tcp_fin | tcp_rst)) != 0;
}

bool begins_end(const SocketObservation& socket) {
  return socket.what != SocketObservation::What::retransmit && socket.old_state == state_established;
}

// Is all of it known that its packets' walks could have told?
bool lacks_nothing(const TrackedConnection& connection) {
  return std::all_of(connection.packets.begin(), connection.packets.end(), [](const TrackedPacket& packet) {
    return std::none_of(packet.record.steps.begin(), packet.record.steps.end(),
                        [](const Step& step) { return step.missing.has_value(); });
  });
}

// The server's socket is established: the packet that made it so has arrived.
bool took_it(const TrackedConnection& connection, const TrackedPacket& opener) {
  return std::any_of(connection.sockets.begin(), connection.sockets.end(), [&](const SocketFact& fact) {
    return !fact.at_client && fact.what.what == SocketObservation::What::state_change &&
           fact.what.new_state == state_established && fact.ts_ns >= opener.last_ns;
  });
}

// How many of its packets a report at `now_ns` can tell while more will be reported: those after that are on
// their way, or may be. What opened the connection is told with it, unless the report comes `early` and it
// may be on its way, too.
std::size_t arrived_packets(const TrackedConnection& connection, std::int64_t now_ns,
                            std::int64_t underway_ns, bool early) {
  const std::int64_t opened_ns = std::max(connection.established_ns, connection.phase_ns);
  const auto& packets = connection.packets;
  const auto first =
      packets.begin() + static_cast<std::ptrdiff_t>(std::min(connection.reported_packets, packets.size()));
  const auto underway = std::find_if(first, packets.end(), [&](const TrackedPacket& packet) {
    if (packet.last_ns <= now_ns - underway_ns) return false;
    return packet.record.ts_ns > opened_ns ||
           (early && packet.record.ts_ns == opened_ns && !took_it(connection, packet));
  });
  return static_cast<std::size_t>(underway - packets.begin());
}

}  // namespace

// Everything happens in the order of the observations' own times: a deadline that falls before the
// next observation is met before it. So neither the arrival order nor the moments at which advance()
// is called change what is reported.
struct Timeline::State {
  explicit State(TimelineSettings s) : settings(s), table(s) {}

  void release(std::int64_t before_ns);
  void process(Observation o);
  void process_socket(const Observation& o, const SocketObservation& socket);
  void process_packet(Observation& o);
  ConnectionTable::Found place_packet(const Observation& o);
  void update(TrackedConnection& connection, std::int64_t ts_ns);
  void run_deadlines(std::int64_t now_ns);
  void look_at(TrackedConnection& connection, std::int64_t now_ns);
  void report_established(TrackedConnection& connection, std::int64_t now_ns);
  void report(TrackedConnection& connection, bool final, Occasion occasion, std::int64_t now_ns, bool kept);
  void retire(TrackedConnection& connection, bool late);
  void make_room(std::int64_t now_ns);
  void report_early(TrackedConnection& connection, std::int64_t now_ns);

  TimelineSettings settings;
  ReorderBuffer arrived;
  ConnectionTable table;
  Deadlines deadlines;
  std::vector<ConnectionTrace> due;
  std::uint64_t last_packet = 0;
  std::uint64_t evicted = 0;
};

Timeline::Timeline(TimelineSettings settings) : state_(std::make_unique<State>(settings)) {}
Timeline::~Timeline() = default;
Timeline::Timeline(Timeline&&) noexcept = default;
Timeline& Timeline::operator=(Timeline&&) noexcept = default;

void Timeline::add(Observation observation) {
  state_->arrived.push(std::move(observation));
  state_->release(state_->arrived.newest_ns() - state_->settings.reorder_ns);
}

void Timeline::advance(std::int64_t now_ns) {
  const std::int64_t settled_ns = now_ns - state_->settings.reorder_ns;
  state_->release(settled_ns);
  state_->run_deadlines(settled_ns);
}

void Timeline::finish(std::int64_t now_ns) {
  const std::int64_t end_ns = std::max(now_ns, state_->arrived.newest_ns());
  state_->release(INT64_MAX);
  for (const std::uint64_t id : state_->table.ids()) {
    TrackedConnection& connection = *state_->table.find(id);
    if (!connection.reported || is_news(connection) || connection.has_unreported())
      state_->report(connection, true, Occasion::trace_ended, end_ns, false);
    state_->table.forget(id);
  }
  state_->deadlines = {};
}

std::vector<ConnectionTrace> Timeline::take() {
  std::vector<ConnectionTrace> due = std::exchange(state_->due, {});
  // they are large: what is sorted is where they are
  std::vector<std::size_t> order(due.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&due](std::size_t a, std::size_t b) {
    return std::tuple(due[a].connection.started_ns, due[a].connection.id, a) <
           std::tuple(due[b].connection.started_ns, due[b].connection.id, b);
  });
  std::vector<ConnectionTrace> taken;
  taken.reserve(due.size());
  for (const std::size_t place : order) taken.push_back(std::move(due[place]));
  return taken;
}

std::int64_t Timeline::next_due_ns() const {
  const std::int64_t deadline = state_->deadlines.earliest_ns();
  const auto waiting = state_->arrived.earliest_ns();
  if (!waiting && deadline == 0) return 0;
  const std::int64_t next =
      !waiting ? deadline : (deadline == 0 ? *waiting + 1 : std::min(deadline, *waiting + 1));
  return next + state_->settings.reorder_ns;
}

std::uint64_t Timeline::evicted() const { return state_->evicted; }

void Timeline::State::release(std::int64_t before_ns) {
  while (auto o = arrived.pop(before_ns)) process(std::move(*o));
}

void Timeline::State::process(Observation o) {
  run_deadlines(o.ts_ns);
  if (o.joins_only && !table.knows(o)) return;
  if (const auto* socket = std::get_if<SocketObservation>(&o.detail))
    process_socket(o, *socket);
  else
    process_packet(o);
  make_room(o.ts_ns);
}

void Timeline::State::process_socket(const Observation& o, const SocketObservation& socket) {
  TrackedConnection& connection = table.of_socket(o, socket);
  if (begins_end(socket)) report_established(connection, o.ts_ns);
  table.learn(connection, o);
  SocketFact fact;
  fact.ts_ns = o.ts_ns;
  fact.netns = o.netns;
  fact.source = endpoint_of(source_of(o.flow), o.flow.family, o.flow.protocol);
  fact.at_client = source_of(o.flow) == connection.client;
  fact.what = socket;
  note_socket(connection, fact);
  if (connection.sockets.size() < settings.max_packets) connection.sockets.push_back(std::move(fact));
  update(connection, o.ts_ns);
}

// The packet that `o` is about: one that goes on, or a new one of the connection it belongs to; none if all
// that `o` says of it has been told.
ConnectionTable::Found Timeline::State::place_packet(const Observation& o) {
  ConnectionTable::Found found = table.find_packet(o);
  if (found.connection != nullptr || table.take_known_end(o)) return found;
  TrackedConnection& connection = table.of_new_packet(o);
  if (begins_end(o.flow)) report_established(connection, o.ts_ns);
  TrackedPacket packet = begin_packet(o);
  packet.record.id = ++last_packet;
  if (table.append(connection, std::move(packet)) == nullptr) return {&connection, connection.packets.size()};
  return {&connection, connection.packets.size() - 1};
}

void Timeline::State::process_packet(Observation& o) {
  const std::uint64_t packets_before = last_packet;
  const auto [connection, position] = place_packet(o);
  if (connection == nullptr) return;
  const bool is_new = last_packet != packets_before;
  table.learn(*connection, o);
  if (position < connection->packets.size()) {
    table.before_change(*connection, position);
    TrackedPacket& packet = connection->packets[position];
    note_packet(*connection, packet, o.ts_ns, is_new);
    if (apply(*connection, packet, o)) note_loss(*connection, packet, o.ts_ns);
    table.after_change(*connection, position);
    if (is_new) link_answer(*connection, packet, o, table.find_answered(o));
  }
  update(*connection, o.ts_ns);
}

void Timeline::State::update(TrackedConnection& connection, std::int64_t ts_ns) {
  Phase phase = phase_of(connection);
  // what was decided is taken further, not back
  if (connection.decided) phase = std::max(phase, connection.phase);
  if (connection.decided && connection.late_ns == 0 && connection.has_unreported())
    connection.late_ns = ts_ns;
  if (phase != connection.phase) connection.phase_ns = ts_ns;
  connection.phase = phase;
  deadlines.set(connection, due_ns(connection, settings));
}

void Timeline::State::run_deadlines(std::int64_t now_ns) {
  std::pair<std::int64_t, std::uint64_t> entry;
  while (deadlines.pop(now_ns, entry)) {
    TrackedConnection* connection = table.find(entry.second);
    if (connection == nullptr || connection->scheduled_ns != entry.first) continue;
    connection->scheduled_ns = 0;
    look_at(*connection, entry.first);
  }
}

// A deadline that has moved is met in its turn, be that now: so the order doesn't depend on advance().
void Timeline::State::look_at(TrackedConnection& connection, std::int64_t now_ns) {
  const std::int64_t when = due_ns(connection, settings);
  if (when != 0 && when <= now_ns) {
    const bool told = !is_news(connection) && !is_late(connection);
    // silent for long: what came after its last report, and took it no further
    if (!told || connection.has_unreported())
      report(connection, told || is_late(connection) || is_over(connection), Occasion::due, now_ns, true);
    if (told) {
      table.forget(connection.id);
      return;
    }
  }
  deadlines.set(connection, due_ns(connection, settings));
}

// However short it was: a connection that came about is reported when it did and again when it ended.
void Timeline::State::report_established(TrackedConnection& connection, std::int64_t now_ns) {
  if (connection.phase == Phase::established && !connection.reported)
    report(connection, false, Occasion::due, now_ns, true);
}

// `kept`: what is not told of it now can be told later.
void Timeline::State::report(TrackedConnection& connection, bool final, Occasion occasion,
                             std::int64_t now_ns, bool kept) {
  const bool late = is_late(connection);
  const bool early = now_ns < due_ns(connection, settings);
  const std::size_t told = kept && !final ? arrived_packets(connection, now_ns, settings.settle_ns / 2, early)
                                          : connection.packets.size();
  ConnectionTrace& trace = due.emplace_back(make_trace(connection, final, told));
  trace.as_of_ns = now_ns;
  trace.occasion = occasion;
  trace.waited = connection.progress.client_closed || now_ns - connection.opened_ns >= settings.unanswered_ns;
  connection.reported = true;
  connection.reported_phase = connection.phase;
  connection.reported_ns = now_ns;
  connection.reported_omitted = connection.packets_omitted;
  connection.late_ns = 0;
  connection.reported_packets = told;
  if (!final) {
    connection.decided.reset();
    return;
  }
  retire(connection, late);
  connection.reported_packets = connection.packets.size();
}

// What was said for good is only kept to recognise what comes late, and to say the same again.
void Timeline::State::retire(TrackedConnection& connection, bool late) {
  const std::size_t all = connection.packets.size();
  if (late) {
    ++connection.late_reports;
    drop_late_facts(connection);
    table.retire(connection, connection.decided->packets, all);
    return;
  }
  const std::size_t most = std::min(most_decisive, settings.max_packets / 2);
  const bool needless = closed_in_order(connection) && lacks_nothing(connection);
  const std::size_t kept = needless ? 0 : std::min(most, all);
  table.retire(connection, kept / 2, all - (kept - kept / 2));
  connection.decided = decide(connection, due.back());
}

void Timeline::State::make_room(std::int64_t now_ns) {
  while (TrackedConnection* connection = table.too_much_decided()) {
    report_early(*connection, now_ns);
    table.forget(connection->id);
  }
  while (TrackedConnection* connection = table.too_long()) {
    report_early(*connection, now_ns);
    if (connection->decided) continue;  // reported for good: no longer among these
    table.forget_packets(*connection);
    connection->reported_packets = 0;
  }
  while (TrackedConnection* connection = table.one_too_many()) {
    report_early(*connection, now_ns);
    table.forget(connection->id);
  }
}

void Timeline::State::report_early(TrackedConnection& connection, std::int64_t now_ns) {
  const bool is_early = !connection.reported || is_news(connection);
  if (!is_early && !connection.has_unreported()) return;
  if (is_early) ++evicted;
  report(connection, is_late(connection), is_early ? Occasion::no_room : Occasion::due, now_ns, false);
}

}  // namespace pathtrace
