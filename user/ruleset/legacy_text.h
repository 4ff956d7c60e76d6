// SPDX-License-Identifier: GPL-2.0
// A rule of a legacy table in the words of iptables-save, for machines where that program
// isn't installed. Pure.
#pragma once

#include <string>

#include "ruleset/legacy_blob.h"

namespace pathtrace::legacy {

// What it can't put into words it names: "[match NAME]".
std::string rule_text(const Table& table, const Entry& entry);

}  // namespace pathtrace::legacy
