// SPDX-License-Identifier: GPL-2.0
// What the running kernel's BTF says: functions with their parameters, enumerations. Signatures
// change inside one stable series, so programs are chosen by this and never by version.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "support/result.h"

struct btf;

namespace pathtrace {

struct KernelFunction {
  std::string module;  // "" = vmlinux
  int parameters = 0;
  std::uint32_t id = 0;        // of the BTF type, as BPF_PROG_LOAD's attach_btf_id wants it
  std::string last_parameter;  // its name, "" if it has none
};

struct KernelTracepoint {
  int arguments = 0;     // without the leading context pointer
  std::uint32_t id = 0;  // of its typedef, as BPF_PROG_LOAD's attach_btf_id wants it
};

class KernelBtf {
 public:
  // Fails with ExitStatus::unsupported if the kernel has no BTF.
  static Result<KernelBtf> load();
  KernelBtf(KernelBtf&&) noexcept;
  KernelBtf& operator=(KernelBtf&&) noexcept;
  ~KernelBtf();

  // A function of vmlinux or of a module that is loaded now. BTF may list functions that
  // have no symbol of that name (".constprop.0"): check kallsyms too where it matters.
  [[nodiscard]] std::optional<KernelFunction> function(const std::string& name, const std::string& module);
  // Whether the kernel has type information of a module, which must be loaded (CONFIG_DEBUG_INFO_BTF_MODULES,
  // since 5.11).
  [[nodiscard]] bool has_types(const std::string& module) { return types_of(module) != nullptr; }
  // Whether vmlinux itself, not a module of it, has that function: what is in a table of functions is never
  // left out of BTF.
  [[nodiscard]] bool has_built_in(std::string_view function) const;
  // A raw tracepoint of vmlinux.
  [[nodiscard]] std::optional<KernelTracepoint> tracepoint(const std::string& name) const;
  // Whether a struct of vmlinux or of a module that is loaded now has a member of that name.
  [[nodiscard]] bool has_member(const std::string& type, const std::string& member,
                                const std::string& module);
  // Name of an enumerator: enumerator("skb_drop_reason", 2) == "SKB_DROP_REASON_NO_SOCKET".
  [[nodiscard]] std::optional<std::string> enumerator(const std::string& enumeration,
                                                      std::uint32_t value) const;

 private:
  // Libbpf finds a name by comparing all of them, of which a kernel has 100,000: one pass instead.
  struct Types {
    btf* types = nullptr;
    std::unordered_map<std::string_view, std::uint32_t> functions;
    std::unordered_map<std::string_view, std::uint32_t> tracepoints;  // typedefs, "btf_trace_" and a name
  };
  KernelBtf() = default;
  static Types indexed(btf* types, std::uint32_t first);
  const Types* types_of(const std::string& module);
  Types vmlinux_;
  std::map<std::string, Types> modules_;
};

}  // namespace pathtrace
