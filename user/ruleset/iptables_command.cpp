// SPDX-License-Identifier: GPL-2.0
#include "ruleset/iptables_command.h"

#include "ruleset/tool.h"

namespace pathtrace {

std::optional<std::string_view> iptables_command(Family family) {
  switch (family) {
    case Family::ip:
      return "iptables";
    case Family::ip6:
      return "ip6tables";
    case Family::arp:
      return "arptables";
    default:
      return std::nullopt;
  }
}

std::optional<Backend> backend_of_program(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (name.find("nft") != std::string_view::npos) return Backend::iptables_nft;
  if (name.find("legacy") != std::string_view::npos || name == "xtables-multi")
    return Backend::iptables_legacy;
  return std::nullopt;
}

std::optional<Backend> iptables_backend(Family family) {
  const auto command = iptables_command(family);
  if (!command) return std::nullopt;
  const auto path = find_tool(std::string(*command));
  const auto program = path ? real_path(*path) : std::nullopt;
  return program ? backend_of_program(*program) : std::nullopt;
}

}  // namespace pathtrace
