// SPDX-License-Identifier: GPL-2.0
// How many of the kernel's events user space takes in a second: decoded, resolved, put into connections,
// diagnosed and printed, as in a live trace. items_per_second is the figure.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <memory>
#include <stdexcept>

#include "capture/decode.h"
#include "diagnosis/diagnosis.h"
#include "event_stream.h"
#include "render/output.h"
#include "ruleset/blob_builder.h"
#include "ruleset/legacy_snapshot.h"
#include "ruleset/legacy_steps.h"
#include "ruleset/legacy_walk.h"
#include "timeline/timeline.h"

namespace pathtrace {
namespace {

using benchmark_stream::EventStream;

// Three rules in INPUT of which the last accepts; nothing in FORWARD and OUTPUT.
legacy::Snapshot snapshot() {
  legacy::Snapshot made;
  made.table = legacy::BlobBuilder()
                   .base(1, {{"DROP"}, {"DROP"}, {"ACCEPT", false, false, {}, "all else"}})
                   .base(2, {})
                   .base(3, {})
                   .table();
  made.text.resize(made.table.entries.size());
  for (const std::uint32_t i : {0U, 1U, 2U})
    made.text[i] = "-s 198.18.0.1/32 -p tcp -m tcp --dport 443 -j DROP";
  return made;
}

WalkObservation resolve(const legacy::Snapshot& ruleset, const pt_legacy_walk& walk) {
  WalkObservation seen;
  seen.end_ns = static_cast<std::int64_t>(walk.end_ns);
  seen.backend = Backend::iptables_legacy;
  seen.table = ruleset.table.name;
  seen.verdict = legacy::verdict_word(walk.verdict);
  seen.family = Family::ip;
  seen.hook = legacy::hook_word(seen.family, walk.e.hook);
  const legacy::WalkInput input{walk.e.hook, {walk.matched, walk.n_matched}, walk.verdict};
  seen.steps = legacy::steps(ruleset, legacy::reconstruct(ruleset.table, input), seen.hook, walk.verdict);
  return seen;
}

Names names(const legacy::Snapshot& ruleset) {
  Names made;
  made.legacy_walk = [&ruleset](const pt_legacy_walk& walk) { return resolve(ruleset, walk); };
  made.netns = [](std::uint32_t) { return std::optional<std::string>(); };
  made.interface = [](std::uint32_t, std::uint32_t) { return std::optional<std::string>("lo"); };
  return made;
}

using MakeSink = std::unique_ptr<Sink> (*)(std::FILE*);

std::unique_ptr<Sink> text_sink(std::FILE* out) { return make_text_sink(out, {}); }

// As LiveTrace does it: what waits in the buffer is taken, then what is due is reported.
class Pipeline {
 public:
  explicit Pipeline(MakeSink make_sink)
      : out_(std::fopen("/dev/null", "w")), sink_(make_sink(out_)), decoder_(names(ruleset_), 0) {}
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;
  ~Pipeline() { std::fclose(out_); }

  void run(const EventStream& stream) {
    constexpr int wake_up = 2000;  // events
    int waiting = 0;
    stream.each([&](const pt_event& event) {
      auto observation = decoder_.decode(event);
      if (!observation) return;
      const std::int64_t now = observation->ts_ns;
      timeline_.add(std::move(*observation));
      if (++waiting % wake_up != 0) return;
      timeline_.advance(now);
      report();
    });
    timeline_.finish();
    report();
    if (connections_ == 0) throw std::logic_error("no connection was reported");
  }

 private:
  void report() {
    for (auto& trace : timeline_.take()) {
      ++connections_;
      diagnose(trace, facts_);
      for (std::size_t i = trace.new_packets_from; i < trace.packets.size(); ++i)
        (void)sink_->write(std::move(trace.packets[i]));
      (void)sink_->write(std::move(trace.connection));
    }
    (void)sink_->flush();
  }

  const legacy::Snapshot ruleset_ = snapshot();
  std::FILE* out_;
  std::unique_ptr<Sink> sink_;
  Decoder decoder_;
  Timeline timeline_;
  Facts facts_;
  std::uint64_t connections_ = 0;
};

void measure(benchmark::State& state, const EventStream& stream, MakeSink make_sink) {
  for (auto _ : state) Pipeline(make_sink).run(stream);
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * stream.events());
}

void udp_one_socket(benchmark::State& state, MakeSink make_sink) {
  EventStream stream;
  for (int i = 0; i < 3000; ++i) stream.datagram(7);
  measure(state, stream, make_sink);
}

void udp_many_sockets(benchmark::State& state, MakeSink make_sink) {
  EventStream stream;
  for (std::uint32_t i = 0; i < 3000; ++i) stream.datagram(i);
  measure(state, stream, make_sink);
}

void tcp_connections(benchmark::State& state, MakeSink make_sink) {
  EventStream stream;
  for (std::uint32_t i = 0; i < 500; ++i) stream.connection(i);
  measure(state, stream, make_sink);
}

BENCHMARK_CAPTURE(udp_one_socket, text, text_sink)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(udp_one_socket, json, make_json_sink)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(udp_many_sockets, text, text_sink)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(udp_many_sockets, json, make_json_sink)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(tcp_connections, text, text_sink)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(tcp_connections, json, make_json_sink)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace pathtrace

BENCHMARK_MAIN();
