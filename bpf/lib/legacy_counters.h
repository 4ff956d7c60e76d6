/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The counters of a legacy table: copied when a walk begins, compared when it ends. The rules whose counter
 * went up are those that matched.
 */
#ifndef PATHTRACE_BPF_LEGACY_COUNTERS_H
#define PATHTRACE_BPF_LEGACY_COUNTERS_H

#include "lib/legacy_index.h"

/* [cpu][frame][block], and one block more each for the counters at exit. Sized by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counter_block);
} snapshots __weak SEC(".maps");

static __always_inline __u32 snapshot_base(__u32 slot)
{
	return (bpf_get_smp_processor_id() * PT_FRAMES + slot) * (max_blocks + 1);
}

struct copy_blocks {
	__u64 info;
	__u64 percpu_offset;
	__u32 base;
	__u32 entries;
	__u32 failed;
	__u32 pad;
	struct pt_block_set touched;
};

static __always_inline __u32 block_bytes(__u32 entries, __u32 block)
{
	__u32 left = entries - block * PT_COUNTERS_PER_BLOCK;

	if (left > PT_COUNTERS_PER_BLOCK)
		left = PT_COUNTERS_PER_BLOCK;
	return left * sizeof(struct xt_counters);
}

static __always_inline int copy_counters(__u32 index, __u64 address, __u32 bytes)
{
	struct counter_block *to = bpf_map_lookup_elem(&snapshots, &index);

	/* the bound must be seen on the register that the helper gets: 6.1 forgets it in a spilled u32 */
	barrier_var(bytes);
	if (!to || bytes > sizeof(*to))
		return -1;
	return bpf_probe_read_kernel(to, bytes, (void *)address);
}

static __always_inline int copy_block_to(__u32 index, __u64 info, __u32 block, __u64 offset, __u32 entries)
{
	struct table_blocks *blocks = bpf_map_lookup_elem(&blocks_of_tables, &info);

	barrier_var(block); /* one register for the check and the use */
	if (!blocks || block >= PT_MAX_BLOCKS)
		return -1;
	return copy_counters(index, blocks->cookie[block] + offset, block_bytes(entries, block));
}

static long copy_block(__u32 block, void *context)
{
	struct copy_blocks *c = context;

	if (!has_block(&c->touched, block))
		return 0;
	if (copy_block_to(c->base + block, c->info, block, c->percpu_offset, c->entries)) {
		c->failed = 1;
		return 1;
	}
	return 0;
}

/* One possible CPU: the counters are in the entries. */
static __always_inline int read_entry(struct walk_entries *w, const struct entry_layout *layout,
				      struct xt_counters *counters)
{
	/* next_offset lies 6 (ipt) or 10 (ip6t) bytes before the counters: one read for both */
	struct {
		__u16 head[8];
		struct xt_counters counters;
	} entry;
	__u16 next;

	if (bpf_probe_read_kernel(&entry, sizeof(entry), (void *)(w->entries + w->offset + w->counters - 16)))
		return -1;
	next = w->counters - w->next_offset == 6 ? entry.head[5] : entry.head[3];
	if (!next || w->offset + next > w->size)
		return -1;
	w->offset += next;
	*counters = entry.counters;
	return 0;
}

static long copy_entry(__u32 i, void *context)
{
	struct walk_entries *w = context;
	struct xt_counters now;
	__u32 index = w->base + i / PT_COUNTERS_PER_BLOCK;
	struct counter_block *to = bpf_map_lookup_elem(&snapshots, &index);

	if (!to || read_entry(w, NULL, &now)) {
		w->failed = 1;
		return 1;
	}
	to->counter[i % PT_COUNTERS_PER_BLOCK] = now;
	return 0;
}

static __always_inline int take_snapshot(struct cpu_context *cpu, struct legacy_frame *frame, __u32 slot,
					 const struct entry_layout *layout)
{
	__u32 base = snapshot_base(slot);

	if (possible_cpus <= 1) {
		struct walk_entries w = {
			.entries = frame->table_info + bpf_core_field_offset(struct xt_table_info, entries),
			.size = frame->blob_size,
			.next_offset = layout->next_offset,
			.counters = layout->counters,
			.base = base,
		};

		bpf_loop(frame->entries, copy_entry, &w, 0);
		return w.failed ? -1 : 0;
	}
	if (!frame->first_cookie) {
		struct table_blocks *blocks = find_blocks(frame, slot, layout);

		if (!blocks)
			return -1;
		frame->first_cookie = blocks->cookie[0];
	}
	if (frame->entries <= PT_COUNTERS_PER_BLOCK)
		return copy_counters(base, frame->first_cookie + percpu_offset(cpu),
				     block_bytes(frame->entries, 0));
	struct copy_blocks c = {
		.info = frame->table_info,
		.percpu_offset = percpu_offset(cpu),
		.base = base,
		.entries = frame->entries,
		.touched = frame->touched,
	};

	bpf_loop(blocks_needed(frame->entries), copy_block, &c, 0);
	return c.failed ? -1 : 0;
}

struct compare {
	__u64 info;
	__u64 percpu_offset;
	__u32 base;
	__u32 entries;
	__u32 slot;
	__u32 block;
	__u32 n_matched;
	__u32 doubt;
	struct pt_block_set touched;
	struct walk_entries walk; /* one possible CPU only */
};

