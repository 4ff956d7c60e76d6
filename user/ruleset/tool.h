// SPDX-License-Identifier: GPL-2.0
// Runs another program for its output: iptables-save and its kin, for rule text in the very
// words of the administrator.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace pathtrace {

// The absolute path of an executable in the system's own directories; never from PATH.
std::optional<std::string> find_tool(const std::string& name);

// `path` without links; nullopt if there is no such file.
std::optional<std::string> real_path(const std::string& path);

struct ToolLimits {
  std::chrono::milliseconds time{5000};
  std::size_t output = std::size_t{64} << 20;  // bytes
};

// What it wrote to its standard output, if it ended in time with status 0 and wrote no more
// than allowed. Runs in the calling thread's network namespace, with a clean environment and
// without a shell.
std::optional<std::string> run_tool(const std::vector<std::string>& argv, const ToolLimits& limits = {});

}  // namespace pathtrace
