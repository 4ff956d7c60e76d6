// SPDX-License-Identifier: GPL-2.0
#include "kernel/permission.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <string>

namespace pathtrace {

namespace {

struct Capability {
  int number;  // linux/capability.h
  const char* name;
  const char* use;
};

// Loading a module's type information (fentry on ip_tables, nf_tables) and entering network
// namespaces need CAP_SYS_ADMIN on every kernel so far.
constexpr std::array<Capability, 6> needed{{
    {39, "BPF", "load BPF programs"},
    {38, "PERFMON", "attach them to kernel functions"},
    {21, "SYS_ADMIN", "read module type information and enter network namespaces"},
    {12, "NET_ADMIN", "read the rulesets"},
    {19, "SYS_PTRACE", "find the namespaces and sockets of other processes"},
    {34, "SYSLOG", "read kernel symbol addresses"},
}};

std::uint64_t effective_capabilities() {
  std::ifstream status("/proc/self/status");
  std::string key;
  std::string value;
  while (status >> key) {
    if (key == "CapEff:" && status >> value) return std::stoull(value, nullptr, 16);
    std::getline(status, value);
  }
  return 0;
}

// The uid_map of the initial user namespace is the identity over all ids.
bool in_initial_user_namespace() {
  std::ifstream map("/proc/self/uid_map");
  std::uint64_t inside = 1;
  std::uint64_t outside = 1;
  std::uint64_t count = 0;
  map >> inside >> outside >> count;
  return inside == 0 && outside == 0 && count == 4294967295;
}

}  // namespace

Result<void> check_permission() {
  const std::uint64_t effective = effective_capabilities();
  std::string missing;
  std::string docker;
  std::string use;
  for (const auto& capability : needed) {
    if ((effective >> capability.number & 1) != 0) continue;
    missing += fmt::format("{}CAP_{}", missing.empty() ? "" : ", ", capability.name);
    docker += fmt::format(" --cap-add {}", capability.name);
    use += fmt::format("{}{}", use.empty() ? "" : "; ", capability.use);
  }
  if (missing.empty()) {
    if (in_initial_user_namespace()) return {};
    return Error{
        ExitStatus::no_permission,
        "not allowed to trace: this process is root only inside a user namespace (a rootless container?); "
        "run pathtrace as root on the host",
        {}};
  }
  if (geteuid() != 0)
    return Error{ExitStatus::no_permission,
                 fmt::format("not allowed to trace: needs {} (to {}). Run it as root: sudo pathtrace ...",
                             missing, use),
                 {}};
  return Error{
      ExitStatus::no_permission,
      fmt::format("not allowed to trace: root here lacks {} (to {}). In a container: docker run{} --pid host "
                  "--network host ...",
                  missing, use, docker),
      {}};
}

}  // namespace pathtrace
