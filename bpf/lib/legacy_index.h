/* SPDX-License-Identifier: GPL-2.0 */
/* Which blocks of a large table's counters the walk of a packet can touch; see pathtrace/table_index.h. */
#ifndef PATHTRACE_BPF_LEGACY_INDEX_H
#define PATHTRACE_BPF_LEGACY_INDEX_H

#include "lib/legacy_table.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64); /* struct xt_table_info * */
	__type(value, struct pt_table_index);
} table_indexes __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);
	__type(key, struct pt_index_key);
	__type(value, struct pt_block_set);
} index_prefixes __weak SEC(".maps");

static __always_inline void all_blocks(struct pt_block_set *set)
{
	for (int i = 0; i < PT_BLOCK_WORDS; i++)
		set->word[i] = ~0ull;
}

static __always_inline void intersect(struct pt_block_set *set, const struct pt_block_set *with)
{
	for (int i = 0; i < PT_BLOCK_WORDS; i++)
		set->word[i] &= with->word[i];
}

static __always_inline bool has_block(const struct pt_block_set *set, __u32 block)
{
	__u64 word = block < 64	   ? set->word[0]
		     : block < 128 ? set->word[1]
		     : block < 192 ? set->word[2]
				   : set->word[3];

	return word >> (block & 63) & 1;
}

static __always_inline __u32 protocol_class(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return PT_PROTOCOL_TCP;
	case IPPROTO_UDP:
		return PT_PROTOCOL_UDP;
	case IPPROTO_ICMP:
		return PT_PROTOCOL_ICMP;
	}
	return PT_PROTOCOL_OTHER;
}

static __always_inline bool intersect_side(struct legacy_scratch *scratch, __u32 side, __u32 offset,
					   __u8 family, struct pt_block_set *set)
{
	struct pt_index_key *key = &scratch->key;
	const struct pt_block_set *found;

	key->side = side;
	if (family == AF_INET) {
		key->prefix_length = PT_INDEX_KEY_BITS + 32;
		__builtin_memcpy(key->address, scratch->ip_header + offset, 4);
	} else {
		key->prefix_length = PT_INDEX_KEY_BITS + 128;
		__builtin_memcpy(key->address, scratch->ip_header + offset, 16);
	}
	found = bpf_map_lookup_elem(&index_prefixes, key);
	if (!found)
		return false;
	intersect(set, found);
	return true;
}

/* The blocks that a walk can touch: all of them where nothing better is known. */
static __noinline int find_touched(struct legacy_frame *frame, struct legacy_scratch *scratch,
				   __u64 ip_header, __u32 hook, __u8 family)
{
	struct pt_block_set *set = &frame->touched;
	__u64 info = frame->table_info;
	const struct pt_table_index *index;
	__u32 id;

	all_blocks(set);
	index = bpf_map_lookup_elem(&table_indexes, &info);
	if (!index || index->table != frame->table || index->generation != frame->generation.number ||
	    index->entries != frame->entries || hook >= PT_INDEX_HOOKS)
		return 0;
	id = index->id;
	if (bpf_probe_read_kernel(scratch->ip_header, family == AF_INET ? 20 : 40, (void *)ip_header))
		return 0;
	intersect(set, &index->by_hook[hook]);
	if (family == AF_INET)
		intersect(set, &index->by_protocol[protocol_class(scratch->ip_header[9])]);
	scratch->key.id = id;
	if (!intersect_side(scratch, PT_INDEX_SOURCE, family == AF_INET ? 12 : 8, family, set) ||
	    !intersect_side(scratch, PT_INDEX_DESTINATION, family == AF_INET ? 16 : 24, family, set)) {
		all_blocks(set);
		return 0;
	}
	/* an index is taken back before its prefixes are: were all of them still there? */
	index = bpf_map_lookup_elem(&table_indexes, &info);
	if (!index || index->id != id)
		all_blocks(set);
	return 0;
}

#endif
