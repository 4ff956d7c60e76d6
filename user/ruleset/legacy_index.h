// SPDX-License-Identifier: GPL-2.0
// Which blocks of a legacy table's counters the walk of a packet can raise, by its hook, its protocol and its
// addresses. Pure.
#pragma once

#include <optional>

#include "kernel/table_indexes.h"
#include "ruleset/legacy_blob.h"

namespace pathtrace::legacy {

// Whether copying less than all of the table's counters is worth an index.
bool worth_index(const Table& table);

// nullopt where no index would be exact: a target may change the packet's addresses and let it go on, or the
// table is none of ip or ip6. What is ruled out can't match; the rest may or may not.
std::optional<TableIndex> make_index(const Table& table);

}  // namespace pathtrace::legacy
