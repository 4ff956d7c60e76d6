// SPDX-License-Identifier: GPL-2.0
// Which backend the host's `iptables` and its kin work on.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "timeline/words.h"

namespace pathtrace {

// "iptables", "ip6tables" or "arptables"; nullopt for other families.
std::optional<std::string_view> iptables_command(Family family);

// By the name of the program that a command is: iptables is a link, by way of the alternatives, to
// xtables-nft-multi, or to xtables-legacy-multi, which was xtables-multi before there were two. nullopt:
// neither.
std::optional<Backend> backend_of_program(std::string_view path);

// What the host's command for `family` is now, by the file it is linked to; nothing is run. nullopt: there is
// none in the system's directories, or it is something else.
std::optional<Backend> iptables_backend(Family family);

}  // namespace pathtrace
