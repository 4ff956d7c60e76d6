// SPDX-License-Identifier: GPL-2.0
// Network namespaces: found by inode, named, entered by a thread for a while.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "support/fd.h"
#include "support/result.h"
#include "timeline/model.h"

namespace pathtrace {

// Inode of the caller's own network namespace.
std::uint32_t own_netns();

// All network namespaces that a process (/proc/*/ns/net) or a name (/run/netns, and Docker's
// /run/docker/netns) refers to, each once, the caller's own first.
std::vector<Netns> all_netns();

// `--netns ARG`: a name in /run/netns, a pid, a path, or "self".
Result<Netns> find_netns(const std::string& arg);

// A descriptor of the namespace, to be closed soon: it keeps the namespace alive. Empty if it is gone.
Fd open_netns(std::uint32_t inode);

// "web", "container:..." or nullopt.
std::optional<std::string> netns_name(std::uint32_t inode);

// Runs `work` in the namespace, on a thread of its own so that the caller's namespace never
// changes. False if the namespace is gone or can't be entered.
bool in_netns(std::uint32_t inode, const std::function<void()>& work);

}  // namespace pathtrace
