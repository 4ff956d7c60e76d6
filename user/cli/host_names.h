// SPDX-License-Identifier: GPL-2.0
// The names the decoder asks for, from this host: interfaces, namespaces, kernel functions and reasons.
#pragma once

#include "capture/decode.h"
#include "kernel/btf.h"
#include "ruleset/resolver.h"

namespace pathtrace {

// The result refers to `resolver` and `btf`, which must outlive it. Answers are cached.
Names host_names(Resolver& resolver, const KernelBtf& btf);

}  // namespace pathtrace
