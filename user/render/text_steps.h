// SPDX-License-Identifier: GPL-2.0
// The steps of a packet as rows of a table, and the table as lines.
#pragma once

#include <string>
#include <vector>

#include "render/style.h"
#include "timeline/model.h"

namespace pathtrace {

// One line under a packet. Everything in it is sanitised.
struct StepRow {
  std::string table;  // or a label ("dropped") that takes the chain's place, too
  std::string chain;
  std::string number;  // "#2"; "" for a policy
  std::string text;
  std::string verdict;
  Tone tone = Tone::plain;
  bool label = false;
};

// What tells tables of the same name apart in this connection.
struct TableNaming {
  bool both_iptables = false;  // legacy and nft: say which
};

TableNaming naming_of(const std::vector<Packet>& packets);
std::string table_name(const Step& step, TableNaming naming);

// Steps that only repeat what the packet's own line or the step before says are left out: the
// interface it came in by, the reject that a REJECT rule made, the kernel's NETFILTER_DROP.
std::vector<StepRow> step_rows(const Packet& packet, TableNaming naming, const Style& style);

// Columns wide enough for every row of a connection, so that its packets line up.
class StepTable {
 public:
  StepTable(const std::vector<const StepRow*>& all_rows, const Style& style);
  [[nodiscard]] std::string line(const StepRow& row) const;

 private:
  const Style& style_;
  std::size_t table_ = 0, place_ = 0, text_ = 0;
};

}  // namespace pathtrace
