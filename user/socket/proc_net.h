// SPDX-License-Identifier: GPL-2.0
// /proc/thread-self/net/{tcp,udp}{,6}: the namespace of the calling thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "socket/sock_diag.h"

namespace pathtrace {

std::optional<std::vector<FoundSocket>> ask_proc_net(bool tcp);

}  // namespace pathtrace
