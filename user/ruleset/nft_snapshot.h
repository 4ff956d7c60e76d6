// SPDX-License-Identifier: GPL-2.0
// Reads the nftables ruleset of a network namespace: structure and handles by netlink, text
// by libnftables and, for chains made by iptables-nft, by iptables-nft-save.
#pragma once

#include "ruleset/nft_model.h"
#include "support/result.h"

namespace pathtrace::nft {

// Whether the kernel has nf_tables at this moment. Asking its netlink subsystem instead
// would load it.
bool present();

// The ruleset of the calling thread's namespace, all of one generation. Empty without
// nf_tables.
Result<Ruleset> read_ruleset();

}  // namespace pathtrace::nft