static __always_inline int note_match(struct compare *c, __u32 index, __u64 before, __u64 now)
{
	__u32 slot = c->slot;
	__u32 n = c->n_matched;
	struct legacy_scratch *scratch = bpf_map_lookup_elem(&legacy_scratches, &slot);

	if (!scratch || n >= PT_MAX_MATCHED) {
		c->doubt |= PT_DOUBT_TRUNCATED;
		return 1;
	}
	if (now < before || now - before > 0xffff) { /* no walk does that */
		c->doubt |= PT_DOUBT_OTHER_WALK;
		return 1;
	}
	scratch->matched[n].index = index;
	scratch->matched[n].count = now - before;
	c->n_matched = n + 1;
	return 0;
}

static long compare_eight(__u32 i, void *context)
{
	struct compare *c = context;
	__u32 before_index = c->base + c->block;
	__u32 now_index = c->base + max_blocks;
	struct counter_block *before = bpf_map_lookup_elem(&snapshots, &before_index);
	struct counter_block *now = bpf_map_lookup_elem(&snapshots, &now_index);
	__u32 first = i * 8;
	__u64 different = 0;

	if (!before || !now || first > PT_COUNTERS_PER_BLOCK - 8)
		return 1;
#pragma unroll
	for (int k = 0; k < 8; k++)
		different |= before->counter[first + k].pcnt ^ now->counter[first + k].pcnt;
	if (!different)
		return 0;
	for (int k = 0; k < 8; k++) {
		__u32 index = c->block * PT_COUNTERS_PER_BLOCK + first + k;

		if (index >= c->entries)
			return 1;
		if (before->counter[first + k].pcnt != now->counter[first + k].pcnt &&
		    note_match(c, index, before->counter[first + k].pcnt, now->counter[first + k].pcnt))
			return 1;
	}
	return 0;
}

static __always_inline void compare_copied(struct compare *c, __u32 block)
{
	c->block = block;
	bpf_loop((block_bytes(c->entries, block) / sizeof(struct xt_counters) + 7) / 8, compare_eight, c, 0);
}

static long compare_block(__u32 block, void *context)
{
	struct compare *c = context;

	if (!has_block(&c->touched, block))
		return 0;
	if (copy_block_to(c->base + max_blocks, c->info, block, c->percpu_offset, c->entries)) {
		c->doubt |= PT_DOUBT_READ_FAILED;
		return 1;
	}
	compare_copied(c, block);
	return c->doubt != 0;
}

static long compare_entry(__u32 i, void *context)
{
	struct compare *c = context;
	__u32 index = c->base + i / PT_COUNTERS_PER_BLOCK;
	struct counter_block *before = bpf_map_lookup_elem(&snapshots, &index);
	struct xt_counters now;
	__u64 was;

	if (!before || read_entry(&c->walk, NULL, &now)) {
		c->doubt |= PT_DOUBT_READ_FAILED;
		return 1;
	}
	was = before->counter[i % PT_COUNTERS_PER_BLOCK].pcnt;
	return was != now.pcnt ? note_match(c, i, was, now.pcnt) : 0;
}

static __always_inline void compare_counters(struct cpu_context *cpu, struct legacy_frame *frame, __u32 slot,
					     const struct entry_layout *layout, struct compare *c)
{
	c->info = frame->table_info;
	c->base = snapshot_base(slot);
	c->entries = frame->entries;
	c->slot = slot;
	if (possible_cpus <= 1) {
		c->walk.entries = frame->table_info + bpf_core_field_offset(struct xt_table_info, entries);
		c->walk.size = frame->blob_size;
		c->walk.next_offset = layout->next_offset;
		c->walk.counters = layout->counters;
		bpf_loop(frame->entries, compare_entry, c, 0);
	} else {
		c->percpu_offset = percpu_offset(cpu);
		c->touched = frame->touched;
		if (frame->entries > PT_COUNTERS_PER_BLOCK)
			bpf_loop(blocks_needed(frame->entries), compare_block, c, 0);
		else if (copy_counters(c->base + max_blocks, frame->first_cookie + c->percpu_offset,
				       block_bytes(frame->entries, 0)))
			c->doubt |= PT_DOUBT_READ_FAILED;
		else
			compare_copied(c, 0);
	}
}

struct credit {
	__u32 from_slot;
	__u32 to_base;
};

/* What an inner walk matched must not show in the difference of the outer one. */
static long credit_match(__u32 i, void *context)
{
	struct credit *c = context;
	__u32 slot = c->from_slot;
	struct legacy_scratch *scratch = bpf_map_lookup_elem(&legacy_scratches, &slot);
	struct counter_block *to;
	__u32 index, block;

	if (!scratch || i >= PT_MAX_MATCHED)
		return 1;
	index = scratch->matched[i].index;
	block = c->to_base + index / PT_COUNTERS_PER_BLOCK;
	to = bpf_map_lookup_elem(&snapshots, &block);
	if (!to)
		return 1;
	to->counter[index % PT_COUNTERS_PER_BLOCK].pcnt += scratch->matched[i].count;
	return 0;
}

#endif
