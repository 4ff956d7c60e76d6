// SPDX-License-Identifier: GPL-2.0
#include "kernel/programs.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "kernel/attach_targets.h"
#include "kernel/modules.h"
#include "pathtrace.skel.h"
#include "pathtrace/event.h"
#include "pathtrace/table_index.h"

namespace pathtrace {

namespace {

constexpr std::uint32_t frames = 4;  // PT_FRAMES in bpf/lib/state.h

std::uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

// libbpf's own words about the load under way.
std::string& libbpf_log() {
  static std::string log;
  return log;
}

int collect_libbpf(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  va_list again;
  va_copy(again, arguments);
  const int length = vsnprintf(nullptr, 0, format, arguments);
  if (length > 0) {
    std::string text(static_cast<std::size_t>(length) + 1, '\0');  // a verifier log may be long
    vsnprintf(text.data(), text.size(), format, again);
    text.pop_back();
    // pr_perm_msg() guesses so at any EPERM; a kernel since 5.11 doesn't charge BPF to that limit.
    if (text.find("'ulimit -l'") == std::string::npos) libbpf_log() += text;
  }
  va_end(again);
  return 0;
}

// What the verifier gave as its reason: the line before its statistics.
std::string verifier_reason(const std::string& log) {
  const auto statistics = log.find("\nprocessed ");
  if (statistics == std::string::npos) return {};
  const auto before = log.rfind('\n', statistics - 1);
  const auto begin = before == std::string::npos ? 0 : before + 1;
  return log.substr(begin, statistics - begin);
}

// Nearly all programs of ours do, by this helper, which a kernel that is locked down doesn't have
// (bpf_base_func_proto(), 6.1): EINVAL. Any other refusal says nothing about them.
bool may_read_kernel_memory() {
  const auto instruction = [](int code, int destination, int source, std::int32_t value) {
    bpf_insn made{};
    made.code = static_cast<std::uint8_t>(code);
    made.dst_reg = static_cast<std::uint8_t>(destination & 0xf);
    made.src_reg = static_cast<std::uint8_t>(source & 0xf);
    made.imm = value;
    return made;
  };
  constexpr int word = 8;  // into the stack, from nowhere
  const std::array code = {
      instruction(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_10, 0),
      instruction(BPF_ALU64 | BPF_ADD, BPF_REG_1, 0, -word),
      instruction(BPF_ALU64 | BPF_MOV, BPF_REG_2, 0, word),
      instruction(BPF_ALU64 | BPF_MOV, BPF_REG_3, 0, 0),
      instruction(BPF_JMP | BPF_CALL, 0, 0, BPF_FUNC_probe_read_kernel),
      instruction(BPF_ALU64 | BPF_MOV, BPF_REG_0, 0, 0),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0),
  };
  const int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "may_read", "GPL", code.data(), code.size(), nullptr);
  if (fd < 0) return errno != EINVAL;
  ::close(fd);
  return true;
}

// Why a kernel refuses what it can do, where an administrator or Secure Boot asked for it:
// security/lockdown/.
std::string lockdown() {
  std::ifstream file("/sys/kernel/security/lockdown");
  std::string modes;
  std::getline(file, modes);
  return modes.find("[confidentiality]") == std::string::npos
             ? ""
             : "; it is locked down (confidentiality), which keeps programs from reading its memory";
}

// For the hot path: a packet's ports in its own direction, and in that of its answer.
std::array<pt_port_test, 2> port_tests(const pt_filter& filter) {
  const auto test = [](std::uint16_t source, std::uint16_t destination) {
    const auto word = [](std::uint16_t low, std::uint16_t high) {
      return static_cast<std::uint64_t>(low) << 32 | static_cast<std::uint64_t>(high) << 48;
    };
    return pt_port_test{word(source ? 0xffff : 0, destination ? 0xffff : 0),
                        word(htons(source), htons(destination))};
  };
  if (filter.sport != 0 || filter.dport != 0)
    return {test(filter.sport, filter.dport), test(filter.dport, filter.sport)};
  return {test(filter.port, 0), test(0, filter.port)};
}

}  // namespace

void Programs::CloseSkeleton::operator()(pathtrace_bpf* skeleton) const { pathtrace_bpf__destroy(skeleton); }

void Programs::DestroyLink::operator()(bpf_link* link) const { bpf_link__destroy(link); }

Programs::Programs(const ProgramConstants& constants, std::vector<ProbeProgress>& rows, KernelBtf& btf)
    : constants_(constants), rows_(rows), btf_(btf) {
  libbpf_set_print(collect_libbpf);
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
}

