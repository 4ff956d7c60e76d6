// SPDX-License-Identifier: GPL-2.0
// What a drop outside netfilter means: by the kernel's reason, and where that says too little by the
// function that freed the packet and what was noted of it there.
#pragma once

#include <optional>
#include <string>

#include "timeline/timeline.h"

namespace pathtrace {

struct Explanation {
  CauseKind kind = CauseKind::stack_drop;
  std::string says;      // "there is no route to 198.51.100.4"
  std::string evidence;  // besides reason and function; may be empty
};

// nullopt: the drop says no more than its reason.
std::optional<Explanation> explain(const DropObservation& drop, const Packet& packet);

}  // namespace pathtrace
