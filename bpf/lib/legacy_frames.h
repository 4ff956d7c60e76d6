/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The walks of legacy tables that are open on a CPU. They nest (a REJECT's answer passes OUTPUT inside the
 * walk that rejects; an interrupt's packet inside a process's), so each has a frame, and what an inner walk
 * counted is taken off the outer one.
 */
#ifndef PATHTRACE_BPF_LEGACY_FRAMES_H
#define PATHTRACE_BPF_LEGACY_FRAMES_H

#include "lib/legacy_counters.h"

/* A frame this old was left without its exit (the program was skipped): no walk takes a second. */
#define STALE_NS 1000000000ull

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

/* A walk that `task` began inside one of its own is over when that one is. A frame that it has still is
 * without exit: the program was skipped, as it was running already, for the outer walk. */
static __always_inline void free_inner(struct cpu_context *cpu, __u64 task, __u64 outer_ns)
{
	for (int i = 0; i < PT_FRAMES; i++) {
		struct legacy_frame *frame = &cpu->legacy[i];

		if (!frame->skb || frame->task != task || frame->start_ns <= outer_ns)
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

/* The counters as they are when the walk begins. False if another walk of this CPU fell into the copying. */
static __noinline bool copy_before(struct cpu_context *cpu, struct legacy_frame *frame, __u32 slot,
				   const struct entry_layout *layout)
{
	frame->others = 0; /* those that fell in so far are over */
	frame->recseq = read_recseq(cpu->percpu_offset);
	if (take_snapshot(cpu, frame, slot, layout))
		frame->doubt |= PT_DOUBT_READ_FAILED;
	return !frame->others && read_recseq(cpu->percpu_offset) == frame->recseq;
}

static __always_inline void open_frame(struct cpu_context *cpu, struct legacy_frame *frame, __u32 slot,
				       struct xt_table *table, struct sk_buff *skb,
				       struct legacy_scratch *scratch, __u32 hook, __u8 family)
{
	const struct entry_layout *layout = layout_of(family);
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
	/* nobody needs to know what it matches; should another frame of its table be open at its end, that
	 * one has to doubt */
	if (frame->silent && !shares_table(cpu, slot, frame->table_info))
		frame->doubt |= PT_DOUBT_NO_FRAME;
	if (frame->doubt) {
		if (!(frame->doubt & PT_DOUBT_NO_PERCPU))
			frame->recseq = read_recseq(cpu->percpu_offset); /* odd: inside another walk */
		return;
	}
	if (frame->entries > PT_COUNTERS_PER_BLOCK && possible_cpus > 1)
		find_touched(frame, scratch, as_number(network_address(skb)), hook, family);
	/* An interrupt's walk that falls into the copying makes it worthless: it is made again. */
	if (!copy_before(cpu, frame, slot, layout))
		copy_before(cpu, frame, slot, layout);
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

/* A walk of this CPU goes on without a frame. A kretprobe doesn't know whose end it sees: it will take it for
 * that of a walk that has one. */
static __always_inline void doubt_all(struct cpu_context *cpu)
{
#ifdef PT_KPROBE
	for (int i = 0; i < PT_FRAMES; i++)
		cpu->legacy[i].doubt |= PT_DOUBT_NO_FRAME;
#endif
}

/* A free frame of this CPU, or -1. What is open makes other walks dearer, so nothing stays that need not. */
static __always_inline int take_slot(struct cpu_context *cpu)
{
	int slot;

	if (cpu->legacy_open)
		free_stale(cpu);
	slot = free_slot(cpu);
	if (slot < 0)
		doubt_all(cpu);
	return slot;
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

/* Was this table there all the time, and were the other walks of this CPU since the frame's start all seen?
 * Asked once the counters were compared: a table may go, or an interrupt come, meanwhile; and the programs
 * that it would run are skipped where they are running already. */
static __always_inline void check_frame(struct cpu_context *cpu, struct legacy_frame *frame)
{
	struct pt_generation generation;
	__u32 delta;

	/* Replaced twice before the walk took its first look (xt_recseq goes up later), it may be another at
	 * the same address. */
	read_generation(frame->table, &generation);
	if (read_private(frame->table) != frame->table_info || generation.number != frame->generation.number)
		frame->doubt = PT_DOUBT_TABLE_REPLACED;
	if (frame->doubt)
		return;
	delta = read_recseq(cpu->percpu_offset) - frame->recseq;
	if (delta != (frame->recseq & 1 ? 0 : 2 * (1 + frame->others)))
		frame->doubt = PT_DOUBT_OTHER_WALK;
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
			if (!other->doubt) /* else it has a reason of its own */
				other->doubt = PT_DOUBT_OTHER_WALK;
			continue;
		}
		struct credit c = { .from_slot = slot, .to_base = snapshot_base(i) };

		bpf_loop(n_matched, credit_match, &c, 0);
	}
}

#endif