Programs::~Programs() = default;

// Constants and map sizes, before the load; a later skeleton takes over the first one's maps.
bool Programs::configure(pathtrace_bpf* skeleton) {
  bpf_map* map = nullptr;
  if (!skeletons_.empty()) {
    bpf_object* first = skeletons_.front()->obj;
    bpf_object__for_each_map(map, skeleton->obj) {
      const bpf_map* shared = bpf_object__find_map_by_name(first, bpf_map__name(map));
      if (shared == nullptr || bpf_map__reuse_fd(map, bpf_map__fd(shared)) != 0) return false;
    }
    return true;
  }
  const int cpus = libbpf_num_possible_cpus();
  const std::uint32_t possible = cpus > 0 ? static_cast<std::uint32_t>(cpus) : 1;
  const std::uint32_t blocks = (constants_.max_rules + PT_COUNTERS_PER_BLOCK - 1) / PT_COUNTERS_PER_BLOCK;
  std::memcpy(const_cast<pt_filter*>(&skeleton->rodata->filter), &constants_.filter,
              sizeof(constants_.filter));
  const auto tests = port_tests(constants_.filter);
  std::copy(tests.begin(), tests.end(), const_cast<pt_port_test*>(skeleton->rodata->port_tests));
  skeleton->rodata->direct_loads = constants_.fentry && btf_.function("bpf_rdonly_cast", "").has_value();
  skeleton->rodata->possible_cpus = possible;
  skeleton->rodata->max_blocks = blocks;
  skeleton->bss->per_cpu_offset_table = constants_.legacy.per_cpu_offset_table;
  skeleton->bss->xt_recseq_cookie = constants_.legacy.xt_recseq;
  return bpf_map__set_max_entries(skeleton->maps.snapshots, possible * frames * (blocks + 1)) == 0 &&
         bpf_map__set_max_entries(skeleton->maps.events, constants_.buffer_bytes) == 0;
}

bool Programs::attach_one(pathtrace_bpf* skeleton, const Choice& choice, std::vector<Link>& made) {
  for (const auto& name : choice.programs) {
    bpf_program* program = bpf_object__find_program_by_name(skeleton->obj, name.c_str());
    bpf_link* link = program == nullptr ? nullptr : bpf_program__attach(program);
    if (link == nullptr) {
      choice.progress->why =
          fmt::format("attaching to {} failed: {}", choice.progress->probe->function, std::strerror(errno));
      return false;
    }
    made.emplace_back(link);
  }
  return true;
}

// All of `choices` in one object; a negative errno if it can't be loaded. Where a probe has two programs, the
// exit one is attached first: an exit without its entry is ignored, the other way round isn't.
int Programs::load_and_attach(const std::vector<Choice>& choices) {
  libbpf_log().clear();
  const AttachTargets targets([this](const std::string& name, bool tracepoint) {
    return attach_target(rows_, btf_, name, tracepoint);
  });
  Skeleton skeleton(pathtrace_bpf__open());
  if (!skeleton || !configure(skeleton.get())) {
    const int error = errno == 0 ? EINVAL : errno;
    if (first_error_.empty())
      first_error_ = fmt::format("the BPF object can't be opened: {}", std::strerror(error));
    return -error;
  }
  std::set<std::string, std::less<>> wanted;
  for (const auto& choice : choices) wanted.insert(choice.programs.begin(), choice.programs.end());
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton->obj)
      bpf_program__set_autoload(program, wanted.count(bpf_program__name(program)) != 0);
  if (const int error = pathtrace_bpf__load(skeleton.get()); error != 0) {
    const std::string reason = verifier_reason(libbpf_log());
    for (const auto& choice : choices)
      choice.progress->why =
          fmt::format("loading failed: {}{}{}", std::strerror(-error), reason.empty() ? "" : ": ", reason);
    no_memory_ = no_memory_ || error == -ENOMEM;
    if (first_error_.empty()) {
      first_error_ = std::strerror(-error);
      first_log_ = libbpf_log();
    }
    return error;
  }
  const bool is_first = skeletons_.empty();
  if (is_first) {
    table_indexes_.set_maps(bpf_map__fd(skeleton->maps.table_indexes),
                            bpf_map__fd(skeleton->maps.index_prefixes));
    const auto* shared = skeleton->bss;
    generations_.set_maps(&shared->tables_replaced,
                          {bpf_map__fd(skeleton->maps.legacy_generations), &shared->generations_full},
                          {bpf_map__fd(skeleton->maps.nft_generations), &shared->nft_generations_full});
  }
  skeletons_.push_back(std::move(skeleton));
  for (const auto& choice : choices) {
    std::vector<Link> made;
    Choice exit_first = choice;
    std::reverse(exit_first.programs.begin(), exit_first.programs.end());
    choice.progress->attached = attach_one(skeletons_.back().get(), exit_first, made);
    if (!choice.progress->attached) {
      if (first_error_.empty()) first_error_ = choice.progress->why;
      continue;
    }
    choice.progress->why.clear();
    choice.progress->attached_ns = monotonic_ns();
    const auto function = function_of(btf_, *choice.progress->probe);
    choice.progress->module = function ? function->module : "";
    choice.progress->load = loaded_module(choice.progress->module);
    for (auto& link : made) links_.push_back(std::move(link));
  }
  return 0;
}

