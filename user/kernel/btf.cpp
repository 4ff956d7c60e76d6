// SPDX-License-Identifier: GPL-2.0
#include "kernel/btf.h"

#include <bpf/btf.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace pathtrace {

Result<KernelBtf> KernelBtf::load() {
  KernelBtf result;
  result.vmlinux_ = btf__load_vmlinux_btf();
  if (result.vmlinux_ == nullptr)
    return Error{
        ExitStatus::unsupported,
        fmt::format("this kernel has no type information (/sys/kernel/btf/vmlinux: {}). pathtrace needs a "
                    "kernel built with CONFIG_DEBUG_INFO_BTF, as those of Debian, Ubuntu and Fedora are",
                    std::strerror(errno == ESRCH ? ENOENT : errno)),  // libbpf's word for "no file"
        {}};
  return result;
}

KernelBtf::KernelBtf(KernelBtf&& other) noexcept
    : vmlinux_(std::exchange(other.vmlinux_, nullptr)), modules_(std::move(other.modules_)) {
  other.modules_.clear();
}

KernelBtf& KernelBtf::operator=(KernelBtf&& other) noexcept {
  std::swap(vmlinux_, other.vmlinux_);
  std::swap(modules_, other.modules_);
  return *this;
}

KernelBtf::~KernelBtf() {
  for (auto& [name, module] : modules_) btf__free(module);
  btf__free(vmlinux_);
}

btf* KernelBtf::module_btf(const std::string& module) {
  if (module.empty()) return vmlinux_;
  auto known = modules_.find(module);
  if (known != modules_.end()) return known->second;
  btf* loaded = btf__load_module_btf(module.c_str(), vmlinux_);
  // a module that isn't loaded may be later: not remembered
  if (loaded != nullptr) modules_[module] = loaded;
  return loaded;
}

std::optional<KernelFunction> KernelBtf::function(const std::string& name, const std::string& module) {
  // A subsystem may be built in or be a module: the module first, it is the smaller one.
  for (const auto& where : {module, std::string()}) {
    const btf* types = module_btf(where);
    if (types == nullptr) continue;
    const int id = btf__find_by_name_kind(types, name.c_str(), BTF_KIND_FUNC);
    if (id <= 0) continue;
    const btf_type* proto = btf__type_by_id(types, btf__type_by_id(types, static_cast<__u32>(id))->type);
    return KernelFunction{where, static_cast<int>(btf_vlen(proto))};
  }
  return std::nullopt;
}

std::optional<int> KernelBtf::tracepoint_arguments(const std::string& name) const {
  const int id = btf__find_by_name_kind(vmlinux_, ("btf_trace_" + name).c_str(), BTF_KIND_TYPEDEF);
  if (id <= 0) return std::nullopt;
  const btf_type* pointer =
      btf__type_by_id(vmlinux_, btf__type_by_id(vmlinux_, static_cast<__u32>(id))->type);
  const btf_type* proto = btf__type_by_id(vmlinux_, pointer->type);
  return static_cast<int>(btf_vlen(proto)) - 1;
}

std::optional<std::string> KernelBtf::enumerator(const std::string& enumeration, std::uint32_t value) const {
  const int id = btf__find_by_name_kind(vmlinux_, enumeration.c_str(), BTF_KIND_ENUM);
  if (id <= 0) return std::nullopt;
  const btf_type* type = btf__type_by_id(vmlinux_, static_cast<__u32>(id));
  const struct btf_enum* values = btf_enum(type);
  for (unsigned i = 0; i < btf_vlen(type); ++i)
    if (static_cast<std::uint32_t>(values[i].val) == value)
      return std::string(btf__name_by_offset(vmlinux_, values[i].name_off));
  return std::nullopt;
}

}  // namespace pathtrace
