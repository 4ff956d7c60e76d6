// SPDX-License-Identifier: GPL-2.0
// The BPF objects of a run: opened, configured, loaded, attached; the maps that all share; what the kernel
// said where it refused.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernel/btf.h"
#include "kernel/map_generations.h"
#include "kernel/probe_choice.h"
#include "kernel/table_indexes.h"
#include "pathtrace/filter.h"
#include "support/result.h"
#include "timeline/loss.h"

struct bpf_link;
struct pathtrace_bpf;

namespace pathtrace {

// Where the counters of iptables-legacy are found; 0 = not known.
struct LegacyAddresses {
  std::uint64_t per_cpu_offset_table = 0;  // __per_cpu_offset[]
  std::uint64_t xt_recseq = 0;             // per-CPU, of x_tables
};

// What the programs are told before they are loaded.
struct ProgramConstants {
  pt_filter filter{};
  std::uint32_t max_rules = 0;
  std::uint32_t buffer_bytes = 0;
  bool fentry = true;
  LegacyAddresses legacy;  // can be told later
};

class Programs {
 public:
  // `rows` and `btf` outlive it, and stay where they are.
  Programs(const ProgramConstants& constants, std::vector<ProbeProgress>& rows, KernelBtf& btf);
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;
  ~Programs();  // detaches everything

  // Each choice's row says then whether it is attached, and why not.
  void attach(const std::vector<Choice>& choices);
  // No new events; the maps stay.
  void detach();

  [[nodiscard]] bool any_loaded() const { return !skeletons_.empty(); }
  // Why nothing could be attached.
  [[nodiscard]] Error refusal() const;

  // The rest needs any_loaded().
  [[nodiscard]] int events_fd() const;  // of the ring buffer
  // Whether the programs were told them.
  [[nodiscard]] bool knows_legacy_addresses() const;
  void set(const LegacyAddresses& addresses);
  // See Tracer::lost() and Tracer::left_out().
  LostCounts lost();
  [[nodiscard]] std::uint64_t left_out() const;
  MapGenerations& generations() { return generations_; }
  TableIndexes& table_indexes() { return table_indexes_; }

 private:
  struct CloseSkeleton {
    void operator()(pathtrace_bpf* skeleton) const;
  };
  using Skeleton = std::unique_ptr<pathtrace_bpf, CloseSkeleton>;
  struct DestroyLink {
    void operator()(bpf_link* link) const;
  };
  using Link = std::unique_ptr<bpf_link, DestroyLink>;

  bool configure(pathtrace_bpf* skeleton);
  int load_and_attach(const std::vector<Choice>& choices);
  void attach_in_parts(const std::vector<Choice>& choices);
  static bool attach_one(pathtrace_bpf* skeleton, const Choice& choice, std::vector<Link>& made);

  ProgramConstants constants_;
  std::vector<ProbeProgress>& rows_;
  KernelBtf& btf_;
  std::vector<Skeleton> skeletons_;  // the first one made the maps that all share
  std::vector<Link> links_;
  MapGenerations generations_;
  TableIndexes table_indexes_;
  std::string first_error_;
  std::string first_log_;
  bool no_memory_ = false;      // for the maps
  bool none_can_load_ = false;  // whichever is tried
  LostCounts lost_{};
};

}  // namespace pathtrace
