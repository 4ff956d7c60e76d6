// SPDX-License-Identifier: GPL-2.0
// The names the decoder asks for, from this host: interfaces, namespaces, kernel functions and reasons.
#pragma once

#include "capture/decode.h"
#include "kernel/btf.h"
#include "ruleset/resolver.h"
#include "ruleset/trace_witness.h"

namespace pathtrace {

// The result refers to its arguments, which must outlive it. Answers are cached.
Names host_names(Resolver& resolver, TraceWitness& witness, const KernelBtf& btf);

}  // namespace pathtrace
