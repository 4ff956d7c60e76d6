// SPDX-License-Identifier: GPL-2.0
// The kernel side's change counters, read from its maps.
#pragma once

#include <bpf/bpf.h>

#include <cstdint>

#include "kernel/generations.h"

namespace pathtrace {

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
    if (!attached || __atomic_load_n(map.full, __ATOMIC_ACQUIRE) != 0)
      generation.changed_ns = ~std::uint64_t{0};
    return generation;
  }
  const std::uint32_t* tables_replaced_ = nullptr;
  Map legacy_;
  Map nftables_;
  bool legacy_attached_ = false;
  bool nftables_attached_ = false;
};

}  // namespace pathtrace
