// SPDX-License-Identifier: GPL-2.0
// Tells the programs which counters of a large legacy table a packet can raise; see pathtrace/table_index.h.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "pathtrace/table_index.h"

namespace pathtrace {

// A prefix of one side, with the blocks of all prefixes that contain it.
struct IndexPrefix {
  pt_index_key key{};  // its id is set by whoever publishes it
  pt_block_set blocks{};
};

struct TableIndex {
  pt_table_index head{};  // by_hook and by_protocol
  std::vector<IndexPrefix> prefixes;
};

// Which table of the kernel an index is of.
struct TableIdentity {
  std::uint64_t table = 0;       // struct xt_table *
  std::uint64_t table_info = 0;  // struct xt_table_info *
  std::uint32_t generation = 0;
  std::uint32_t entries = 0;
};

// Over BPF maps; does nothing without them.
class TableIndexes {
 public:
  // `heads`: by table_info, `prefixes`: a longest prefix match. Not owned.
  void set_maps(int heads, int prefixes);
  // Takes the place of the table's index before. What can't be told costs time, nothing else.
  void publish(const TableIdentity& identity, TableIndex index);
  void retire(std::uint64_t table);

 private:
  struct Published {
    std::uint64_t table_info = 0;
    std::vector<pt_index_key> keys;
  };
  bool insert(const std::vector<IndexPrefix>& prefixes, Published& published);
  void take_back(const Published& published);

  int heads_ = -1;
  int prefixes_ = -1;
  std::uint32_t last_id_ = 0;
  std::map<std::uint64_t, Published> published_;  // by table
};

}  // namespace pathtrace
