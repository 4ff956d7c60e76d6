// SPDX-License-Identifier: GPL-2.0
// The names the decoder asks for, from this host: interfaces, namespaces, kernel functions and reasons.
#pragma once

#include <cstdint>
#include <string>

#include "capture/decode.h"
#include "kernel/btf.h"
#include "ruleset/resolver.h"
#include "ruleset/trace_witness.h"

namespace pathtrace {

// The result refers to its arguments, which must outlive it. Answers are cached.
Names host_names(Resolver& resolver, TraceWitness& witness, const KernelBtf& btf);

// Has any network namespace, or the one that is not 0, an interface of this name now?
bool has_interface(const std::string& name, std::uint32_t netns);

}  // namespace pathtrace
