// SPDX-License-Identifier: GPL-2.0
// A reconstructed walk through a legacy table → the steps of the output. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "ruleset/legacy_snapshot.h"
#include "ruleset/legacy_walk.h"
#include "timeline/model.h"

namespace pathtrace::legacy {

// `verdict` is what the function returned. The RETURN at the end of a user chain is no rule
// and makes no step.
std::vector<Step> steps(const Snapshot& snapshot, const Walk& walk, std::optional<Hook> hook,
                        std::uint32_t verdict);

// A step that names the table but no rule, and says why.
Step missing_step(Family family, const std::string& table, std::optional<Hook> hook, std::string why);

// NF_* | errno << 16 → the word. NF_DROP_REASON()'s (errno << 16) | NF_STOLEN is a drop.
Verdict verdict_word(std::uint32_t raw);

}  // namespace pathtrace::legacy
