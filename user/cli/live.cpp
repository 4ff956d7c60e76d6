// SPDX-License-Identifier: GPL-2.0
#include "cli/live.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "capture/decode.h"
#include "capture/reader.h"
#include "cli/command.h"
#include "cli/host_names.h"
#include "cli/match.h"
#include "cli/stop_signals.h"
#include "cli/trace_clock.h"
#include "cli/version.h"
#include "diagnosis/diagnosis.h"
#include "kernel/netns.h"
#include "kernel/permission.h"
#include "kernel/tracer.h"
#include "ruleset/iptables_command.h"
#include "ruleset/resolver.h"
#include "ruleset/trace_witness.h"
#include "socket/listener_cache.h"
#include "socket/listeners.h"
#include "support/notice.h"
#include "timeline/identity.h"
#include "timeline/timeline.h"

namespace pathtrace {

namespace {

// Longest sleep: loss is looked for this often.
constexpr int longest_sleep_ms = 500;
// A module's functions can be attached to a moment after it announces itself; tried this often.
constexpr int module_tries = 20;
constexpr int module_retry_ms = 20;
// Under load events are let gather for this long, so that waking up costs little. Nothing is shown later for
// it: the timeline waits for what is out of order anyway.
constexpr int gather_ms = 10;
constexpr std::uint64_t is_load = 64;  // events taken at once
// Events after which what is due by their own times is reported, so that no more than that gathers in memory.
constexpr std::uint64_t events_a_turn = 8192;
// Losses are looked for this often while events are taken, however long that lasts: which connections of the
// time between they concern is not known.
constexpr std::int64_t look_again_ns = 100'000'000;
constexpr std::uint64_t events_a_look = 64;  // after which the time is asked

std::vector<std::string> without(std::vector<std::string> lines, const std::vector<std::string>& known) {
  std::erase_if(lines, [&known](const std::string& line) {
    return std::find(known.begin(), known.end(), line) != known.end();
  });
  return lines;
}

std::optional<ListenerCache::Snapshot> ask_listeners(const std::string& protocol, const BuiltInDiag& diag) {
  auto taken = ListenerSnapshot::take(protocol, diag);
  if (!taken) return std::nullopt;
  return [snapshot = std::move(*taken)](std::uint16_t port) mutable { return snapshot.on_port(port); };
}

class LiveTrace {
 public:
  LiveTrace(const Options& options, Sink& output) : options_(options), output_(output) {}

  Result<void> run();

 private:
  Result<void> prepare();
  [[nodiscard]] std::vector<std::string> blind_spots() const;
  Result<void> announce();
  Result<void> loop();
  Result<void> finish(Result<void> so_far);
  void let_go();
  Result<void> report_rest();
  [[nodiscard]] EndRecord end_record() const;
  Result<void> drain();
  Result<void> handle_events();
  Result<void> report();
  Result<void> report_loss();
  void note_left_out();
  std::uint64_t left_out_between(std::int64_t from_ns, std::int64_t to_ns);
  bool lost_trace_records(std::int64_t from_ns, std::int64_t to_ns);
  void say_notices();
  void on_event(const pt_event& event);
  void expect_module(std::int64_t since_ns);
  void watch_for_new_modules();
  void say_shortcomings();
  [[nodiscard]] int sleep_ms() const;
  [[nodiscard]] bool enough() const { return options_.count && connections_ >= *options_.count; }
  // of CLOCK_MONOTONIC
  [[nodiscard]] std::int64_t realtime(std::uint64_t monotonic_ns) const {
    return static_cast<std::int64_t>(monotonic_ns) + clock_.offset_ns();
  }
  void stop(std::string_view reason) {
    if (stop_reason_.empty()) stop_reason_ = reason;
  }

