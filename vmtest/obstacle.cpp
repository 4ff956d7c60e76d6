// SPDX-License-Identifier: GPL-2.0
// Programs that drop every packet, for the VM tests: what loses packets before and after netfilter.
//
//   obstacle xdp IFACE        drops what comes in there, in the kernel's generic mode
//   obstacle egress CGROUP    drops what sockets of that cgroup send
//   obstacle ingress CGROUP   drops what they would receive
//
// Prints READY once it is in place; it stays until the process ends.
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "obstacle: %s: %s\n", what, std::strerror(errno));
  std::exit(2);
}

int bpf(bpf_cmd command, bpf_attr& attributes) {
  return static_cast<int>(syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

// r0 = verdict; exit
int load(bpf_prog_type type, bpf_attach_type attach_type, std::int32_t verdict) {
  bpf_insn code[2]{};
  code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  code[0].imm = verdict;
  code[1].code = BPF_JMP | BPF_EXIT;
  bpf_attr attributes{};
  attributes.prog_type = type;
  attributes.expected_attach_type = attach_type;
  attributes.insns = reinterpret_cast<std::uint64_t>(&code[0]);
  attributes.insn_cnt = 2;
  attributes.license = reinterpret_cast<std::uint64_t>("GPL");
  const int program = bpf(BPF_PROG_LOAD, attributes);
  if (program < 0) die("loading");
  return program;
}

void attach(int program, bpf_attach_type type, int target, std::uint32_t flags) {
  bpf_attr attributes{};
  attributes.link_create.prog_fd = static_cast<std::uint32_t>(program);
  attributes.link_create.target_fd = static_cast<std::uint32_t>(target);
  attributes.link_create.attach_type = type;
  attributes.link_create.flags = flags;
  if (bpf(BPF_LINK_CREATE, attributes) < 0) die("attaching");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view kind = argc == 3 ? argv[1] : "";
  if (kind == "xdp") {
    const auto interface = static_cast<int>(if_nametoindex(argv[2]));
    if (interface == 0) die(argv[2]);
    attach(load(BPF_PROG_TYPE_XDP, BPF_XDP, XDP_DROP), BPF_XDP, interface, XDP_FLAGS_SKB_MODE);
  } else if (kind == "egress" || kind == "ingress") {
    const auto type = kind == "egress" ? BPF_CGROUP_INET_EGRESS : BPF_CGROUP_INET_INGRESS;
    const int cgroup = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cgroup < 0) die(argv[2]);
    attach(load(BPF_PROG_TYPE_CGROUP_SKB, type, 0), type, cgroup, 0);
  } else {
    std::fputs("obstacle: xdp IFACE, egress CGROUP or ingress CGROUP\n", stderr);
    return 2;
  }
  std::puts("READY");
  std::fflush(stdout);
  for (;;) pause();
}
