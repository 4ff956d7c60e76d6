// SPDX-License-Identifier: GPL-2.0
#include "kernel/trace_key.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nftables/libnftables.h>
#include <sched.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "support/fd.h"

namespace pathtrace {

namespace {

struct FreeNft {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};

// A chain without a hook: no packet ever runs it.
constexpr const char* inert_rule =
    "add table ip pathtrace\n"
    "add chain ip pathtrace key\n"
    "add rule ip pathtrace key meta nftrace set 1\n";

}  // namespace

std::string trace_key_hazard(const TraceKeyFacts& facts) {
  if (!facts.hashes_packets || facts.hashes_by_netns) return {};
  return "on this kernel the nftables trace key can cause a kernel warning (a WARN_ON_ONCE in "
         "__skb_flow_dissect, when a rule rejects a packet); --trace-key uses it all the same";
}

// What keeps the private namespace alive. Nobody who is started inherits it (libnftables' own socket would
// be: it is not close-on-exec).
struct TraceKey::State {
  Fd netns;
};

TraceKey::TraceKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
TraceKey::TraceKey(TraceKey&&) noexcept = default;
TraceKey& TraceKey::operator=(TraceKey&&) noexcept = default;
TraceKey::~TraceKey() = default;

Result<TraceKey> TraceKey::hold() {
  auto state = std::make_unique<State>();
  std::string problem;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      problem = fmt::format("a private network namespace can't be made: {}", std::strerror(errno));
      return;
    }
    state->netns = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!state->netns) {
      problem = fmt::format("/proc/thread-self/ns/net: {}", std::strerror(errno));
      return;
    }
    const std::unique_ptr<nft_ctx, FreeNft> context(nft_ctx_new(NFT_CTX_DEFAULT));
    if (!context) {
      problem = "libnftables can't be started";
      return;
    }
    nft_ctx_buffer_error(context.get());
    if (nft_run_cmd_from_buffer(context.get(), inert_rule) != 0)
      problem =
          fmt::format("the rule that holds it was refused: {}", nft_ctx_get_error_buffer(context.get()));
  }).join();
  if (!problem.empty())
    return Error{ExitStatus::failure, fmt::format("the nftables trace key can't be held: {}", problem), {}};
  return TraceKey(std::move(state));
}

}  // namespace pathtrace