  const Options& options_;
  Sink& output_;
  const TraceClock clock_;
  pt_filter filter_{};
  std::optional<StopSignals> signals_;
  std::optional<Tracer> tracer_;
  std::optional<Resolver> resolver_;
  TraceWitness witness_{[this](std::uint64_t begin_ns, std::uint64_t end_ns) {
    return lost_trace_records(realtime(begin_ns), realtime(end_ns));
  }};
  std::optional<Decoder> decoder_;
  std::optional<EventReader> reader_;
  std::optional<Command> command_;
  int command_status_ = 0;
  Timeline timeline_;
  Facts facts_;
  BuiltInDiag diag_;
  ListenerCache listeners_{[this](const std::string& protocol) { return ask_listeners(protocol, diag_); },
                           [this] { return clock_.now_ns(); }};
  std::int64_t as_of_ns_ = 0;  // of the connection that is being diagnosed
  std::int64_t started_ns_ = 0;
  std::int64_t ended_ns_ = 0;
  std::uint64_t connections_ = 0;
  std::uint64_t packets_ = 0;
  std::uint64_t last_event_ns_ = UINT64_MAX;  // of CLOCK_MONOTONIC; the trace is over then
  int module_tries_left_ = 0;
  std::int64_t module_since_ns_ = 0;  // when the module was loaded that is expected
  std::uint64_t modules_missed_ = 0;  // their events were lost
  std::int64_t looked_ns_ = 0;        // for lost events
  std::int64_t asked_ns_ = 0;         // for programs that were left out
  LossLog left_out_, trace_lost_;
  bool under_load_ = false;        // many events waited when they were taken last
  std::vector<std::string> said_;  // shortcomings
  bool said_without_key_ = false;
  std::string stop_reason_;
};

Result<void> LiveTrace::prepare() {
  filter_ = options_.filter;
  const auto allowed = check_permission();
  if (options_.netns) {
    auto netns = find_netns(*options_.netns);
    // without the capabilities for it, whether there is one can't always be told
    if (!netns)
      return netns.error().status == ExitStatus::no_permission && !allowed ? allowed.error() : netns.error();
    filter_.netns = netns->inode;
  }
  if (!allowed) return allowed.error();
  auto signals = StopSignals::take();
  if (!signals) return signals.error();
  signals_.emplace(std::move(*signals));
  TracerOptions tracing;
  tracing.filter = filter_;
  tracing.max_rules = options_.max_rules;
  tracing.buffer_bytes = options_.buffer_bytes;
  tracing.trace_key = options_.trace_key;
  tracing.fentry = options_.fentry;
  left_out_ = trace_lost_ = LossLog(clock_.now_ns());
  auto tracer = Tracer::start(tracing);
  if (!tracer) return tracer.error();
  tracer_ = std::move(*tracer);
  resolver_.emplace(tracer_->generations(), &tracer_->table_indexes());
  resolver_->set_watched(tracer_->watched_expressions());
  resolver_->set_left_out([this](std::uint64_t begin_ns, std::uint64_t end_ns) {
    return left_out_between(realtime(begin_ns), realtime(end_ns)) != 0;
  });
  resolver_->preload();
  started_ns_ = clock_.now_ns();
  looked_ns_ = started_ns_;
  facts_.losses = LossLog(started_ns_);
  facts_.left_out = [this](std::int64_t from_ns, std::int64_t to_ns) {
    return left_out_between(from_ns, to_ns);
  };
  decoder_.emplace(host_names(*resolver_, witness_, tracer_->btf()), clock_.offset_ns());
  diag_ = {tracer_->btf().has_built_in("tcp_diag_dump"), tracer_->btf().has_built_in("udp_diag_dump")};
  facts_.listeners = [this](const std::string& protocol, std::uint16_t port) {
    return listeners_.get(protocol, port, as_of_ns_);
  };
  facts_.iptables_backend = iptables_backend;
  facts_.blind_spots = blind_spots();
  auto reader = EventReader::open(tracer_->events_fd(), [this](const pt_event& event) { on_event(event); });
  if (!reader) return reader.error();
  reader_ = std::move(*reader);
  return {};
}

// What a cause that is found by elimination must not overlook.
std::vector<std::string> LiveTrace::blind_spots() const {
  std::vector<std::string> spots = tracer_->shortcomings();
  if (filter_.netns != 0) spots.emplace_back("other network namespaces were not watched (--netns)");
  if (filter_.interface[0] != '\0') spots.emplace_back("other interfaces were not watched (-i)");
  return spots;
}

Result<void> LiveTrace::announce() {
  utsname system{};
  uname(&system);
  StartRecord start;
  start.version = version();
  start.kernel = system.release;
  start.arch = system.machine;
  start.ts_ns = started_ns_;
  start.filter = describe(options_.filter, options_.netns);
  start.backends = resolver_->backends();
  start.probes = tracer_->probes();
  if (auto written = output_.write(start); !written) return written;
  if (auto flushed = output_.flush(); !flushed) return flushed;
  if (!options_.quiet) {
    to_stderr(readiness_notice(start));
    say_shortcomings();
    if (filter_.interface[0] != '\0' && !has_interface(filter_.interface, filter_.netns))
      notice("no interface is called {} so far", sanitise(filter_.interface));
    if (options_.verbosity > 0)
      for (const auto& line : tracer_->details()) notice("{}", line);
  }
  say_notices();
  if (options_.ready_fd) {
    constexpr std::string_view ready = "ready\n";
    if (::write(*options_.ready_fd, ready.data(), ready.size()) < 0)
      return Error{ExitStatus::output_failed,
                   fmt::format("--ready-fd {}: {}", *options_.ready_fd, std::strerror(errno)),
                   {}};
    if (*options_.ready_fd > STDERR_FILENO) ::close(*options_.ready_fd);
  }
  return {};
}

void LiveTrace::on_event(const pt_event& event) {
  if (event.ts_ns > last_event_ns_) return;
  if (event.kind == PT_EVENT_MODULE_LOADED) {
    expect_module(static_cast<std::int64_t>(event.ts_ns) + clock_.offset_ns());
    return;
  }
  if (event.kind == PT_EVENT_TRACE_LOG) {
    witness_.add(reinterpret_cast<const pt_trace_log&>(event));
    return;
  }
  const bool unmatched =
      event.kind == PT_EVENT_STACK_RESET && reinterpret_cast<const pt_stack_reset&>(event).sock == 0;
  if (unmatched || event.kind == PT_EVENT_LISTENER_ACK) listeners_.prepare("tcp", event.flow.dport);
  if (event.kind == PT_EVENT_TCP_STATE &&
      reinterpret_cast<const pt_sock_event&>(event).new_state == TCP_LISTEN) {
    if (const auto o = decoder_->decode(event))
      listeners_.began(event.netns, address_text(event.flow.saddr, event.flow.family), event.flow.sport,
                       o->ts_ns);
    return;
  }
  auto observation = decoder_->decode(event);
  if (!observation) return;
  observation->joins_only = !may_begin(filter_, *observation);
  timeline_.add(std::move(*observation));
}

void LiveTrace::expect_module(std::int64_t since_ns) {
  if (module_tries_left_ == 0) module_since_ns_ = since_ns;
  module_tries_left_ = module_tries;
}

void LiveTrace::watch_for_new_modules() {
  if (module_tries_left_ == 0) return;
  --module_tries_left_;
  const auto before = tracer_->watched();
  tracer_->attach_new();
  resolver_->set_watched(tracer_->watched_expressions());
  facts_.blind_spots = blind_spots();
  say_shortcomings();
  std::string news;
  for (const std::string& what : without(tracer_->watched(), before)) {
    facts_.gaps.push_back({what, module_since_ns_, clock_.now_ns()});
    news += (news.empty() ? "" : ", ") + what;
  }
  if (news.empty()) return;
  resolver_->preload();  // what was read before changes were counted may be out of date
  if (!options_.quiet) notice("a module was loaded; traced from now on: {}", news);
}

// Each once: at the start, or when it turns out that what was loaded can't be traced.
void LiveTrace::say_shortcomings() {
  const auto lines = tracer_->shortcomings();
  if (const auto why = tracer_->without_trace_key(); why && !said_without_key_) {
    said_without_key_ = true;
    if (!options_.quiet)
      notice(
          "of nftables only rules with a verdict and policies are shown, not those that let a packet go on: "
          "the trace key is not used ({})",
          *why);
  }
  if (!options_.quiet)
    for (const std::string& line : without(lines, said_)) notice("not available: {}", line);
  said_.insert(said_.end(), lines.begin(), lines.end());
}

Result<void> LiveTrace::report() {
  for (auto& trace : timeline_.take()) {
    if (enough() && !trace.again) continue;
    as_of_ns_ = trace.connection.started_ns;
    diagnose(trace, facts_);
    for (std::size_t i = trace.new_packets_from; i < trace.packets.size(); ++i) {
      ++packets_;
      if (auto written = output_.write(std::move(trace.packets[i])); !written) return written;
    }
    if (!trace.again) ++connections_;
    if (auto written = output_.write(std::move(trace.connection)); !written) return written;
  }
  return {};
}

// One question a program: not asked as often as for lost events.
void LiveTrace::note_left_out() {
  const std::int64_t begin_ns = clock_.now_ns();
  asked_ns_ = begin_ns;
  (void)left_out_.note({tracer_->left_out()}, begin_ns, clock_.now_ns());
}

// Asks anew what may have come since.
std::uint64_t LiveTrace::left_out_between(std::int64_t from_ns, std::int64_t to_ns) {
  if (asked_ns_ <= to_ns) note_left_out();
  return left_out_.within(from_ns, to_ns);
}

bool LiveTrace::lost_trace_records(std::int64_t from_ns, std::int64_t to_ns) {
  const std::int64_t begin_ns = clock_.now_ns();
  (void)trace_lost_.note({tracer_->lost()[PT_EVENT_TRACE_LOG]}, begin_ns, clock_.now_ns());
  return trace_lost_.within(from_ns, to_ns) != 0;
}

Result<void> LiveTrace::report_loss() {
  const std::int64_t begin_ns = clock_.now_ns();
  if (begin_ns - asked_ns_ >= longest_sleep_ms * 1'000'000LL || ended_ns_ != 0) note_left_out();
  LostCounts counts = tracer_->lost();
  counts[0] = reader_->malformed();
  if (counts[PT_EVENT_MODULE_LOADED] != modules_missed_) expect_module(looked_ns_);
  modules_missed_ = counts[PT_EVENT_MODULE_LOADED];
  looked_ns_ = begin_ns;
  for (const LostRecord& record : facts_.losses.note(counts, begin_ns, clock_.now_ns()))
    if (auto written = output_.write(record); !written) return written;
  return {};
}

void LiveTrace::say_notices() {
  witness_.warn_of(resolver_->trace_rules());
  for (const auto& what : witness_.take_notices())
    if (!options_.quiet) notice("{}", sanitise(what));
}

Result<void> LiveTrace::drain() {
  std::uint64_t taken = 0;
  std::uint64_t last = 0;
  while ((last = reader_->drain(events_a_look)) == events_a_look) {
    taken += last;
    const bool turn = taken % events_a_turn == 0;
    if (turn || clock_.now_ns() - looked_ns_ >= look_again_ns)
      if (auto loss = report_loss(); !loss) return loss;
    if (!turn) continue;
    if (auto reported = report(); !reported) return reported;
  }
  under_load_ = taken + last >= is_load;
  return {};
}

Result<void> LiveTrace::handle_events() {
  // Nothing older than this can still be on its way once the buffer was emptied.
  const std::int64_t now = clock_.now_ns();
  if (auto drained = drain(); !drained) return drained;
  watch_for_new_modules();
  timeline_.advance(now);
  say_notices();
  if (auto loss = report_loss(); !loss) return loss;
  if (auto reported = report(); !reported) return reported;
  return output_.flush();
}

int LiveTrace::sleep_ms() const {
  if (module_tries_left_ > 0) return module_retry_ms;
  std::int64_t sleep = under_load_ ? gather_ms : longest_sleep_ms;
  const std::int64_t now = clock_.now_ns();
  if (const auto due = timeline_.next_due_ns(); due != 0)
    sleep = std::min(sleep, (due - now) / 1'000'000 + 1);
  if (options_.duration)
    sleep = std::min(
        sleep, static_cast<std::int64_t>(*options_.duration * 1e3) - (now - started_ns_) / 1'000'000 + 1);
  return static_cast<int>(std::max<std::int64_t>(sleep, 0));
}

Result<void> LiveTrace::loop() {
  std::array<pollfd, 3> wait{{{reader_->fd(), POLLIN, 0}, {signals_->fd(), POLLIN, 0}, {-1, POLLIN, 0}}};
  if (command_) wait[2].fd = command_->fd();
  while (stop_reason_.empty()) {
    wait[0].fd = under_load_ ? -1 : reader_->fd();
    if (poll(wait.data(), wait.size(), sleep_ms()) < 0 && errno != EINTR)
      return Error{
          ExitStatus::failure, fmt::format("waiting for events failed: {}", std::strerror(errno)), {}};
    if (auto handled = handle_events(); !handled) return handled;
    if (enough()) stop("count reached");
    if ((wait[1].revents & POLLIN) != 0) stop("interrupted");
    if ((wait[2].revents & POLLIN) != 0) {
      command_status_ = command_->wait();
      stop("command ended");
    }
    if (options_.duration &&
        clock_.now_ns() - started_ns_ >= static_cast<std::int64_t>(*options_.duration * 1e9))
      stop("duration over");
  }
  return {};
}

// No program of ours runs any more, and not the command.
void LiveTrace::let_go() {
  if (command_ && !command_->end())
    notice("{} (pid {}) did not end on SIGTERM and goes on", sanitise(options_.command.front()),
           command_->pid());
  tracer_->detach();
}

Result<void> LiveTrace::report_rest() {
  if (auto drained = drain(); !drained) return drained;
  timeline_.finish(ended_ns_);
  if (auto loss = report_loss(); !loss) return loss;
  if (auto reported = report(); !reported) return reported;
  if (auto written = output_.write(end_record()); !written) return written;
  return output_.finish();
}

EndRecord LiveTrace::end_record() const {
  return {ended_ns_, connections_, packets_, facts_.losses.total(), left_out_.total(), stop_reason_};
}

// Once the trace is over, because it was told to end or because of what `so_far` says.
Result<void> LiveTrace::finish(Result<void> so_far) {
  // Programs go one after the other: what happens from now on would be seen by some of them only.
  ended_ns_ = clock_.now_ns();
  last_event_ns_ = static_cast<std::uint64_t>(ended_ns_ - clock_.offset_ns());
  if (so_far) listeners_.hold();
  let_go();
  Result<void> result = so_far ? report_rest() : std::move(so_far);
  if (!result && result.error().status == ExitStatus::success) return result;  // nobody reads any more
  if (!result) stop_reason_ = result.error().status == ExitStatus::output_failed ? "output failed" : "failed";
  if (options_.quiet) return result;
  if (command_status_ != 0)
    notice("{} ended with status {}", sanitise(options_.command.front()), command_status_);
  say_notices();
  if (const std::string trace = witness_.conclusion(); !trace.empty()) notice("{}", trace);
  if (const auto times = left_out_.total(); times != 0)
    notice(
        "the kernel left out a program {} times, as an interrupt came while it ran: so many steps, of these "
        "packets or of others, are not known",
        times);
  to_stderr(closing_notice(end_record()));
  if (const auto early = timeline_.evicted(); early != 0)
    notice("connections reported before their fate was known, for want of room: {}", early);
  return result;
}

Result<void> LiveTrace::run() {
  if (auto prepared = prepare(); !prepared) return prepared;
  if (auto announced = announce(); !announced) return announced;
  if (!options_.command.empty()) {
    // JSON Lines have standard output to themselves
    auto command = Command::start(options_.command, options_.json ? STDERR_FILENO : STDOUT_FILENO);
    if (!command) {
      stop("command could not be started");
      (void)finish({});
      return command.error();
    }
    command_ = std::move(*command);
  }
  return finish(loop());
}

}  // namespace

Result<void> trace_live(const Options& options, Sink& output) { return LiveTrace(options, output).run(); }

}  // namespace pathtrace
