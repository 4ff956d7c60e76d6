// SPDX-License-Identifier: GPL-2.0
#include "kernel/tracer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "kernel/modules.h"
#include "kernel/probe_choice.h"
#include "kernel/programs.h"
#include "kernel/symbols.h"

namespace pathtrace {

namespace {

constexpr std::uint64_t never = ~std::uint64_t{0};

// One pass over the whole of kallsyms: modules come last.
LegacyAddresses legacy_addresses() {
  const auto symbols = symbol_addresses({"__per_cpu_offset", "xt_recseq"});
  return {symbols[0], symbols[1]};
}

}  // namespace

struct Tracer::State {
  State(const TracerOptions& tracer_options, KernelBtf kernel_btf, const ProgramConstants& constants)
      : options(tracer_options),
        btf(std::move(kernel_btf)),
        progress(needed_probes(options.filter)),
        programs(constants, progress, btf) {}

  TracerOptions options;
  KernelBtf btf;
  std::vector<ProbeProgress> progress;
  Programs programs;
  std::optional<TraceKey> trace_key;
  std::optional<std::string> without_key;  // why it is not held, once that is settled
  int key_tries = 1;
  LegacyAddresses legacy;
  bool addresses_hidden = false;

  void settle_trace_key();
  std::optional<std::string> reason_against_trace_key();
  [[nodiscard]] bool in_use(const ProbeProgress& row) const {
    return is_in_use(*row.probe, without_key.has_value());
  }
  bool attach_new();
  bool note_reloads();
  bool give_up_trace_key();
  void after_attach();
  [[nodiscard]] bool is_attached(std::string_view name) const;
};

Tracer::Tracer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tracer::Tracer(Tracer&&) noexcept = default;
Tracer& Tracer::operator=(Tracer&&) noexcept = default;
Tracer::~Tracer() = default;

std::optional<std::string> Tracer::State::reason_against_trace_key() {
  if (options.trace_key == TraceKeyUse::always) return std::nullopt;
  if (options.trace_key == TraceKeyUse::never) return "--no-trace-key";
  const TraceKeyFacts facts{btf.has_member("nft_traceinfo", "skbid", "nf_tables"),
                            btf.function("__skb_get_hash_net", "").has_value()};
  const std::string hazard = trace_key_hazard(facts);
  return hazard.empty() ? std::nullopt : std::optional(hazard);
}

// Once nf_tables is there: it is never loaded for this. While it is being loaded, it takes no rule yet.
void Tracer::State::settle_trace_key() {
  if (trace_key || without_key) return;
  if (!btf.function("nft_do_chain", "nf_tables")) {
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

bool Tracer::State::is_attached(std::string_view name) const {
  return std::any_of(progress.begin(), progress.end(),
                     [&](const ProbeProgress& p) { return p.probe->name == name && p.attached; });
}

void Tracer::State::after_attach() {
  programs.generations().set_attached(
      is_attached("iptables changes") &&
          (is_attached("iptables tables that end") || is_attached("iptables tables that end (7.2)")),
      is_attached("nftables changes"));
  if (programs.any_loaded() && !programs.knows_legacy_addresses() &&
      (is_attached("iptables") || is_attached("ip6tables") || is_attached("arptables"))) {
    if (legacy.xt_recseq == 0) legacy = legacy_addresses();
    programs.set(legacy);
  }
}

Result<Tracer> Tracer::start(const TracerOptions& options) {
  auto btf = KernelBtf::load();
  if (!btf) return btf.error();
  const bool has_x_tables = btf->function("xt_replace_table", "x_tables").has_value();
  const ProgramConstants constants{options.filter, options.max_rules, options.buffer_bytes, options.fentry,
                                   has_x_tables ? legacy_addresses() : LegacyAddresses{}};
  Tracer tracer(std::make_unique<State>(options, std::move(*btf), constants));
  State& state = *tracer.state_;
  state.legacy = constants.legacy;
  state.addresses_hidden = symbol_addresses({"_stext"})[0] == 0;  // among the first
  tracer.attach_new();
  // Tracepoints alone, which even a kernel without kprobes may allow, name no rule and no reset; a few
  // helpers read no memory and are let in even by one that is locked down.
  if (std::none_of(state.progress.begin(), state.progress.end(), [](const ProbeProgress& p) {
        return p.attached && !p.probe->tracepoint && !p.probe->helper;
      }))
    return state.programs.refusal();
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
  const auto choices = choose(progress, btf, options.fentry, without_key.has_value());
  if (choices.empty()) return false;
  programs.attach(choices);
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

void Tracer::detach() { state_->programs.detach(); }

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
  std::set<std::string_view> folded;
  for (const auto& p : state_->progress)
    if (p.probe->folded && p.attached)
      folded.insert(p.probe->expressions.begin(), p.probe->expressions.end());
  for (const auto& p : state_->progress)
    for (const auto& expression : p.probe->expressions) {
      // one function for all, or one each
      if (p.absent && (p.probe->folded || folded.contains(expression))) continue;
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

int Tracer::events_fd() const { return state_->programs.events_fd(); }
LostCounts Tracer::lost() const { return state_->programs.lost(); }
std::uint64_t Tracer::left_out() const { return state_->programs.left_out(); }
Generations& Tracer::generations() { return state_->programs.generations(); }
TableIndexes& Tracer::table_indexes() { return state_->programs.table_indexes(); }
const KernelBtf& Tracer::btf() const { return state_->btf; }

}  // namespace pathtrace
