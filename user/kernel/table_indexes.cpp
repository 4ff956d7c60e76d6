// SPDX-License-Identifier: GPL-2.0
#include "kernel/table_indexes.h"

#include <bpf/bpf.h>

#include <cstddef>

namespace pathtrace {

namespace {

constexpr std::size_t most_published = 200;  // bpf/lib/legacy_index.h has room for a few more

}  // namespace

void TableIndexes::set_maps(int heads, int prefixes) {
  heads_ = heads;
  prefixes_ = prefixes;
}

bool TableIndexes::insert(const std::vector<IndexPrefix>& prefixes, Published& published) {
  published.keys.reserve(prefixes.size());
  for (const IndexPrefix& prefix : prefixes) {
    pt_index_key key = prefix.key;
    key.id = last_id_;
    if (bpf_map_update_elem(prefixes_, &key, &prefix.blocks, BPF_ANY) != 0) return false;
    published.keys.push_back(key);
  }
  return true;
}

// The head first: a program that finds it still there has found all prefixes, too.
void TableIndexes::take_back(const Published& published) {
  bpf_map_delete_elem(heads_, &published.table_info);
  for (const pt_index_key& key : published.keys) bpf_map_delete_elem(prefixes_, &key);
}

void TableIndexes::publish(const TableIdentity& identity, TableIndex index) {
  if (heads_ < 0 || prefixes_ < 0) return;
  retire(identity.table);
  while (published_.size() >= most_published) retire(published_.begin()->first);
  ++last_id_;
  Published published{identity.table_info, {}};
  index.head.table = identity.table;
  index.head.generation = identity.generation;
  index.head.entries = identity.entries;
  index.head.id = last_id_;
  if (!insert(index.prefixes, published) ||
      bpf_map_update_elem(heads_, &identity.table_info, &index.head, BPF_ANY) != 0) {
    take_back(published);
    return;
  }
  published_[identity.table] = std::move(published);
}

void TableIndexes::retire(std::uint64_t table) {
  const auto known = published_.find(table);
  if (known == published_.end()) return;
  take_back(known->second);
  published_.erase(known);
}

}  // namespace pathtrace
