// SPDX-License-Identifier: GPL-2.0
// Which modules the kernel has loaded, as /sys/module tells.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace pathtrace {

// The loaded module of that name, by a number that another load of it does not share; nullopt if it is not
// loaded, which it never is where it is built in. Only what was loaded has a file "initstate"
// (show_initstate() in kernel/module/sysfs.c, 2.6 .. 7.2); built-in code with parameters has a directory,
// too.
std::optional<std::uint64_t> loaded_module(const std::string& name,
                                           const std::filesystem::path& modules = "/sys/module");

}  // namespace pathtrace
