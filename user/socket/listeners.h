// SPDX-License-Identifier: GPL-2.0
// Sockets that listen, and whose they are (sock_diag and /proc).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "timeline/model.h"

namespace pathtrace {

// The sockets of `protocol` ("tcp": in LISTEN; "udp": unconnected) bound to `port` in every
// namespace, with pid and program of one process that holds each, where /proc allows it.
// nullopt if sock_diag refuses. Listener::address is "0.0.0.0", "::", "127.0.0.1", ...
std::optional<std::vector<Listener>> find_listeners(const std::string& protocol, std::uint16_t port);

}  // namespace pathtrace
