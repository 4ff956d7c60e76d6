// SPDX-License-Identifier: GPL-2.0
// What a socket says of itself, through a descriptor of our own (pidfd_getfd(), 5.6+). /proc/net tells
// neither IPV6_V6ONLY nor the device nor the limit of the queue, and sock_diag may be a module that isn't
// loaded.
#pragma once

#include <cstdint>

#include "socket/owners.h"
#include "timeline/model.h"

namespace pathtrace {

// Fills in what is missing of the socket with this inode. Leaves `listener` as it is where the owner may not
// be asked (CAP_SYS_PTRACE) or has closed it meanwhile.
void ask_socket(const Owner& owner, std::uint64_t inode, Listener& listener);

}  // namespace pathtrace
