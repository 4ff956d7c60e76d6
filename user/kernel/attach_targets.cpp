// SPDX-License-Identifier: GPL-2.0
#include "kernel/attach_targets.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

namespace pathtrace {

namespace {

struct Section {
  const char* name;  // as SEC() has it, "+" for what follows the slash
  bpf_attach_type type;
};

constexpr std::array<Section, 3> sections{
    {{"fentry+", BPF_TRACE_FENTRY}, {"fexit+", BPF_TRACE_FEXIT}, {"tp_btf+", BPF_TRACE_RAW_TP}}};

// Of the module that is loaded now: it has another one when it comes again.
Fd open_module_btf(const std::string& module) {
  for (std::uint32_t id = 0; bpf_btf_get_next_id(id, &id) == 0;) {
    Fd fd(bpf_btf_get_fd_by_id(id));
    if (!fd) continue;  // gone meanwhile
    std::array<char, 64> name{};
    bpf_btf_info info{};
    info.name = reinterpret_cast<std::uintptr_t>(name.data());
    info.name_len = name.size();
    std::uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(fd.get(), &info, &size) == 0 && info.kernel_btf != 0 && module == name.data())
      return fd;
  }
  return {};
}

}  // namespace

AttachTargets* AttachTargets::current_ = nullptr;

AttachTargets::AttachTargets(Find find) : find_(std::move(find)) {
  static const bool registered = (register_handlers(), true);
  static_cast<void>(registered);
  current_ = this;
}

AttachTargets::~AttachTargets() { current_ = nullptr; }

// Once, and never taken back: libbpf before 1.3 frees its list twice when it was emptied, and programs that
// were opened before keep pointers into it.
void AttachTargets::register_handlers() {
  libbpf_prog_handler_opts options{};
  options.sz = sizeof options;
  options.prog_prepare_load_fn = prepare;
  options.prog_attach_fn = attach;
  for (const auto& section : sections)
    libbpf_register_prog_handler(section.name, BPF_PROG_TYPE_TRACING, section.type, &options);
}

int AttachTargets::module_fd(const std::string& module) {
  if (module.empty()) return 0;  // the kernel's word for vmlinux
  auto known = modules_.find(module);
  if (known == modules_.end()) known = modules_.emplace(module, open_module_btf(module)).first;
  return known->second ? known->second.get() : -ESRCH;
}

int AttachTargets::prepare(bpf_program* program, bpf_prog_load_opts* options, long /*cookie*/) {
  if (current_ == nullptr) return -EINVAL;
  const std::string_view section = bpf_program__section_name(program);
  const bool tracepoint = bpf_program__expected_attach_type(program) == BPF_TRACE_RAW_TP;
  const auto target = current_->find_(std::string(section.substr(section.find('/') + 1)), tracepoint);
  if (!target) return -ESRCH;
  const int fd = current_->module_fd(target->module);
  if (fd < 0) return fd;
  options->attach_btf_id = target->id;
  options->attach_btf_obj_fd = static_cast<std::uint32_t>(fd);
  return 0;
}

int AttachTargets::attach(const bpf_program* program, long /*cookie*/, bpf_link** link) {
  *link = bpf_program__attach_trace(program);
  return *link == nullptr ? -errno : 0;
}

}  // namespace pathtrace
