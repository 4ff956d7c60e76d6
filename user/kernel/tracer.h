// SPDX-License-Identifier: GPL-2.0
// Chooses, loads and attaches the programs of a run, and detaches them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel/btf.h"
#include "kernel/generations.h"
#include "kernel/table_indexes.h"
#include "kernel/trace_key.h"
#include "pathtrace/filter.h"
#include "support/result.h"
#include "timeline/loss.h"
#include "timeline/model.h"

namespace pathtrace {

struct TracerOptions {
  pt_filter filter{};
  std::uint32_t max_rules = 16384;       // of a legacy table whose counters are copied
  std::uint32_t buffer_bytes = 8 << 20;  // of the ring buffer; a power of two
  TraceKeyUse trace_key = TraceKeyUse::if_safe;
  bool fentry = true;  // false: kprobes and raw tracepoints only, as where fentry is refused
};

class Tracer {
 public:
  // Loads and attaches what this kernel has now. Fails with ExitStatus::unsupported if nothing
  // could be attached; a probe that could not is listed in probes().
  static Result<Tracer> start(const TracerOptions& options);
  Tracer(Tracer&&) noexcept;
  Tracer& operator=(Tracer&&) noexcept;
  ~Tracer();  // detaches everything

  // Attaches to what was loaded since (PT_EVENT_MODULE_LOADED). True if something was. What was attached to a
  // module that was unloaded and loaded again becomes a shortcoming.
  bool attach_new();
  // No new events; what is in the ring buffer can still be read.
  void detach();

  [[nodiscard]] std::vector<ProbeStatus> probes() const;
  // Probes that aren't attached though their function exists or their module is loaded, or whose function
  // this kernel lacks (a backend whose module isn't loaded is not one of them), and symbol addresses that the
  // kernel hides: a line each, "what is lost: why".
  [[nodiscard]] std::vector<std::string> shortcomings() const;
  // Why nftables is watched without the trace key, where it is.
  [[nodiscard]] std::optional<std::string> without_trace_key() const;
  // The nftables expressions ("immediate", "reject inet") whose verdicts are watched without the trace key,
  // and since when, in CLOCK_MONOTONIC nanoseconds.
  [[nodiscard]] std::map<std::string, std::uint64_t, std::less<>> watched_expressions() const;
  // What the attached probes tell, a line each.
  [[nodiscard]] std::vector<std::string> watched() const;
  // How each attached probe is attached, a line each; and why not in the way that costs least, where it
  // isn't.
  [[nodiscard]] std::vector<std::string> details() const;
  [[nodiscard]] int events_fd() const;
  // Events that could not be reported since the start, by kind; [0] is their sum.
  [[nodiscard]] LostCounts lost() const;
  // How often the kernel left a program out since the start, because an interrupt came while it ran on that
  // CPU (bpf_prog_info.recursion_misses, since 5.12): for any packet, of the filter or not.
  [[nodiscard]] std::uint64_t left_out() const;
  [[nodiscard]] Generations& generations();
  [[nodiscard]] TableIndexes& table_indexes();
  [[nodiscard]] const KernelBtf& btf() const;

 private:
  struct State;
  explicit Tracer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pathtrace
