// SPDX-License-Identifier: GPL-2.0
// Prints what user/ruleset reads in this network namespace, in a form that compare.sh can
// hold against iptables-save and nft. Built on request only: ninja dump_ruleset.
#include <fmt/format.h>

#include <cstdio>

#include "ruleset/legacy_snapshot.h"
#include "ruleset/legacy_text.h"
#include "ruleset/nft_snapshot.h"

namespace {

using namespace pathtrace;

void print_legacy(Family family) {
  for (const std::string& name : legacy::table_names(family)) {
    const auto snapshot = legacy::read_table(family, name);
    if (!snapshot) {
      fmt::print("error {}\n", snapshot.error().message);
      continue;
    }
    const legacy::Table& table = snapshot->table;
    for (const legacy::Entry& entry : table.entries) {
      if (entry.kind != legacy::EntryKind::rule) continue;
      const std::string& chain = table.chain_of(entry).name;
      fmt::print("legacy {} {} {} {}|-A {} {}\n", word(family), name, entry.number,
                 snapshot->saved ? "saved" : "own", chain,
                 snapshot->text[static_cast<std::size_t>(&entry - table.entries.data())]);
      fmt::print("own {} {} {}|-A {} {}\n", word(family), name, entry.number, chain,
                 legacy::rule_text(table, entry));
    }
  }
}

void print_nft() {
  const auto ruleset = nft::read_ruleset();
  if (!ruleset) {
    fmt::print("error {}\n", ruleset.error().message);
    return;
  }
  for (const nft::Table& table : ruleset->tables) {
    fmt::print("table {} {} {} {}\n", word(table.family), table.name, table.handle, word(table.backend));
    for (const nft::Chain& chain : table.chains) {
      fmt::print("chain {} {}\n", chain.name, chain.handle);
      for (const nft::Rule& rule : chain.rules)
        fmt::print("nft {} {} {} {} handle {} target {} verdict {} rejects {} comment <{}>|{}\n",
                   word(table.family), table.name, chain.name, rule.number, rule.handle,
                   rule.target.value_or("-"), rule.verdict.value_or("-"), rule.rejects,
                   rule.comment.value_or("-"), rule.text.value_or("(none)"));
    }
  }
}

}  // namespace

int main() {
  for (const Family family : {Family::ip, Family::ip6, Family::arp}) print_legacy(family);
  print_nft();
  return 0;
}
