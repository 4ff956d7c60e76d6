// SPDX-License-Identifier: GPL-2.0
#include "cli/host_names.h"

#include <net/if.h>

#include <array>
#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernel/netns.h"
#include "kernel/symbols.h"

namespace pathtrace {

namespace {

std::optional<std::string> interface_name(std::uint32_t netns, std::uint32_t ifindex) {
  std::optional<std::string> name;
  in_netns(netns, [&] {
    std::array<char, IF_NAMESIZE> text{};
    if (if_indextoname(ifindex, text.data()) != nullptr) name = text.data();
  });
  return name;
}

std::optional<std::string> without_prefix(std::optional<std::string> text, std::string_view prefix) {
  if (text && text->starts_with(prefix)) text->erase(0, prefix.size());
  return text;
}

std::int64_t coarse_now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// Answers that are found are kept; those that aren't are asked for again, but not for every event: to ask
// may take a look at every process.
template <typename Key>
class Cache {
 public:
  template <typename Ask>
  std::optional<std::string> get(const Key& key, Ask&& ask) {
    const auto known = answers_.find(key);
    if (known != answers_.end() && known->second.is_good()) return known->second.name;
    Answer answer{ask(), 0};
    if (!answer.name) answer.until_ns = coarse_now_ns() + ask_again_after_ns;
    if (known != answers_.end())
      known->second = answer;
    else if (answers_.size() < limit)
      answers_.emplace(key, answer);
    return answer.name;
  }

 private:
  struct Answer {
    std::optional<std::string> name;
    std::int64_t until_ns = 0;  // of one that wasn't found

    [[nodiscard]] bool is_good() const { return name || coarse_now_ns() < until_ns; }
  };
  static constexpr std::int64_t ask_again_after_ns = 1'000'000'000;
  static constexpr std::size_t limit = 65536;
  std::map<Key, Answer> answers_;
};

}  // namespace

bool has_interface(const std::string& name, std::uint32_t netns) {
  bool found = false;
  const auto look = [&] { found = found || if_nametoindex(name.c_str()) != 0; };
  if (netns != 0) {
    in_netns(netns, look);
    return found;
  }
  for (const Netns& one : all_netns()) in_netns(one.inode, look);
  return found;
}

Names host_names(Resolver& resolver, TraceWitness& witness, const KernelBtf& btf) {
  struct Caches {
    Cache<std::uint32_t> netns;
    Cache<std::pair<std::uint32_t, std::uint32_t>> interfaces;
    Cache<std::uint32_t> drop_reasons;
    SymbolNames symbols;
  };
  auto caches = std::make_shared<Caches>();
  Names names;
  names.legacy_walk = [&resolver, &witness](const pt_legacy_walk& walk) {
    auto seen = resolver.resolve(walk);
    witness.check(walk, seen);
    return seen;
  };
  names.nft_walk = [&resolver](const pt_nft_walk& walk) { return resolver.resolve(walk); };
  names.netns = [caches](std::uint32_t netns) {
    return caches->netns.get(netns, [&] { return netns_name(netns); });
  };
  names.interface = [caches](std::uint32_t netns, std::uint32_t ifindex) {
    return caches->interfaces.get({netns, ifindex}, [&] { return interface_name(netns, ifindex); });
  };
  names.drop_reason = [caches, &btf](std::uint32_t reason) {
    return caches->drop_reasons.get(reason, [&] {
      return without_prefix(btf.enumerator("skb_drop_reason", reason), "SKB_DROP_REASON_");
    });
  };
  names.reset_reason = [&btf](std::uint32_t reason) {
    return without_prefix(btf.enumerator("sk_rst_reason", reason), "SK_RST_REASON_");
  };
  names.symbol = [caches](std::uint64_t address) { return caches->symbols.at(address); };
  return names;
}

}  // namespace pathtrace
