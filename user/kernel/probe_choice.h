// SPDX-License-Identifier: GPL-2.0
// What each row of the probe table came to, and which programs are to be tried for it on this kernel.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernel/attach_targets.h"
#include "kernel/btf.h"
#include "kernel/probes.h"
#include "pathtrace/filter.h"

namespace pathtrace {

// A module announces itself before it can be attached to: how often that is tried.
inline constexpr int tries_of_new_module = 20;

struct ProbeProgress {
  const Probe* probe = nullptr;
  bool attached = false;
  bool failed = false;   // not tried again
  bool untyped = false;  // its module is loaded, and the kernel has no type information of it
  bool absent = false;   // what would have it is there, and hasn't
  int tries = 1;         // more for a module that comes later
  std::string why;
  std::uint64_t attached_ns = 0;  // CLOCK_MONOTONIC
  std::string module;             // that it is attached to, and which load of it
  std::optional<std::uint64_t> load;
  std::string refusal;  // of the programs of first choice, where others are in use
};

struct Choice {
  ProbeProgress* progress = nullptr;
  std::vector<std::string> programs;
  bool kprobe = false;  // by this, not by fentry

  // The same by kprobe, see bpf/lib/probe.h.
  [[nodiscard]] Choice by_kprobe() const {
    Choice result{progress, {}, true};
    for (const auto& name : programs) result.programs.push_back(name + "_kprobe");
    return result;
  }
};

// The rows that this filter asks for.
std::vector<ProbeProgress> needed_probes(const pt_filter& filter);

// Is it for nftables watched in the way that is in use?
bool is_in_use(const Probe& probe, bool without_trace_key);

// The kernel's function of a probe, in the module that has it.
std::optional<KernelFunction> function_of(KernelBtf& btf, const Probe& probe);

// The programs for every row that is not attached yet and could be; says of the others why not. `fentry`: or
// by kprobe only.
std::vector<Choice> choose(std::vector<ProbeProgress>& rows, KernelBtf& btf, bool fentry,
                           bool without_trace_key);

// What a program is attached to whose section names it.
std::optional<AttachTarget> attach_target(const std::vector<ProbeProgress>& rows, KernelBtf& btf,
                                          const std::string& name, bool tracepoint);

}  // namespace pathtrace
