// SPDX-License-Identifier: GPL-2.0
// What the running kernel's BTF says: functions with their parameters, enumerations. Signatures
// change inside one stable series, so programs are chosen by this and never by version.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "support/result.h"

struct btf;

namespace pathtrace {

struct KernelFunction {
  std::string module;  // "" = vmlinux
  int parameters = 0;
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
  // Arguments of a raw tracepoint, without the leading context pointer.
  [[nodiscard]] std::optional<int> tracepoint_arguments(const std::string& name) const;
  // Name of an enumerator: enumerator("skb_drop_reason", 2) == "SKB_DROP_REASON_NO_SOCKET".
  [[nodiscard]] std::optional<std::string> enumerator(const std::string& enumeration,
                                                      std::uint32_t value) const;

 private:
  KernelBtf() = default;
  btf* module_btf(const std::string& module);
  btf* vmlinux_ = nullptr;
  std::map<std::string, btf*> modules_;
};

}  // namespace pathtrace