// One object for all is quickest. Where one of its programs is refused, halves are tried, so that it takes no
// other with it. Who may load none at all is told so for the first.
void Programs::attach_in_parts(const std::vector<Choice>& choices) {
  if (choices.empty() || none_can_load_) return;
  const int error = load_and_attach(choices);
  if (error == 0) return;
  none_can_load_ = skeletons_.empty() && !may_read_kernel_memory();
  if (none_can_load_ || error == -EPERM || choices.size() == 1) return;
  const auto middle = choices.begin() + static_cast<std::ptrdiff_t>(choices.size() / 2);
  attach_in_parts({choices.begin(), middle});
  attach_in_parts({middle, choices.end()});
}

// What can't be attached as it is preferred is tried by kprobe.
void Programs::attach(const std::vector<Choice>& choices) {
  attach_in_parts(choices);
  std::vector<Choice> by_kprobe;
  std::map<ProbeProgress*, std::string> refusals;
  for (const auto& choice : choices) {
    if (choice.progress->attached || choice.kprobe || !choice.progress->probe->has_both()) continue;
    by_kprobe.push_back(choice.by_kprobe());
    refusals[choice.progress] = choice.progress->why;
  }
  attach_in_parts(by_kprobe);
  for (const auto& choice : choices) {
    ProbeProgress& row = *choice.progress;
    const auto refusal = refusals.find(&row);
    if (refusal != refusals.end()) (row.attached ? row.refusal : row.why) = refusal->second;
    if (!row.attached) row.failed = --row.tries <= 0;
  }
}

void Programs::detach() { links_.clear(); }

Error Programs::refusal() const {
  if (no_memory_)
    return {ExitStatus::failure,
            fmt::format("the kernel has no memory for its share of the trace; choose a smaller --buffer than "
                        "{} bytes, or "
                        "--max-rules than {}",
                        constants_.buffer_bytes, constants_.max_rules),
            first_log_};
  return {ExitStatus::unsupported,
          fmt::format(
              "this kernel refuses tracing programs ({}{}). `vmtest/demo` shows pathtrace on a kernel of its "
              "own, in QEMU",
              first_error_, lockdown()),
          first_log_};
}

int Programs::events_fd() const { return bpf_map__fd(skeletons_.front()->maps.events); }

bool Programs::knows_legacy_addresses() const { return skeletons_.front()->bss->xt_recseq_cookie != 0; }

void Programs::set(const LegacyAddresses& addresses) {
  auto* shared = skeletons_.front()->bss;
  shared->per_cpu_offset_table = addresses.per_cpu_offset_table;
  shared->xt_recseq_cookie = addresses.xt_recseq;
}

LostCounts Programs::lost() {
  LostCounts& known = lost_;
  const int map = bpf_map__fd(skeletons_.front()->maps.lost_events);
  const int cpus = libbpf_num_possible_cpus();
  std::vector<std::uint64_t> values(cpus > 0 ? static_cast<std::size_t>(cpus) : 1);
  const auto read = [&](std::uint32_t kind) {
    if (bpf_map_lookup_elem(map, &kind, values.data()) != 0) return known.at(kind);
    return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
  };
  // the sum is raised before its kind is: both are read until they agree
  known[0] = read(0);
  if (known[0] != std::accumulate(known.begin() + 1, known.end(), std::uint64_t{0}))
    for (std::uint32_t kind = 1; kind < known.size(); ++kind) known.at(kind) = read(kind);
  return known;
}

std::uint64_t Programs::left_out() const {
  std::uint64_t sum = 0;
  for (const auto& skeleton : skeletons_) {
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, skeleton->obj) {
      bpf_prog_info info{};
      std::uint32_t size = sizeof info;
      const int fd = bpf_program__fd(program);
      if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0) sum += info.recursion_misses;
    }
  }
  return sum;
}

}  // namespace pathtrace
