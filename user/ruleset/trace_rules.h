// SPDX-License-Identifier: GPL-2.0
// Rules that make the kernel trace the packets they match: the target TRACE of iptables and, in nftables,
// what it becomes, `meta nftrace set 1`. They cost much and are easily forgotten, so the user is told of
// them. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ruleset/legacy_snapshot.h"
#include "ruleset/nft_model.h"
#include "timeline/model.h"

namespace pathtrace {

struct TraceRule {
  Netns netns;
  Backend backend = Backend::iptables_legacy;
  Family family = Family::ip;
  std::string table;
  std::string chain;
  int number = 0;                       // from 1 in its chain
  std::optional<std::uint64_t> handle;  // nftables
  std::string text;                     // as iptables-save or nft prints it, without "-A CHAIN"

  bool operator==(const TraceRule&) const = default;
};

// Those of a table or ruleset; their netns is left for the caller to fill in.
std::vector<TraceRule> trace_rules(const legacy::Snapshot& snapshot);
// A rule whose text could not be read is only known by its xtables target.
std::vector<TraceRule> trace_rules(const nft::Ruleset& ruleset);

// One line: where it is, what it does and the command that removes it.
std::string warning_of(const TraceRule& rule);

}  // namespace pathtrace
