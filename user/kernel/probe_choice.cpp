// SPDX-License-Identifier: GPL-2.0
#include "kernel/probe_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "kernel/modules.h"

namespace pathtrace {

namespace {

// The arguments of a function that fentry and fexit can be attached to (arch_prepare_bpf_trampoline() of
// x86): those in registers, until 6.6 read the others from the stack. Of the same release are links of many
// uprobes.
int most_parameters(KernelBtf& btf) {
  constexpr int in_registers = 6;
  constexpr int since_6_6 = 12;  // MAX_BPF_FUNC_ARGS
  return btf.has_member("bpf_uprobe_multi_link", "uprobes", "") ? since_6_6 : in_registers;
}

// Its function is not in any type information.
void explain_absence(ProbeProgress& row, KernelBtf& btf) {
  const Probe& probe = *row.probe;
  row.tries = tries_of_new_module;
  row.untyped = false;
  row.absent = false;
  for (const std::string_view name : {probe.older_module, probe.module}) {
    const std::string module(name);
    if (!loaded_module(module) || btf.has_types(module)) continue;
    row.untyped = true;
    row.why = fmt::format(
        "module {} is loaded, and this kernel has no type information of its modules "
        "(CONFIG_DEBUG_INFO_BTF_MODULES, since 5.11; /sys/kernel/btf/{})",
        module, module);
    return;
  }
  row.absent =
      probe.module.empty() || (probe.older_module.empty() && loaded_module(std::string(probe.module)));
  if (probe.module.empty())
    row.why = fmt::format("this kernel has no {}", probe.function);
  else if (row.absent)
    row.why = fmt::format("module {} has no {} on this kernel", probe.module, probe.function);
  else
    row.why = fmt::format("module {} is not loaded", probe.module);
}

bool is_needed(const Probe& probe, const pt_filter& filter) {
  if (probe.family != 0 && filter.family != 0 && probe.family != filter.family) return false;
  return probe.protocol == 0 || filter.protocol == 0 || probe.protocol == filter.protocol;
}

}  // namespace

std::vector<ProbeProgress> needed_probes(const pt_filter& filter) {
  std::vector<ProbeProgress> rows;
  for (const auto& probe : probe_table())
    if (is_needed(probe, filter)) rows.push_back({.probe = &probe});
  return rows;
}

bool is_in_use(const Probe& probe, bool without_trace_key) {
  switch (probe.key) {
    case TraceKeyNeed::held:
      return !without_trace_key;
    case TraceKeyNeed::not_held:
      return without_trace_key;
    case TraceKeyNeed::either:
      break;
  }
  return true;
}

std::optional<KernelFunction> function_of(KernelBtf& btf, const Probe& probe) {
  auto function = btf.function(std::string(probe.function), std::string(probe.module));
  if (!function && !probe.older_module.empty())
    function = btf.function(std::string(probe.function), std::string(probe.older_module));
  return function;
}

std::vector<Choice> choose(std::vector<ProbeProgress>& rows, KernelBtf& btf, bool fentry,
                           bool without_trace_key) {
  std::vector<Choice> choices;
  const int most = most_parameters(btf);
  for (auto& row : rows) {
    const Probe& probe = *row.probe;
    if (row.attached || row.failed) continue;
    std::optional<int> parameters;
    std::string last_parameter;
    if (probe.tracepoint) {
      if (auto tracepoint = btf.tracepoint(std::string(probe.function))) parameters = tracepoint->arguments;
    } else if (auto function = function_of(btf, probe)) {
      parameters = function->parameters;
      last_parameter = function->last_parameter;
    }
    if (!parameters) {
      explain_absence(row, btf);
      continue;
    }
    row.untyped = false;
    if (!is_in_use(probe, without_trace_key)) continue;
    const auto variant =
        std::find_if(probe.variants.begin(), probe.variants.end(), [&](const ProbeVariant& v) {
          return (v.parameters == any_parameters || v.parameters == *parameters) &&
                 (v.last_parameter.empty() || v.last_parameter == last_parameter);
        });
    if (variant == probe.variants.end()) {
      row.why = fmt::format("{} has {} parameters on this kernel, which no program fits", probe.function,
                            *parameters);
      row.failed = true;
      continue;
    }
    if (probe.fentry_only && !fentry) {
      row.why = "its programs exist by fentry only (--no-fentry)";
      row.failed = true;
      continue;
    }
    const Choice choice{&row, {variant->programs.begin(), variant->programs.end()}};
    const bool has_too_many = !probe.tracepoint && *parameters > most && probe.has_both();
    if (fentry && has_too_many)
      row.refusal = fmt::format("takes no function of {} parameters on this kernel", *parameters);
    choices.push_back(fentry && !probe.kprobe_only && !has_too_many ? choice : choice.by_kprobe());
  }
  return choices;
}

std::optional<AttachTarget> attach_target(const std::vector<ProbeProgress>& rows, KernelBtf& btf,
                                          const std::string& name, bool tracepoint) {
  if (tracepoint) {
    const auto found = btf.tracepoint(name);
    return found ? std::optional(AttachTarget{found->id, {}}) : std::nullopt;
  }
  const auto row = std::find_if(rows.begin(), rows.end(),
                                [&](const ProbeProgress& p) { return p.probe->function == name; });
  // a program may be for a function besides that of its probe; those are built in
  const auto found = row == rows.end() ? btf.function(name, "") : function_of(btf, *row->probe);
  return found ? std::optional(AttachTarget{found->id, found->module}) : std::nullopt;
}

}  // namespace pathtrace
