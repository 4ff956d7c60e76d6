// SPDX-License-Identifier: GPL-2.0
// /proc/kallsyms: addresses of the few symbols the programs need, names of kernel addresses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pathtrace {

// Addresses of `names`, in order; 0 for one that isn't there or that the kernel hides
// (kernel.kptr_restrict, no CAP_SYSLOG). One pass over the file, which stops when all are found.
std::vector<std::uint64_t> symbol_addresses(const std::vector<std::string_view>& names);

// The function that `address` lies in; read once, when first asked.
class SymbolNames {
 public:
  // "ip_rcv_finish" or nullopt.
  std::optional<std::string> at(std::uint64_t address);

 private:
  struct Symbol {
    std::uint64_t address;
    std::uint32_t name;  // offset into names_
  };
  void load();
  bool loaded_ = false;
  std::vector<Symbol> symbols_;
  std::string names_;
};

}  // namespace pathtrace
