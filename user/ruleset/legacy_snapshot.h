// SPDX-License-Identifier: GPL-2.0
// Reads the tables of ip_tables, ip6_tables and arp_tables of a network namespace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ruleset/legacy_blob.h"
#include "support/result.h"

namespace pathtrace::legacy {

struct Snapshot {
  Table table;
  // By entry index; empty where there is no rule. Of iptables-save if `saved`, else written
  // by legacy_text.h.
  std::vector<std::string> text;
  bool saved = false;
};

// The tables that exist in the calling thread's namespace, without bringing any into being.
std::vector<std::string> table_names(Family family);

// Reads one table in the calling thread's namespace. It must be one of table_names(): asking
// the kernel for another would load its module and create it.
Result<Snapshot> read_table(Family family, const std::string& name);

// The lines of a save, tied to the entries of the table by chain and number. nullopt where
// they don't fit (another number of rules in a chain, another target).
std::optional<std::vector<std::string>> match_saved(const Table& table, std::string_view saved);

}  // namespace pathtrace::legacy
