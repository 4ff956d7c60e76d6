// SPDX-License-Identifier: GPL-2.0
// What a rule's expressions look up in which sets.
#pragma once

#include <libmnl/libmnl.h>

#include <string_view>
#include <vector>

#include "ruleset/nft_elements.h"
#include "ruleset/nft_netlink.h"

namespace pathtrace::nft {

// Of NFTA_RULE_EXPRESSIONS, the lookups that a packet which matches the rule has found an element by, in
// order.
std::vector<Lookup> read_lookups(const nlattr* expressions);

// Whether an expression writes into an address or port: then no later lookup is what an event shows.
bool changes_looked_up(std::string_view name, const Attributes& data);

}  // namespace pathtrace::nft
