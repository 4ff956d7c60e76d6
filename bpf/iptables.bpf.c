// SPDX-License-Identifier: GPL-2.0
/*
 * iptables-legacy: which rules matched in one call of ipt_do_table().
 *
 * There is no per-rule function to hook; but the loop raises the counter of every rule
 * that matches exactly once, with bottom halves off, on the CPU that runs it. So the
 * counters are copied at entry and compared at exit. User space checks that the rules
 * whose counters went up form a legal walk that ends in the verdict returned; what
 * could have spoiled the difference is reported as doubt.
 *
 * Where counters live (xt_percpu_counter_alloc, unchanged 5.4 .. 6.18): with more than one
 * possible CPU, entry i's counter is at block[i / 256] + 16 * (i % 256) of per-CPU memory,
 * in blob order, chain heads and policies included; with one, in the entry itself.
 */
#define PT_DIRECT_LOADS
#include "lib/emit.h"
#include "lib/interest.h"
#include "lib/changing.h"

#define MAX_BLOCKS  256 /* 65,536 rules: the largest --max-rules */
#define MAX_ENTRIES (MAX_BLOCKS * PT_COUNTERS_PER_BLOCK)

struct xt_counters {
	__u64 pcnt, bcnt;
};

struct counter_block {
	struct xt_counters counter[PT_COUNTERS_PER_BLOCK];
};

/* Where in struct ipt_entry / ip6t_entry (UAPI). */
struct entry_layout {
	__u32 next_offset;
	__u32 counters;
};
static const struct entry_layout ipt_layout = { .next_offset = 90, .counters = 96 };
static const struct entry_layout ip6t_layout = { .next_offset = 142, .counters = 152 };

/* Where the counter blocks of a table are. */
struct table_blocks {
	__u64 table;
	__u32 generation;
	__u32 entries;
	__u64 cookie[MAX_BLOCKS];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, __u64); /* struct xt_table_info * */
	__type(value, struct table_blocks);
} blocks_of_tables __weak SEC(".maps");

/* [cpu][frame][block], and one block more each for the counters at exit. Sized by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counter_block);
} snapshots __weak SEC(".maps");

struct legacy_scratch {
	struct pt_legacy_walk walk;
	struct pt_match matched[PT_MAX_MATCHED];
	struct table_blocks blocks;
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

/* A frame this old was left without its exit (the program was skipped): no walk takes a second. */
#define STALE_NS 1000000000ull

