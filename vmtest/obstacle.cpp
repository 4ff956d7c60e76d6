// SPDX-License-Identifier: GPL-2.0
// BPF for the VM tests: programs that drop every packet, before or after netfilter; and a list of what there
// is.
//
//   obstacle xdp IFACE        drops what comes in there, in the kernel's generic mode
//   obstacle egress CGROUP    drops what sockets of that cgroup send
//   obstacle ingress CGROUP   drops what they would receive
// Each prints READY once it is in place; it stays until the process ends.
//
//   obstacle objects          a line for each program, map and link of the kernel: its kind, type and name
//   obstacle key              how many rules hold nftables' trace key (nft_trace_enabled); 0 where nf_tables
//   is not loaded
//
// bpftool takes ten times as long for that: it loads programs of its own to say whose they are.
#include <elf.h>
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
#include <fstream>
#include <sstream>
#include <string>
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

// What bpf_map_info and bpf_prog_info have alike, and bpf_link_info as far as it goes.
template <typename Info>
void list(const char* kind, bpf_cmd next, bpf_cmd open) {
  bpf_attr id{};
  for (; bpf(next, id) == 0; id.start_id = id.next_id) {
    bpf_attr object{};
    object.prog_id = id.next_id;
    const int fd = bpf(open, object);
    if (fd < 0) continue;  // gone meanwhile
    Info info{};
    bpf_attr question{};
    question.info.bpf_fd = static_cast<std::uint32_t>(fd);
    question.info.info_len = sizeof info;
    question.info.info = reinterpret_cast<std::uint64_t>(&info);
    if (bpf(BPF_OBJ_GET_INFO_BY_FD, question) < 0) die(kind);
    if constexpr (requires { info.name; })
      std::printf("%s %u %.*s\n", kind, info.type, int{sizeof info.name}, info.name);
    else
      std::printf("%s %u\n", kind, info.type);
    close(fd);
  }
  if (errno != ENOENT) die(kind);
}

// Where the kernel has `symbol`; 0 if it hasn't.
std::uint64_t address_of(std::string_view symbol) {
  std::ifstream symbols("/proc/kallsyms");
  std::uint64_t address = 0;
  std::string type, name;
  for (std::string line; std::getline(symbols, line);) {
    if (line.find(symbol) == std::string::npos) continue;
    std::istringstream words(line);
    if (words >> std::hex >> address >> type >> name && name == symbol) return address;
  }
  return 0;
}

std::int32_t read_kernel(std::uint64_t address) {
  const int core = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
  Elf64_Ehdr header{};
  if (core < 0 || pread(core, &header, sizeof header, 0) != sizeof header) die("/proc/kcore");
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    const auto at = static_cast<off_t>(header.e_phoff + i * sizeof part);
    if (pread(core, &part, sizeof part, at) != sizeof part) die("/proc/kcore");
    if (part.p_type != PT_LOAD || address < part.p_vaddr || address - part.p_vaddr >= part.p_memsz) continue;
    std::int32_t value = 0;
    const auto place = static_cast<off_t>(part.p_offset + (address - part.p_vaddr));
    if (pread(core, &value, sizeof value, place) != sizeof value) die("/proc/kcore");
    return value;
  }
  errno = ENOENT;
  die("/proc/kcore has no such address");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == std::string_view("objects")) {
    list<bpf_prog_info>("prog", BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID);
    list<bpf_map_info>("map", BPF_MAP_GET_NEXT_ID, BPF_MAP_GET_FD_BY_ID);
    list<bpf_link_info>("link", BPF_LINK_GET_NEXT_ID, BPF_LINK_GET_FD_BY_ID);
    return 0;
  }
  if (argc == 2 && argv[1] == std::string_view("key")) {
    const std::uint64_t address = address_of("nft_trace_enabled");
    std::printf("%d\n", address == 0 ? 0 : read_kernel(address));
    return 0;
  }
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
    std::fputs("obstacle: xdp IFACE, egress CGROUP, ingress CGROUP, objects or key\n", stderr);
    return 2;
  }
  std::puts("READY");
  std::fflush(stdout);
  for (;;) pause();
}
