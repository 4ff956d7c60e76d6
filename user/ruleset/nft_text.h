// SPDX-License-Identifier: GPL-2.0
// What `nft -a list ruleset` prints, taken apart into the text of each rule by handle. Pure.
#pragma once

#include <string_view>

#include "ruleset/nft_model.h"

namespace pathtrace::nft {

// Puts the text of a listing into the rules of `ruleset`. A chain whose rules are not listed
// with exactly its handles in its order gets no text: what a comment can inject into a
// listing shows as a handle too many.
void add_text(Ruleset& ruleset, std::string_view listing);

// The lines of iptables-nft-save for `table`, by chain and number. False: they don't fit
// (another number of rules in a chain, another verdict), and nothing was changed.
bool add_saved_text(Table& table, std::string_view saved);

}  // namespace pathtrace::nft
