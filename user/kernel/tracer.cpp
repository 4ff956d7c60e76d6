// SPDX-License-Identifier: GPL-2.0
#include "kernel/tracer.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "kernel/attach_targets.h"
#include "kernel/modules.h"
#include "kernel/probes.h"
#include "kernel/symbols.h"
#include "pathtrace.skel.h"
#include "pathtrace/event.h"
#include "pathtrace/table_index.h"

namespace pathtrace {

namespace {

constexpr int tries_of_new_module = 20;
constexpr std::uint32_t frames = 4;  // PT_FRAMES in bpf/lib/state.h

constexpr std::uint64_t never = ~std::uint64_t{0};

std::uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

struct CloseSkeleton {
  void operator()(pathtrace_bpf* skeleton) const { pathtrace_bpf__destroy(skeleton); }
};
using Skeleton = std::unique_ptr<pathtrace_bpf, CloseSkeleton>;

struct DestroyLink {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};
using Link = std::unique_ptr<bpf_link, DestroyLink>;

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
    libbpf_log() += text;
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

bool is_needed(const Probe& probe, const pt_filter& filter) {
  if (probe.family != 0 && filter.family != 0 && probe.family != filter.family) return false;
  return probe.protocol == 0 || filter.protocol == 0 || probe.protocol == filter.protocol;
}

// What one row of the table came to.
struct ProbeProgress {
  const Probe* probe = nullptr;
  bool attached = false;
  bool failed = false;   // not tried again
  bool untyped = false;  // its module is loaded, and the kernel has no type information of it
  int tries = 1;  // more for a module that comes later: it announces itself before it can be attached to
  std::string why;
  std::uint64_t attached_ns = 0;  // CLOCK_MONOTONIC
  std::string module;             // that it is attached to, and which load of it
  std::optional<std::uint64_t> load;
  std::string refusal;  // of the programs of first choice, where others are in use
};

struct Choice {
  ProbeProgress* progress = nullptr;
  std::vector<std::string> programs;

  // The same by kprobe, see bpf/lib/probe.h.
  [[nodiscard]] Choice by_kprobe() const {
    Choice result{progress, {}};
    for (const auto& name : programs) result.programs.push_back(name + "_kprobe");
    return result;
  }
};

class MapGenerations : public Generations {
 public:
  struct Map {
    int fd = -1;
    const std::uint32_t* full = nullptr;  // the programs' own: not 0 once a change found no room
  };
  // `tables_replaced` is the programs' own: 0 until the first legacy table is.
  void set_maps(const std::uint32_t* tables_replaced, const Map& legacy, const Map& nftables) {
    tables_replaced_ = tables_replaced;
    legacy_ = legacy;
    nftables_ = nftables;
  }
  void set_attached(bool legacy, bool nftables) {
    legacy_attached_ = legacy;
    nftables_attached_ = nftables;
  }
  pt_generation legacy(std::uint64_t table) override {
    // asked for every walk: most hosts replace no table, and need no system call to know it
    if (legacy_attached_ && __atomic_load_n(tables_replaced_, __ATOMIC_ACQUIRE) == 0) return {};
    return read(legacy_, &table, legacy_attached_);
  }
  pt_generation nftables(std::uint32_t netns_inode) override {
    return read(nftables_, &netns_inode, nftables_attached_);
  }

 private:
  static pt_generation read(const Map& map, const void* key, bool attached) {
    pt_generation generation{};
    if (attached && bpf_map_lookup_elem(map.fd, key, &generation) == 0) return generation;
    generation = {};
    // nobody counts, or not all: nothing can be tied to a ruleset
    if (!attached || __atomic_load_n(map.full, __ATOMIC_ACQUIRE) != 0) generation.changed_ns = never;
    return generation;
  }
  const std::uint32_t* tables_replaced_ = nullptr;
  Map legacy_;
  Map nftables_;
  bool legacy_attached_ = false;
  bool nftables_attached_ = false;
};

}  // namespace

struct Tracer::State {
  TracerOptions options;
  std::optional<KernelBtf> btf;
  std::vector<ProbeProgress> progress;
  std::vector<Skeleton> skeletons;  // the first one made the maps that all share
  std::vector<Link> links;
  std::optional<TraceKey> trace_key;
  std::optional<std::string> without_key;  // why it is not held, once that is settled
  int key_tries = 1;
  MapGenerations generations;
  TableIndexes table_indexes;
  std::uint64_t per_cpu_offset_table = 0;
  std::uint64_t xt_recseq = 0;
  bool addresses_hidden = false;
  std::string first_error;
  bool no_memory = false;  // for the maps
  std::string first_log;
  LostCounts lost{};

