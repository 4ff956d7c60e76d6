/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A legacy table as the kernel has it: its entries, where their counters are, its generation.
 *
 * Where counters live (xt_percpu_counter_alloc, unchanged 5.4 .. 6.18): with more than one
 * possible CPU, entry i's counter is at block[i / 256] + 16 * (i % 256) of per-CPU memory,
 * in blob order, chain heads and policies included; with one, in the entry itself.
 */
#ifndef PATHTRACE_BPF_LEGACY_TABLE_H
#define PATHTRACE_BPF_LEGACY_TABLE_H

#include "lib/emit.h"

#define MAX_ENTRIES (PT_MAX_BLOCKS * PT_COUNTERS_PER_BLOCK)

struct xt_counters {
	__u64 pcnt, bcnt;
};

struct counter_block {
	struct xt_counters counter[PT_COUNTERS_PER_BLOCK];
};

/* Where in struct ipt_entry / ip6t_entry / arpt_entry (UAPI). */
struct entry_layout {
	__u32 next_offset;
	__u32 counters;
};
static const struct entry_layout ipt_layout = { .next_offset = 90, .counters = 96 };
static const struct entry_layout ip6t_layout = { .next_offset = 142, .counters = 152 };
static const struct entry_layout arpt_layout = { .next_offset = 166, .counters = 176 };

static __always_inline const struct entry_layout *layout_of(__u8 family)
{
	return family == AF_INET ? &ipt_layout : family == AF_INET6 ? &ip6t_layout : &arpt_layout;
}

/* Where the counter blocks of a table are. */
struct table_blocks {
	__u64 table;
	__u32 generation;
	__u32 entries;
	__u64 cookie[PT_MAX_BLOCKS];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, __u64); /* struct xt_table_info * */
	__type(value, struct table_blocks);
} blocks_of_tables __weak SEC(".maps");

struct legacy_scratch {
	struct pt_legacy_walk walk;
	struct pt_match matched[PT_MAX_MATCHED];
	struct table_blocks blocks;
	struct pt_index_key key;
	__u8 ip_header[40];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PT_FRAMES);
	__type(key, __u32);
	__type(value, struct legacy_scratch);
} legacy_scratches __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64); /* struct xt_table * */
	__type(value, struct pt_generation);
} legacy_generations __weak SEC(".maps");

static __always_inline __u32 blocks_needed(__u32 entries)
{
	return (entries + PT_COUNTERS_PER_BLOCK - 1) / PT_COUNTERS_PER_BLOCK;
}

static __always_inline __u64 percpu_offset(struct cpu_context *cpu)
{
	if (!cpu->percpu_offset && per_cpu_offset_table)
		bpf_probe_read_kernel(&cpu->percpu_offset, sizeof(cpu->percpu_offset),
				      (void *)(per_cpu_offset_table + 8 * bpf_get_smp_processor_id()));
	return cpu->percpu_offset;
}

/* Traversals of legacy tables on this CPU so far, times two; odd inside one. */
static __always_inline __u32 read_recseq(__u64 offset)
{
	__u32 seq = 0;

#ifdef PT_DIRECT_LOADS
	if (direct_loads)
		return *(const __u32 *)WORDS_AT(xt_recseq_cookie + offset);
#endif
	bpf_probe_read_kernel(&seq, sizeof(seq), (void *)(xt_recseq_cookie + offset));
	return seq;
}

static __always_inline __u64 read_private(__u64 table)
{
	return kernel_word(table + bpf_core_field_offset(struct xt_table, private));
}

static __always_inline __u64 read_private_and_name(__u64 table, __u64 *name)
{
	__u64 at = table + bpf_core_field_offset(struct xt_table, private);
	__u64 private_to_name[5];

	/* 32 bytes apart since 5.15: one read instead of two */
	if (direct_loads || bpf_core_field_offset(struct xt_table, name) !=
				    bpf_core_field_offset(struct xt_table, private) + 32) {
		*name = kernel_word(table + bpf_core_field_offset(struct xt_table, name));
		return kernel_word(at);
	}
	bpf_probe_read_kernel(private_to_name, sizeof(private_to_name), (void *)at);
	*name = private_to_name[4];
	return private_to_name[0];
}

struct walk_entries {
	__u64 entries; /* address */
	__u32 offset;
	__u32 size;
	__u32 next_offset;
	__u32 counters;
	__u32 slot;
	__u32 base;
	__u32 failed;
};

static long index_entry(__u32 i, void *context)
{
	struct walk_entries *w = context;
	__u64 entry = w->entries + w->offset;
	__u16 next = 0;

	if (i % PT_COUNTERS_PER_BLOCK == 0) {
		__u32 slot = w->slot;
		struct legacy_scratch *scratch = bpf_map_lookup_elem(&legacy_scratches, &slot);
		__u32 block = i / PT_COUNTERS_PER_BLOCK;

		if (!scratch || block >= PT_MAX_BLOCKS ||
		    bpf_probe_read_kernel(&scratch->blocks.cookie[block], 8, (void *)(entry + w->counters))) {
			w->failed = 1;
			return 1;
		}
	}
	if (bpf_probe_read_kernel(&next, 2, (void *)(entry + w->next_offset)) || !next) {
		w->failed = 1;
		return 1;
	}
	w->offset += next;
	if (w->offset > w->size) {
		w->failed = 1;
		return 1;
	}
	return 0;
}

/* The blocks of a table, found once for each of its generations. */
static __always_inline struct table_blocks *find_blocks(struct legacy_frame *frame, __u32 slot,
							const struct entry_layout *layout)
{
	__u64 info = frame->table_info;
	struct table_blocks *known = bpf_map_lookup_elem(&blocks_of_tables, &info);
	struct legacy_scratch *scratch;

	if (known && known->table == frame->table && known->generation == frame->generation.number &&
	    known->entries == frame->entries)
		return known;
	scratch = bpf_map_lookup_elem(&legacy_scratches, &slot);
	if (!scratch)
		return NULL;
	struct walk_entries w = {
		.entries = info + bpf_core_field_offset(struct xt_table_info, entries),
		.size = frame->blob_size,
		.next_offset = layout->next_offset,
		.counters = layout->counters,
		.slot = slot,
	};
	scratch->blocks.table = frame->table;
	scratch->blocks.generation = frame->generation.number;
	scratch->blocks.entries = frame->entries;
	bpf_loop(frame->entries, index_entry, &w, 0);
	if (w.failed)
		return NULL;
	bpf_map_update_elem(&blocks_of_tables, &info, &scratch->blocks, BPF_ANY);
	return bpf_map_lookup_elem(&blocks_of_tables, &info);
}

static __always_inline void read_generation(__u64 table, struct pt_generation *generation)
{
	struct pt_generation *g = tables_replaced ? bpf_map_lookup_elem(&legacy_generations, &table) : NULL;

	if (g) {
		*generation = *g;
		return;
	}
	__builtin_memset(generation, 0, sizeof(*generation));
	if (generations_full)
		generation->changed_ns = ~0ull;
}

#endif
