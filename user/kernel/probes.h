// SPDX-License-Identifier: GPL-2.0
// The probe table: every hook pathtrace can use, the programs for it by preference, and what can't be
// said without it. Adding a probe is a row here, a file in bpf/ and its reading in the timeline.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace pathtrace {

struct ProbeVariant {
  int parameters;  // of the function in this kernel's BTF; any_parameters = whatever it has
  std::vector<std::string_view> programs;
  std::string_view last_parameter = {};  // its name, where the number alone doesn't tell
};

inline constexpr int any_parameters = -1;

// Nftables is watched in one of two ways.
enum class TraceKeyNeed { either, held, not_held };

struct Probe {
  std::string_view name;
  std::string_view function;        // kernel function, or raw tracepoint if `tracepoint`
  std::string_view module;          // that has it, unless it is built in; "" = always built in
  std::string_view older_module{};  // that had it before it moved to `module`
  bool tracepoint = false;
  std::uint8_t family = 0;    // needed only if this family is traced; 0 = always
  std::uint8_t protocol = 0;  // likewise
  bool kprobe_only = false;   // its programs exist by kprobe only
  bool helper = false;        // explains what others see, and sees no packet by itself
  bool fentry_only = false;   // by fexit: they need the arguments at the function's end
  TraceKeyNeed key = TraceKeyNeed::either;
  // nftables expressions whose verdicts its function gives: "reject inet" is that of tables of one family
  std::vector<std::string_view> expressions;
  bool folded =
      false;  // its function stands for those of other probes of its expressions that the kernel hasn't
  std::vector<ProbeVariant> variants;
  std::string_view lost;  // what can't be said without it

  [[nodiscard]] bool has_both() const { return !kprobe_only && !fentry_only; }
};

const std::vector<Probe>& probe_table();

}  // namespace pathtrace