  void settle_trace_key();
  std::optional<std::string> reason_against_trace_key();
  bool in_use(const ProbeProgress& row) const;
  std::optional<KernelFunction> function_of(const Probe& probe);
  void explain_absence(ProbeProgress& row);
  std::vector<Choice> choose();
  std::optional<AttachTarget> attach_target(const std::string& name, bool tracepoint);
  bool configure(pathtrace_bpf* skeleton);
  int load_and_attach(const std::vector<Choice>& choices);
  void attach_in_parts(const std::vector<Choice>& choices);
  void attach_all(const std::vector<Choice>& choices);
  bool attach(pathtrace_bpf* skeleton, const Choice& choice, std::vector<Link>& made);
  bool attach_new();
  bool note_reloads();
  bool give_up_trace_key();
  void after_attach();
  bool is_attached(std::string_view name) const;
  Error nothing_attached() const;
};

Tracer::Tracer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tracer::Tracer(Tracer&&) noexcept = default;
Tracer& Tracer::operator=(Tracer&&) noexcept = default;
Tracer::~Tracer() = default;

std::optional<std::string> Tracer::State::reason_against_trace_key() {
  if (options.trace_key == TraceKeyUse::always) return std::nullopt;
  if (options.trace_key == TraceKeyUse::never) return "--no-trace-key";
  const TraceKeyFacts facts{btf->has_member("nft_traceinfo", "skbid", "nf_tables"),
                            btf->function("__skb_get_hash_net", "").has_value()};
  const std::string hazard = trace_key_hazard(facts);
  return hazard.empty() ? std::nullopt : std::optional(hazard);
}

// Once nf_tables is there: it is never loaded for this. While it is being loaded, it takes no rule yet.
void Tracer::State::settle_trace_key() {
  if (trace_key || without_key) return;
  if (!btf->function("nft_do_chain", "nf_tables")) {
    key_tries = tries_of_new_module;
    return;
  }
  without_key = reason_against_trace_key();
  if (without_key) return;
  auto key = TraceKey::hold();
  if (key)
    trace_key = std::move(*key);
  else if (--key_tries <= 0)
    without_key = key.error().message;
}

bool Tracer::State::in_use(const ProbeProgress& row) const {
  switch (row.probe->key) {
    case TraceKeyNeed::held:
      return !without_key;
    case TraceKeyNeed::not_held:
      return without_key.has_value();
    case TraceKeyNeed::either:
      break;
  }
  return true;
}

std::optional<KernelFunction> Tracer::State::function_of(const Probe& probe) {
  auto function = btf->function(std::string(probe.function), std::string(probe.module));
  if (!function && !probe.older_module.empty())
    function = btf->function(std::string(probe.function), std::string(probe.older_module));
  return function;
}

// Its function is not in any type information.
void Tracer::State::explain_absence(ProbeProgress& row) {
  const Probe& probe = *row.probe;
  row.tries = tries_of_new_module;
  row.untyped = false;
  for (const std::string_view name : {probe.older_module, probe.module}) {
    const std::string module(name);
    if (!loaded_module(module) || btf->has_types(module)) continue;
    row.untyped = true;
    row.why = fmt::format(
        "module {} is loaded, and this kernel has no type information of its modules "
        "(CONFIG_DEBUG_INFO_BTF_MODULES, since 5.11; /sys/kernel/btf/{})",
        module, module);
    return;
  }
  row.why = probe.module.empty() ? fmt::format("this kernel has no {}", probe.function)
                                 : fmt::format("module {} is not loaded", probe.module);
}

// The programs for every probe that is not attached yet and could be.
std::vector<Choice> Tracer::State::choose() {
  std::vector<Choice> choices;
  for (auto& row : progress) {
    const Probe& probe = *row.probe;
    if (row.attached || row.failed) continue;
    std::optional<int> parameters;
    std::string last_parameter;
    if (probe.tracepoint) {
      if (auto tracepoint = btf->tracepoint(std::string(probe.function))) parameters = tracepoint->arguments;
    } else if (auto function = function_of(probe)) {
      parameters = function->parameters;
      last_parameter = function->last_parameter;
    }
    if (!parameters) {
      explain_absence(row);
      continue;
    }
    row.untyped = false;
    if (!in_use(row)) continue;
    const auto variant =
        std::find_if(probe.variants.begin(), probe.variants.end(), [&](const ProbeVariant& v) {
          return (v.parameters == any_parameters || v.parameters == *parameters) &&
                 (v.last_parameter.empty() || v.last_parameter == last_parameter);
        });
    if (variant == probe.variants.end()) {
      row.why = fmt::format("{} has {} parameters on this kernel, which no program fits", probe.function,
                            *parameters);
      row.failed = true;
      continue;
    }
    if (probe.fentry_only && !options.fentry) {
      row.why = "its programs exist by fentry only (--no-fentry)";
      row.failed = true;
      continue;
    }
    Choice choice{&row, {variant->programs.begin(), variant->programs.end()}};
    choices.push_back(options.fentry && !probe.kprobe_only ? choice : choice.by_kprobe());
  }
  return choices;
}

// Of a program whose section names it.
std::optional<AttachTarget> Tracer::State::attach_target(const std::string& name, bool tracepoint) {
  if (tracepoint) {
    const auto found = btf->tracepoint(name);
    return found ? std::optional(AttachTarget{found->id, {}}) : std::nullopt;
  }
  const auto row = std::find_if(progress.begin(), progress.end(),
                                [&](const ProbeProgress& p) { return p.probe->function == name; });
  // a program may be for a function besides that of its probe; those are built in
  const auto found = row == progress.end() ? btf->function(name, "") : function_of(*row->probe);
  return found ? std::optional(AttachTarget{found->id, found->module}) : std::nullopt;
}

// Constants and map sizes, before the load; a later skeleton takes over the first one's maps.
bool Tracer::State::configure(pathtrace_bpf* skeleton) {
  bpf_map* map = nullptr;
  if (!skeletons.empty()) {
    bpf_object* first = skeletons.front()->obj;
    bpf_object__for_each_map(map, skeleton->obj) {
      const bpf_map* shared = bpf_object__find_map_by_name(first, bpf_map__name(map));
      if (shared == nullptr || bpf_map__reuse_fd(map, bpf_map__fd(shared)) != 0) return false;
    }
    return true;
  }
  const int cpus = libbpf_num_possible_cpus();
  const std::uint32_t possible = cpus > 0 ? static_cast<std::uint32_t>(cpus) : 1;
  const std::uint32_t blocks = (options.max_rules + PT_COUNTERS_PER_BLOCK - 1) / PT_COUNTERS_PER_BLOCK;
  std::memcpy(const_cast<pt_filter*>(&skeleton->rodata->filter), &options.filter, sizeof(options.filter));
  const auto tests = port_tests(options.filter);
  std::copy(tests.begin(), tests.end(), const_cast<pt_port_test*>(skeleton->rodata->port_tests));
  skeleton->rodata->direct_loads = options.fentry && btf->function("bpf_rdonly_cast", "").has_value();
  skeleton->rodata->possible_cpus = possible;
  skeleton->rodata->max_blocks = blocks;
  skeleton->rodata->per_cpu_offset_table = per_cpu_offset_table;
  return bpf_map__set_max_entries(skeleton->maps.snapshots, possible * frames * (blocks + 1)) == 0 &&
         bpf_map__set_max_entries(skeleton->maps.events, options.buffer_bytes) == 0;
}

bool Tracer::State::attach(pathtrace_bpf* skeleton, const Choice& choice, std::vector<Link>& made) {
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
int Tracer::State::load_and_attach(const std::vector<Choice>& choices) {
  libbpf_log().clear();
  const AttachTargets targets(
      [this](const std::string& name, bool tracepoint) { return attach_target(name, tracepoint); });
  Skeleton skeleton(pathtrace_bpf__open());
  if (!skeleton || !configure(skeleton.get())) {
    const int error = errno == 0 ? EINVAL : errno;
    if (first_error.empty())
      first_error = fmt::format("the BPF object can't be opened: {}", std::strerror(error));
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
    no_memory = no_memory || error == -ENOMEM;
    if (first_error.empty()) {
      first_error = std::strerror(-error);
      first_log = libbpf_log();
    }
    return error;
  }
  const bool is_first = skeletons.empty();
  if (is_first) {
    table_indexes.set_maps(bpf_map__fd(skeleton->maps.table_indexes),
                           bpf_map__fd(skeleton->maps.index_prefixes));
    const auto* shared = skeleton->bss;
    generations.set_maps(&shared->tables_replaced,
                         {bpf_map__fd(skeleton->maps.legacy_generations), &shared->generations_full},
                         {bpf_map__fd(skeleton->maps.nft_generations), &shared->nft_generations_full});
  }
  skeletons.push_back(std::move(skeleton));
  for (const auto& choice : choices) {
    std::vector<Link> made;
    Choice exit_first = choice;
    std::reverse(exit_first.programs.begin(), exit_first.programs.end());
    choice.progress->attached = attach(skeletons.back().get(), exit_first, made);
    if (!choice.progress->attached) {
      if (first_error.empty()) first_error = choice.progress->why;
      continue;
    }
    choice.progress->why.clear();
    choice.progress->attached_ns = monotonic_ns();
    const auto function = function_of(*choice.progress->probe);
    choice.progress->module = function ? function->module : "";
    choice.progress->load = loaded_module(choice.progress->module);
    for (auto& link : made) links.push_back(std::move(link));
  }
  return 0;
}

// One object for all is quickest. Where one of its programs is refused, halves are tried, so that it takes no
// other with it. Who may load none at all (lockdown) is told so for the first.
void Tracer::State::attach_in_parts(const std::vector<Choice>& choices) {
  if (choices.empty()) return;
  const int error = load_and_attach(choices);
  if (error == 0 || error == -EPERM || choices.size() == 1) return;
  const auto middle = choices.begin() + static_cast<std::ptrdiff_t>(choices.size() / 2);
  attach_in_parts({choices.begin(), middle});
  attach_in_parts({middle, choices.end()});
}

// What can't be attached as it is preferred is tried by kprobe.
void Tracer::State::attach_all(const std::vector<Choice>& choices) {
  attach_in_parts(choices);
  std::vector<Choice> by_kprobe;
  std::map<ProbeProgress*, std::string> refusals;
  for (const auto& choice : choices) {
    if (choice.progress->attached || !options.fentry || !choice.progress->probe->has_both()) continue;
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

bool Tracer::State::is_attached(std::string_view name) const {
  return std::any_of(progress.begin(), progress.end(),
                     [&](const ProbeProgress& p) { return p.probe->name == name && p.attached; });
}

void Tracer::State::after_attach() {
  generations.set_attached(is_attached("iptables changes"), is_attached("nftables changes"));
  if (!skeletons.empty() && skeletons.front()->bss->xt_recseq_cookie == 0 &&
      (is_attached("iptables") || is_attached("ip6tables") || is_attached("arptables"))) {
    if (xt_recseq == 0) xt_recseq = symbol_addresses({"xt_recseq"})[0];
    skeletons.front()->bss->xt_recseq_cookie = xt_recseq;
  }
}

Error Tracer::State::nothing_attached() const {
  if (no_memory)
    return {ExitStatus::failure,
            fmt::format("the kernel has no memory for its share of the trace; choose a smaller --buffer than "
                        "{} bytes, or "
                        "--max-rules than {}",
                        options.buffer_bytes, options.max_rules),
            first_log};
  return {ExitStatus::unsupported,
          fmt::format(
              "this kernel refuses tracing programs ({}{}). `vmtest/demo` shows pathtrace on a kernel of its "
              "own, in QEMU",
              first_error, lockdown()),
          first_log};
}

Result<Tracer> Tracer::start(const TracerOptions& options) {
  libbpf_set_print(collect_libbpf);
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  auto state = std::make_unique<State>();
  state->options = options;
  auto btf = KernelBtf::load();
  if (!btf) return btf.error();
  state->btf = std::move(*btf);
  // one pass over kallsyms for all; xt_recseq is there once x_tables is loaded
  const auto symbols = symbol_addresses({"__per_cpu_offset", "xt_recseq", "_stext"});
  state->per_cpu_offset_table = symbols[0];
  state->xt_recseq = symbols[1];
  state->addresses_hidden = symbols[2] == 0;
  for (const auto& probe : probe_table())
    if (is_needed(probe, options.filter)) state->progress.push_back({.probe = &probe});

  Tracer tracer(std::move(state));
  tracer.attach_new();
  // Tracepoints alone, which even a kernel without kprobes may allow, name no rule and no reset.
  const auto& progress = tracer.state_->progress;
  if (std::none_of(progress.begin(), progress.end(),
                   [](const ProbeProgress& p) { return p.attached && !p.probe->tracepoint; }))
    return tracer.state_->nothing_attached();
  return tracer;
}

// A module stays as long as a program is attached to it by fentry (bpf_tracing_prog_attach() holds its BTF's
// module). By kprobe, the module goes and its probes with it (kprobes_module_callback()), which nobody is
// told. What was read of its tables, and where they are, holds no longer: it isn't attached to again.
bool Tracer::State::note_reloads() {
  bool any = false;
  for (auto& row : progress) {
    const auto load = row.attached ? loaded_module(row.module) : std::nullopt;
    if (!load || load == row.load) continue;
    row.attached = false;
    row.failed = true;
    row.why = fmt::format("module {} was unloaded and loaded again; start pathtrace anew to have it traced",
                          row.module);
    any = true;
  }
  return any;
}

bool Tracer::State::attach_new() {
  if (note_reloads()) after_attach();
  settle_trace_key();
  auto choices = choose();
  if (choices.empty()) return false;
  attach_all(choices);
  after_attach();
  return std::any_of(choices.begin(), choices.end(), [](const Choice& c) { return c.progress->attached; });
}

// Where the trace records can't be had, the key is of no use.
bool Tracer::State::give_up_trace_key() {
  const auto row = std::find_if(progress.begin(), progress.end(), [](const ProbeProgress& p) {
    return p.probe->name == "nftables" && p.failed;
  });
  if (!trace_key || row == progress.end()) return false;
  trace_key.reset();
  without_key = row->why;
  return true;
}

bool Tracer::attach_new() {
  const bool attached = state_->attach_new();
  return (state_->give_up_trace_key() && state_->attach_new()) || attached;
}

void Tracer::detach() { state_->links.clear(); }

std::vector<ProbeStatus> Tracer::probes() const {
  std::vector<ProbeStatus> result;
  for (const auto& p : state_->progress) {
    if (!state_->in_use(p)) continue;
    ProbeStatus status{
        std::string(p.probe->name), p.attached ? ProbeState::attached : ProbeState::unavailable, {}, {}};
    if (!p.attached) {
      status.why = p.why;
      status.lost = std::string(p.probe->lost);
    }
    result.push_back(std::move(status));
  }
  return result;
}

std::vector<std::string> Tracer::shortcomings() const {
  std::vector<std::string> lines;
  for (const auto& p : state_->progress)
    if (!p.attached && state_->in_use(p) && (p.failed || p.untyped || p.probe->module.empty()))
      lines.push_back(fmt::format("{}: {}", p.probe->lost, p.why));
  if (state_->addresses_hidden)
    lines.emplace_back(
        "iptables-legacy rule numbers and text, and which functions drop packets or reset connections: "
        "/proc/kallsyms shows no addresses, not even to root (kernel.kptr_restrict is 2); `sysctl "
        "kernel.kptr_restrict=1` before the trace lets root see them");
  return lines;
}

std::optional<std::string> Tracer::without_trace_key() const { return state_->without_key; }

std::map<std::string, std::uint64_t, std::less<>> Tracer::watched_expressions() const {
  std::map<std::string, std::uint64_t, std::less<>> watched;
  for (const auto& p : state_->progress)
    for (const auto& expression : p.probe->expressions) {
      auto& since = watched[std::string(expression)];
      since = std::max(since, p.attached ? p.attached_ns : never);
    }
  std::erase_if(watched, [](const auto& one) { return one.second == never; });
  return watched;
}

std::vector<std::string> Tracer::watched() const {
  std::vector<std::string> lines;
  for (const auto& p : state_->progress)
    if (p.attached && state_->in_use(p) && (p.probe->key != TraceKeyNeed::held || state_->trace_key))
      lines.emplace_back(p.probe->lost);
  return lines;
}

std::vector<std::string> Tracer::details() const {
  std::vector<std::string> lines;
  for (const auto& p : state_->progress) {
    if (!p.attached || !state_->in_use(p)) continue;
    const bool by_kprobe = p.probe->kprobe_only || !state_->options.fentry || !p.refusal.empty();
    const char* usual = p.probe->tracepoint ? "tracepoint" : "fentry";
    const char* other = p.probe->tracepoint ? "raw tracepoint" : "kprobe";
    lines.push_back(fmt::format("{}: {}, by {}{}", p.probe->name, p.probe->function,
                                by_kprobe ? other : usual,
                                p.refusal.empty() ? "" : fmt::format("; {}: {}", usual, p.refusal)));
  }
  return lines;
}

int Tracer::events_fd() const { return bpf_map__fd(state_->skeletons.front()->maps.events); }

LostCounts Tracer::lost() const {
  LostCounts& known = state_->lost;
  const int map = bpf_map__fd(state_->skeletons.front()->maps.lost_events);
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

std::uint64_t Tracer::left_out() const {
  std::uint64_t sum = 0;
  for (const auto& skeleton : state_->skeletons) {
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

Generations& Tracer::generations() { return state_->generations; }
TableIndexes& Tracer::table_indexes() { return state_->table_indexes; }
const KernelBtf& Tracer::btf() const { return *state_->btf; }

}  // namespace pathtrace
