// SPDX-License-Identifier: GPL-2.0
// Tells libbpf what fentry, fexit and BTF tracepoint programs are attached to, while it exists. By itself
// libbpf compares the name with that of every type of the kernel and of every module, for each program
// anew: most of the time that a start took.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "support/fd.h"

struct bpf_link;
struct bpf_prog_load_opts;
struct bpf_program;

namespace pathtrace {

struct AttachTarget {
  std::uint32_t id = 0;  // of the BTF type
  std::string module;    // that has it; "" = vmlinux
};

class AttachTargets {
 public:
  // `find` is asked by the name of a function, or of a tracepoint if `tracepoint`.
  using Find = std::function<std::optional<AttachTarget>(const std::string& name, bool tracepoint)>;

  // To be made before the object is opened and kept until its programs are attached. One at a time: libbpf's
  // handlers are the whole process's. Where it takes none, it searches as ever.
  explicit AttachTargets(Find find);
  AttachTargets(const AttachTargets&) = delete;
  AttachTargets& operator=(const AttachTargets&) = delete;
  ~AttachTargets();

 private:
  static void register_handlers();
  static int prepare(bpf_program* program, bpf_prog_load_opts* options, long cookie);
  static int attach(const bpf_program* program, long cookie, bpf_link** link);
  int module_fd(const std::string& module);

  static AttachTargets* current_;
  Find find_;
  std::map<std::string, Fd> modules_;  // their BTF; a program is loaded with it
};

}  // namespace pathtrace
