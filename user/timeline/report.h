// SPDX-License-Identifier: GPL-2.0
// A tracked connection as a ConnectionTrace.
#pragma once

#include "timeline/tracked.h"

namespace pathtrace {

// All that is known now. `final`: nothing more is expected; the connection's packets may be moved out.
ConnectionTrace make_trace(const TrackedConnection& connection, bool final);

// What is known now, as what was reported for good: as `reported`.
Decided decide(const TrackedConnection& connection, const ConnectionTrace& reported);
// Lets go of the facts that came since it was decided.
void drop_late_facts(TrackedConnection& connection);

}  // namespace pathtrace
