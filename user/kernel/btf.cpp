// SPDX-License-Identifier: GPL-2.0
#include "kernel/btf.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace pathtrace {

namespace {

constexpr std::string_view tracepoint_prefix = "btf_trace_";

std::string last_parameter(const btf* types, const btf_type* proto) {
  const unsigned count = btf_vlen(proto);
  if (count == 0) return "";
  const char* name = btf__name_by_offset(types, btf_params(proto)[count - 1].name_off);
  return name == nullptr ? "" : name;
}

}  // namespace

Result<KernelBtf> KernelBtf::load() {
  libbpf_set_print(nullptr);  // what it has to say is said below
  KernelBtf result;
  btf* vmlinux = btf__load_vmlinux_btf();
  if (vmlinux == nullptr)
    return Error{
        ExitStatus::unsupported,
        fmt::format("this kernel has no type information (/sys/kernel/btf/vmlinux: {}). pathtrace needs a "
                    "kernel built with CONFIG_DEBUG_INFO_BTF, as those of Debian, Ubuntu and Fedora are",
                    std::strerror(errno == ESRCH ? ENOENT : errno)),  // libbpf's word for "no file"
        {}};
  result.vmlinux_ = indexed(vmlinux, 1);
  return result;
}

KernelBtf::KernelBtf(KernelBtf&& other) noexcept
    : vmlinux_(std::exchange(other.vmlinux_, {})), modules_(std::move(other.modules_)) {
  other.modules_.clear();
}

KernelBtf& KernelBtf::operator=(KernelBtf&& other) noexcept {
  std::swap(vmlinux_, other.vmlinux_);
  std::swap(modules_, other.modules_);
  return *this;
}

KernelBtf::~KernelBtf() {
  for (auto& [name, module] : modules_) btf__free(module.types);
  btf__free(vmlinux_.types);
}

// Of those from `first` on; of two with the same name the first counts, as for libbpf.
KernelBtf::Types KernelBtf::indexed(btf* types, std::uint32_t first) {
  Types result;
  result.types = types;
  const std::uint32_t end = btf__type_cnt(types);
  result.functions.reserve((end - first) / 2);
  for (std::uint32_t id = first; id < end; ++id) {
    const btf_type* type = btf__type_by_id(types, id);
    if (btf_is_func(type)) {
      result.functions.emplace(btf__name_by_offset(types, type->name_off), id);
    } else if (btf_is_typedef(type)) {
      const std::string_view name = btf__name_by_offset(types, type->name_off);
      if (name.substr(0, tracepoint_prefix.size()) == tracepoint_prefix)
        result.tracepoints.emplace(name.substr(tracepoint_prefix.size()), id);
    }
  }
  return result;
}

const KernelBtf::Types* KernelBtf::types_of(const std::string& module) {
  if (module.empty()) return &vmlinux_;
  auto known = modules_.find(module);
  if (known != modules_.end()) return &known->second;
  btf* loaded = btf__load_module_btf(module.c_str(), vmlinux_.types);
  // a module that isn't loaded may be later: not remembered
  if (loaded == nullptr) return nullptr;
  return &(modules_[module] = indexed(loaded, btf__type_cnt(vmlinux_.types)));
}

std::optional<KernelFunction> KernelBtf::function(const std::string& name, const std::string& module) {
  // A subsystem may be built in or be a module: the module first, it is the smaller one.
  for (const auto& where : {module, std::string()}) {
    const Types* index = types_of(where);
    if (index == nullptr) continue;
    const auto found = index->functions.find(name);
    if (found == index->functions.end()) continue;
    const btf_type* type = btf__type_by_id(index->types, found->second);
    const btf_type* proto = btf__type_by_id(index->types, type->type);
    return KernelFunction{where, static_cast<int>(btf_vlen(proto)), found->second,
                          last_parameter(index->types, proto)};
  }
  return std::nullopt;
}

bool KernelBtf::has_built_in(std::string_view function) const {
  return vmlinux_.functions.contains(function);
}

std::optional<KernelTracepoint> KernelBtf::tracepoint(const std::string& name) const {
  const auto found = vmlinux_.tracepoints.find(name);
  if (found == vmlinux_.tracepoints.end()) return std::nullopt;
  const btf_type* pointer =
      btf__type_by_id(vmlinux_.types, btf__type_by_id(vmlinux_.types, found->second)->type);
  const btf_type* proto = btf__type_by_id(vmlinux_.types, pointer->type);
  return KernelTracepoint{static_cast<int>(btf_vlen(proto)) - 1, found->second};
}

bool KernelBtf::has_member(const std::string& type, const std::string& member, const std::string& module) {
  for (const auto& where : {module, std::string()}) {
    const Types* known = types_of(where);
    if (known == nullptr) continue;
    const btf* types = known->types;
    const int id = btf__find_by_name_kind(types, type.c_str(), BTF_KIND_STRUCT);
    if (id <= 0) continue;
    const btf_type* found = btf__type_by_id(types, static_cast<__u32>(id));
    const struct btf_member* members = btf_members(found);
    for (unsigned i = 0; i < btf_vlen(found); ++i)
      if (member == btf__name_by_offset(types, members[i].name_off)) return true;
  }
  return false;
}

std::optional<std::string> KernelBtf::enumerator(const std::string& enumeration, std::uint32_t value) const {
  const int id = btf__find_by_name_kind(vmlinux_.types, enumeration.c_str(), BTF_KIND_ENUM);
  if (id <= 0) return std::nullopt;
  const btf_type* type = btf__type_by_id(vmlinux_.types, static_cast<__u32>(id));
  const struct btf_enum* values = btf_enum(type);
  for (unsigned i = 0; i < btf_vlen(type); ++i)
    if (static_cast<std::uint32_t>(values[i].val) == value)
      return std::string(btf__name_by_offset(vmlinux_.types, values[i].name_off));
  return std::nullopt;
}

}  // namespace pathtrace
