// SPDX-License-Identifier: GPL-2.0
// Holds the kernel's nftables trace key without touching any ruleset of the host.
//
// The static key nft_trace_enabled (nf_tables_trace.c) is global: it is on while any rule in any
// network namespace has a `meta nftrace set` expression (nft_meta_set_init). So a namespace of our
// own is made, which nothing else refers to, with one inert rule in a chain without a hook. When the
// last descriptor of it is closed, however the process ends, the kernel removes namespace, rule and key.
#pragma once

#include <memory>

#include "support/result.h"

namespace pathtrace {

class TraceKey {
 public:
  // Only where nf_tables is loaded: it is never loaded for this.
  static Result<TraceKey> hold();
  TraceKey(TraceKey&&) noexcept;
  TraceKey& operator=(TraceKey&&) noexcept;
  ~TraceKey();

 private:
  struct State;
  explicit TraceKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pathtrace