static __always_inline __u32 snapshot_base(__u32 slot)
{
	return (bpf_get_smp_processor_id() * PT_FRAMES + slot) * (max_blocks + 1);
}

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

		if (!scratch || block >= MAX_BLOCKS ||
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

struct copy_blocks {
	__u64 info;
	__u64 percpu_offset;
	__u32 base;
	__u32 entries;
	__u32 failed;
	__u32 pad;
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
	if (!blocks || block >= MAX_BLOCKS)
		return -1;
	return copy_counters(index, blocks->cookie[block] + offset, block_bytes(entries, block));
}

static long copy_block(__u32 block, void *context)
{
	struct copy_blocks *c = context;

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

static __always_inline void read_generation(__u64 table, struct pt_generation *generation)
{
	struct pt_generation *g = tables_replaced ? bpf_map_lookup_elem(&legacy_generations, &table) : NULL;

	if (g)
		*generation = *g;
	else
		__builtin_memset(generation, 0, sizeof(*generation));
}

static __always_inline int free_slot(struct cpu_context *cpu)
{
	for (int i = 0; i < PT_FRAMES; i++)
		if (!cpu->legacy[i].skb)
			return i;
	return -1;
}

static __always_inline void close_frame(struct cpu_context *cpu, struct legacy_frame *frame)
{
	frame->skb = 0;
	__sync_fetch_and_add(&cpu->legacy_open, -1);
	__sync_fetch_and_add(&open_walks, -1);
}

/* Frees frames whose exit was never seen; their walks are lost, and counted. */
static __always_inline void free_stale(struct cpu_context *cpu)
{
	__u64 now = bpf_ktime_get_ns();

	for (int i = 0; i < PT_FRAMES; i++) {
		struct legacy_frame *frame = &cpu->legacy[i];

		if (!frame->skb || now - frame->start_ns < STALE_NS)
			continue;
		if (!frame->silent)
			count_lost(PT_EVENT_LEGACY_WALK);
		close_frame(cpu, frame);
	}
}

static __always_inline bool shares_table(struct cpu_context *cpu, int except, __u64 info)
{
	for (int i = 0; i < PT_FRAMES; i++)
		if (i != except && cpu->legacy[i].skb && cpu->legacy[i].table_info == info)
			return true;
	return false;
}

static __always_inline void open_frame(struct cpu_context *cpu, struct legacy_frame *frame, __u32 slot,
				       struct xt_table *table, struct legacy_scratch *scratch,
				       const struct entry_layout *layout)
{
	struct pt_generation generation;
	__u64 info, size_number, name = 0;

	frame->others = 0;
	frame->doubt = 0;
	frame->recseq = 0;
	info = read_private_and_name((__u64)table, &name);
	__builtin_memcpy(scratch->walk.table_name, &name, sizeof(name));
	/* the first two members of xt_table_info, since ever */
	size_number = kernel_word(info + bpf_core_field_offset(struct xt_table_info, size));
	/* after private: a table that is replaced in between shows at exit */
	read_generation((__u64)table, &generation);
	/* what the frame's last walk found out is good for this one, if it was of the same table */
	if (frame->table != (__u64)table || frame->table_info != info || frame->size_number != size_number ||
	    frame->generation.number != generation.number)
		frame->first_cookie = 0;
	frame->table = (__u64)table;
	frame->table_info = info;
	frame->size_number = size_number;
	frame->generation = generation;

	if (frame->entries > max_blocks * PT_COUNTERS_PER_BLOCK || frame->entries > MAX_ENTRIES)
		frame->doubt |= PT_DOUBT_TOO_LARGE;
	if (!percpu_offset(cpu) && possible_cpus > 1)
		frame->doubt |= PT_DOUBT_NO_PERCPU;
	if (!xt_recseq_cookie || !percpu_offset(cpu))
		frame->doubt |= PT_DOUBT_NO_PERCPU;
	else
		frame->recseq = read_recseq(cpu->percpu_offset);
	if (frame->doubt || (frame->silent && !shares_table(cpu, slot, frame->table_info)))
		return;
	if (take_snapshot(cpu, frame, slot, layout))
		frame->doubt |= PT_DOUBT_READ_FAILED;
}

/* Before anything is written to its scratch: an interrupt may come that wants a frame too. */
static __always_inline void claim_frame(struct cpu_context *cpu, struct legacy_frame *frame,
					struct sk_buff *skb, bool silent)
{
	frame->skb = (__u64)skb;
	frame->silent = silent;
	frame->task = bpf_get_current_task();
	frame->start_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&cpu->legacy_open, 1);
	__sync_fetch_and_add(&open_walks, 1);
}

/* A free frame of this CPU, or -1. */
static __always_inline int take_slot(struct cpu_context *cpu)
{
	int slot = free_slot(cpu);

	if (slot >= 0)
		return slot;
	free_stale(cpu);
	return free_slot(cpu);
}

/* Nobody asked for this packet; but its walk may fall into one that is being watched on this CPU, and
 * must then be told from it. */
static __noinline int enter_silently(struct xt_table *table, struct sk_buff *skb, __u8 family)
{
	struct cpu_context *cpu;
	struct legacy_scratch *scratch;
	int slot;

	if (!open_walks)
		return 0;
	cpu = this_context();
	if (!cpu || !cpu->legacy_open)
		return 0;
	slot = free_slot(cpu); /* without one the outer walk sees that somebody was there, and doubts */
	if (slot < 0 || slot >= PT_FRAMES)
		return 0;
	__u32 key = slot;

	scratch = bpf_map_lookup_elem(&legacy_scratches, &key);
	if (!scratch)
		return 0;
	claim_frame(cpu, &cpu->legacy[slot], skb, true);
	open_frame(cpu, &cpu->legacy[slot], slot, table, scratch,
		   family == AF_INET ? &ipt_layout : &ip6t_layout);
	return 0;
}

/* Is this walk watched, or lost and counted? */
static __always_inline bool legacy_enter(struct xt_table *table, struct sk_buff *skb,
					 const struct nf_hook_state *state, const struct ipv4_words *ip,
					 __u8 family, const struct entry_layout *layout)
{
	struct legacy_scratch *scratch;
	struct legacy_frame *frame;
	struct cpu_context *cpu;
	struct tuple t = {};
	int slot, wanted = NOT_WANTED;

	if (hook_possible(state))
		wanted = ip && is_plain_ipv4(ip->a, ip->b) ? plain_ipv4_wanted(&t, ip)
							   : skb_wanted(skb, family, &t);
	cpu = this_context();
	if (!wanted || !cpu)
		return false;
	slot = take_slot(cpu);
	if (slot < 0 || slot >= PT_FRAMES) {
		count_lost(PT_EVENT_LEGACY_WALK);
		return true;
	}
	__u32 key = slot;

	scratch = bpf_map_lookup_elem(&legacy_scratches, &key);
	if (!scratch)
		return true;
	frame = &cpu->legacy[slot];
	claim_frame(cpu, frame, skb, false);
	__builtin_memset(&scratch->walk, 0, sizeof(scratch->walk));
	describe(&scratch->walk.e, skb, &t, wanted);
	if (!is_interesting(tuple_hash(&t, FIELD(state, net, ns.inum)), &scratch->walk.e)) {
		close_frame(cpu, frame);
		return false;
	}
	describe_hook(&scratch->walk.e, state);
	describe_origin(&scratch->walk.e, cpu, skb);
	open_frame(cpu, frame, slot, table, scratch, layout);
	return true;
}

/* The innermost open frame of this task, and of this packet where the exit knows it. */
static __always_inline int find_frame(struct cpu_context *cpu, __u64 skb)
{
	__u64 task = bpf_get_current_task();
	__u64 latest = 0;
	int found = -1;

	for (int i = 0; i < PT_FRAMES; i++) {
		struct legacy_frame *frame = &cpu->legacy[i];

		if (!frame->skb || frame->task != task || (skb && frame->skb != skb) ||
		    frame->start_ns < latest)
			continue;
		latest = frame->start_ns;
		found = i;
	}
	return found;
}

static __always_inline void check_frame(struct cpu_context *cpu, struct legacy_frame *frame)
{
	__u32 delta;

	/* the same table_info can't have been freed and come back: the walk would show in xt_recseq */
	if (read_private(frame->table) != frame->table_info)
		frame->doubt |= PT_DOUBT_TABLE_REPLACED;
	if (frame->doubt)
		return;
	delta = read_recseq(cpu->percpu_offset) - frame->recseq;
	if (delta != (frame->recseq & 1 ? 0 : 2 * (1 + frame->others)))
		frame->doubt |= PT_DOUBT_OTHER_WALK;
}

/* `slot`'s walk is over: what it did must not be taken for the work of the walks that are still open. */
static __always_inline void settle_with_others(struct cpu_context *cpu, struct legacy_frame *frame,
					       __u32 slot, __u32 n_matched)
{
	for (int i = 0; i < PT_FRAMES; i++) {
		struct legacy_frame *other = &cpu->legacy[i];

		if (i == slot || !other->skb)
			continue;
		if (!(frame->recseq & 1) && !(frame->doubt & PT_DOUBT_NO_PERCPU))
			other->others++;
		if (other->table_info != frame->table_info)
			continue;
		if (frame->doubt) {
			other->doubt |= PT_DOUBT_OTHER_WALK;
			continue;
		}
		struct credit c = { .from_slot = slot, .to_base = snapshot_base(i) };

		bpf_loop(n_matched, credit_match, &c, 0);
	}
}

static __always_inline void emit_walk(struct legacy_frame *frame, struct legacy_scratch *scratch,
				      __u32 n_matched, __u32 verdict)
{
	struct pt_legacy_walk *walk = &scratch->walk;
	__u32 size;

	barrier_var(n_matched); /* or the compiler knows the bound, and the verifier doesn't */
	if (n_matched > PT_MAX_MATCHED)
		n_matched = PT_MAX_MATCHED;
	size = sizeof(*walk) + n_matched * sizeof(struct pt_match);
	walk->e.ts_ns = frame->start_ns;
	walk->e.kind = PT_EVENT_LEGACY_WALK;
	walk->e.size = size;
	walk->end_ns = bpf_ktime_get_ns();
	walk->table = frame->table;
	walk->table_info = frame->table_info;
	walk->generation = frame->generation;
	walk->entries = frame->entries;
	walk->blob_size = frame->blob_size;
	walk->verdict = verdict;
	walk->doubt = frame->doubt;
	walk->n_matched = n_matched;
	if (bpf_ringbuf_output(&events, walk, size, 0))
		count_lost(PT_EVENT_LEGACY_WALK);
}

struct search {
	__u64 task;
	__u64 skb;
	__u32 verdict;
	__u32 found;
};

/* Does this task's walk have its frame on that CPU? Then it is reported without its rules: what this
 * CPU's counters say is not about it, and what that CPU's say may be about others too. */
static long look_on_cpu(__u32 cpu_id, void *context)
{
	struct search *s = context;
	__u32 zero = 0;
	struct cpu_context *cpu = bpf_map_lookup_percpu_elem(&cpu_contexts, &zero, cpu_id);

	if (!cpu || !cpu->legacy_open)
		return 0;
	for (__u32 i = 0; i < PT_FRAMES; i++) {
		struct legacy_frame *frame = &cpu->legacy[i];
		__u32 slot = i;
		struct legacy_scratch *scratch;

		if (!frame->skb || frame->task != s->task || (s->skb && frame->skb != s->skb))
			continue;
		scratch = bpf_map_lookup_percpu_elem(&legacy_scratches, &slot, cpu_id);
		frame->doubt |= PT_DOUBT_MIGRATED;
		if (scratch && !frame->silent)
			emit_walk(frame, scratch, 0, s->verdict);
		close_frame(cpu, frame);
		return 1;
	}
	return 0;
}

/* A task that sends can be preempted before bottom halves are off or after they are on again, and go
 * on elsewhere. */
static __always_inline int exit_elsewhere(__u64 skb, __u32 verdict)
{
	struct search s = { .task = bpf_get_current_task(), .skb = skb, .verdict = verdict };

	bpf_loop(possible_cpus, look_on_cpu, &s, 0);
	return 0;
}

/* skb 0: a kretprobe, which sees no arguments. */
static __always_inline int legacy_exit(__u64 skb, bool may_migrate, __u32 verdict,
				       const struct entry_layout *layout)
{
	struct legacy_scratch *scratch;
	struct legacy_frame *frame;
	struct cpu_context *cpu;
	struct compare c = {};
	int slot = -1;

	cpu = this_context();
	if (!cpu)
		return 0;
	if (cpu->legacy_open)
		slot = find_frame(cpu, skb);
	if (slot < 0 || slot >= PT_FRAMES)
		return may_migrate ? exit_elsewhere(skb, verdict) : 0;
	__u32 key = slot;

	scratch = bpf_map_lookup_elem(&legacy_scratches, &key);
	if (!scratch)
		return 0;
	frame = &cpu->legacy[slot];
	check_frame(cpu, frame);
	if (!frame->doubt && (!frame->silent || shares_table(cpu, slot, frame->table_info))) {
		compare_counters(cpu, frame, slot, layout, &c);
		frame->doubt |= c.doubt;
	}
	if (cpu->legacy_open > 1)
		settle_with_others(cpu, frame, slot, c.n_matched);
	if (!frame->silent)
		emit_walk(frame, scratch, c.n_matched, verdict);
	close_frame(cpu, frame);
	return 0;
}

/* Softirqs stay on their CPU; what a task sends may not. */
static __always_inline bool may_migrate(const struct nf_hook_state *state)
{
	__u8 hook = FIELD(state, hook);

	return hook == NF_INET_LOCAL_OUT || hook == NF_INET_POST_ROUTING;
}

/* Few packets come to what follows. Not in line, so that the others don't pay for what it saves on the stack.
 * What is an argument of the kernel's function is taken from `ctx` where it is needed, and not kept until
 * then. */

static __noinline bool ipv4_quiet(const void *ctx, const struct ipv4_words *ip)
{
	struct sk_buff *skb = (void *)ARGUMENT(ctx, 2);

	return is_quiet_ipv4(ip, (__u64)FIELD(skb, data), (void *)ARGUMENT(ctx, 3));
}

static __noinline bool ipv4_enter(const void *ctx, const struct ipv4_words *ip)
{
	return legacy_enter((void *)ARGUMENT(ctx, 1), (void *)ARGUMENT(ctx, 2), (void *)ARGUMENT(ctx, 3), ip,
			    AF_INET, &ipt_layout);
}

static __noinline bool ipv6_enter(const void *ctx)
{
	return legacy_enter((void *)ARGUMENT(ctx, 1), (void *)ARGUMENT(ctx, 2), (void *)ARGUMENT(ctx, 3),
			    NULL, AF_INET6, &ip6t_layout);
}

static __always_inline int not_watched(const void *ctx, __u8 family)
{
	return open_walks ? enter_silently((void *)ARGUMENT(ctx, 1), (void *)ARGUMENT(ctx, 2), family) : 0;
}

static __noinline int ipv4_exit(__u64 skb, bool may_migrate, __u32 verdict)
{
	return legacy_exit(skb, may_migrate, verdict, &ipt_layout);
}

static __noinline int ipv6_exit(__u64 skb, bool may_migrate, __u32 verdict)
{
	return legacy_exit(skb, may_migrate, verdict, &ip6t_layout);
}

/* skb->data is the IP header here: the matches rely on that. */
ENTER(ipt_do_table, ipt_do_table_enter, void *priv, struct sk_buff *skb)
{
	struct ipv4_words ip;

#ifdef PT_DIRECT_LOADS
	if (direct_loads) {
		const __u64 *header = WORDS_AT(FIELD(skb, data));
		__u64 a = header[0], b = header[1], c = header[2];

		if (!ipv4_possible(a, b, c))
			return not_watched(ctx, AF_INET);
		ip = (struct ipv4_words){ a, b, c };
		return ipv4_quiet(ctx, &ip) || !ipv4_enter(ctx, &ip) ? not_watched(ctx, AF_INET) : 0;
	}
#endif
	bpf_probe_read_kernel(&ip, sizeof(ip), FIELD(skb, data)); /* zeros if it fails */
	if (ipv4_possible(ip.a, ip.b, ip.c) && !ipv4_quiet(ctx, &ip) && ipv4_enter(ctx, &ip))
		return 0;
	return not_watched(ctx, AF_INET);
}

ENTER(ip6t_do_table, ip6t_do_table_enter, void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	if (hook_worth_a_look((__u64)FIELD(skb, data), state, AF_INET6) && ipv6_enter(ctx))
		return 0;
	return not_watched(ctx, AF_INET6);
}

static __always_inline int replace_enter(__u64 table)
{
	struct pt_generation *g = bpf_map_lookup_elem(&legacy_generations, &table);
	struct pt_generation next = { .changed_ns = ~0ull, .number = 1 };

	tables_replaced = 1;
	if (g)
		next.number = g->number + 1;
	bpf_map_update_elem(&legacy_generations, &table, &next, BPF_ANY);
	return 0;
}

static __always_inline int replace_exit(__u64 table)
{
	struct pt_generation *g = bpf_map_lookup_elem(&legacy_generations, &table);

	if (g)
		g->changed_ns = bpf_ktime_get_ns();
	return 0;
}

/* xt_replace_table() swaps table->private: every iptables-legacy commit, restore and -Z. */
#ifndef PT_KPROBE
SEC("fexit/ipt_do_table")
int BPF_PROG(ipt_do_table_exit, void *priv, struct sk_buff *skb, const struct nf_hook_state *state,
	     unsigned int verdict)
{
	return open_walks ? ipv4_exit((__u64)skb, may_migrate(state), verdict) : 0;
}

SEC("fexit/ip6t_do_table")
int BPF_PROG(ip6t_do_table_exit, void *priv, struct sk_buff *skb, const struct nf_hook_state *state,
	     unsigned int verdict)
{
	return open_walks ? ipv6_exit((__u64)skb, may_migrate(state), verdict) : 0;
}

SEC("fentry/xt_replace_table")
int BPF_PROG(xt_replace_table_enter, struct xt_table *table)
{
	return replace_enter((__u64)table);
}

SEC("fexit/xt_replace_table")
int BPF_PROG(xt_replace_table_exit, struct xt_table *table)
{
	return replace_exit((__u64)table);
}
#else
SEC("kretprobe/ipt_do_table")
int BPF_KRETPROBE(ipt_do_table_exit_kprobe, unsigned int verdict)
{
	return open_walks ? ipv4_exit(0, true, verdict) : 0;
}

SEC("kretprobe/ip6t_do_table")
int BPF_KRETPROBE(ip6t_do_table_exit_kprobe, unsigned int verdict)
{
	return open_walks ? ipv6_exit(0, true, verdict) : 0;
}

SEC("kprobe/xt_replace_table")
int BPF_KPROBE(xt_replace_table_enter_kprobe, struct xt_table *table)
{
	remember_changing((__u64)table);
	return replace_enter((__u64)table);
}

SEC("kretprobe/xt_replace_table")
int BPF_KRETPROBE(xt_replace_table_exit_kprobe)
{
	return replace_exit(forget_changing());
}
#endif

char LICENSE[] SEC("license") __weak = "GPL";
