// SPDX-License-Identifier: GPL-2.0
// A tracked connection as a ConnectionTrace.
#pragma once

#include <cstddef>

#include "timeline/tracked.h"

namespace pathtrace {

// All that is known now, with the first `told` of its packets. `final`: nothing more is expected.
ConnectionTrace make_trace(const TrackedConnection& connection, bool final, std::size_t told);

// What is known now, as what was reported for good: as `reported`.
Decided decide(const TrackedConnection& connection, const ConnectionTrace& reported);
// Lets go of the facts that came since it was decided.
void drop_late_facts(TrackedConnection& connection);

}  // namespace pathtrace
