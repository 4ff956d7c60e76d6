// SPDX-License-Identifier: GPL-2.0
// Holds the kernel's nftables trace key without touching any ruleset of the host.
//
// The static key nft_trace_enabled (nf_tables_trace.c) is global: it is on while any rule in any
// network namespace has a `meta nftrace set` expression (nft_meta_set_init). So a namespace of our
// own is made, which nothing else refers to, with one inert rule in a chain without a hook. When the
// last descriptor of it is closed, however the process ends, the kernel removes namespace, rule and key.
#pragma once

#include <memory>
#include <string>

#include "support/result.h"

namespace pathtrace {

enum class TraceKeyUse { if_safe, always, never };

// What a kernel has, as far as the key's danger depends on it.
struct TraceKeyFacts {
  bool hashes_packets =
      false;  // struct nft_traceinfo has a member skbid: nft_trace_init() calls skb_get_hash()
  bool hashes_by_netns = false;  // ... or rather __skb_get_hash_net(), which the kernel has
};

// Why the key may make this kernel warn (with kernel.panic_on_warn: panic); "" if it can't. From 5.19 on
// nft_trace_init() hashes each packet; the answers of a reject have neither device nor socket on their way
// through OUTPUT, which __skb_flow_dissect() met with WARN_ON_ONCE(!net) until the namespace was handed
// over (__skb_get_hash_net(): 6.11, and in later releases of 6.1 and 6.6).
std::string trace_key_hazard(const TraceKeyFacts& facts);

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
