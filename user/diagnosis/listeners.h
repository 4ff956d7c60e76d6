// SPDX-License-Identifier: GPL-2.0
// What listeners have to do with it.
#pragma once

#include "diagnosis/causes.h"

namespace pathtrace {

// The listener that would have got `packet`, had it not been stopped: ", and it never saw the SYN".
void add_unreached_listener(Candidate& candidate, const Story& story, const Packet& packet);

// The listener that turned a SYN or an ACK away, with its queue as it was then.
void add_full_listener(Candidate& candidate, const Story& story, const ListenerFact& fact);

}  // namespace pathtrace
