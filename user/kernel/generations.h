// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <cstdint>

#include "pathtrace/event.h"

namespace pathtrace {

// The kernel side's change counters (see struct pt_generation); implemented over BPF maps
// by user/kernel, by a fake in tests.
class Generations {
 public:
  Generations() = default;
  Generations(const Generations&) = delete;
  Generations& operator=(const Generations&) = delete;
  virtual ~Generations() = default;
  // Of a legacy table (struct xt_table address). Zeroes if it never changed.
  virtual pt_generation legacy(std::uint64_t table) = 0;
  // Of a namespace's nftables ruleset.
  virtual pt_generation nftables(std::uint32_t netns_inode) = 0;
};

}  // namespace pathtrace
