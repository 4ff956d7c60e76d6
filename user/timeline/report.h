// SPDX-License-Identifier: GPL-2.0
// A tracked connection as a ConnectionTrace.
#pragma once

#include <cstdint>
#include <optional>

#include "timeline/tracked.h"

namespace pathtrace {

// All that is known now. `final`: nothing more is expected; the connection's packets may be moved out.
ConnectionTrace make_trace(const TrackedConnection& connection, bool final);

// What is known now, as what was reported for good.
Decided decide(const TrackedConnection& connection, std::optional<std::int64_t> ended_ns);
// Lets go of the facts that came since it was decided.
void drop_late_facts(TrackedConnection& connection);

}  // namespace pathtrace
