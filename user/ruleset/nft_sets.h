// SPDX-License-Identifier: GPL-2.0
// Reads the sets and maps that rules look up, with their elements.
#pragma once

#include "ruleset/nft_model.h"
#include "ruleset/nft_netlink.h"

namespace pathtrace::nft {

// Into the tables of `ruleset`, whose rules are known: sets that a rule looks up by what events know. Of very
// many sets or elements not all are read (Set::whole). False: errno tells why; EINTR: the ruleset changed.
bool read_sets(Socket& socket, Ruleset& ruleset);

}  // namespace pathtrace::nft
