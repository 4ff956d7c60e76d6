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
 * lib/legacy_table.h    where a table's counters are
 * lib/legacy_index.h    which of them a packet can raise
 * lib/legacy_counters.h copying and comparing them
 * lib/legacy_frames.h   telling nested walks from each other
 */
#define PT_DIRECT_LOADS
#include "lib/legacy_frames.h"
#include "lib/interest.h"
#include "lib/changing.h"

/* Nobody asked for this packet; but its walk may fall into one that is being watched on this CPU, and
 * must then be told from it. */
static __noinline int enter_silently(struct xt_table *table, struct sk_buff *skb,
				     const struct nf_hook_state *state, __u8 family)
{
	struct cpu_context *cpu;
	struct legacy_scratch *scratch;
	int slot;

	if (!open_walks)
		return 0;
	cpu = this_context();
	if (!cpu || !cpu->legacy_open)
		return 0;
	slot = take_slot(cpu); /* without one the outer walk sees that somebody was there, and doubts */
	if (slot < 0 || slot >= PT_FRAMES)
		return 0;
	__u32 key = slot;

	scratch = bpf_map_lookup_elem(&legacy_scratches, &key);
	if (!scratch)
		return 0;
	claim_frame(cpu, &cpu->legacy[slot], skb, true);
	open_frame(cpu, &cpu->legacy[slot], slot, table, skb, scratch, FIELD(state, hook), family);
	return 0;
}

/* Is this walk watched, or lost and counted? */
static __always_inline bool legacy_enter(struct xt_table *table, struct sk_buff *skb,
					 const struct nf_hook_state *state, const struct ipv4_words *ip,
					 __u8 family)
{
	struct legacy_scratch *scratch;
	struct legacy_frame *frame;
	struct cpu_context *cpu;
	struct tuple t = {};
	int slot, wanted = NOT_WANTED;

	if (hook_possible(state))
		wanted = family == NFPROTO_ARP		     ? arp_wanted(skb, &t)
			 : ip && is_plain_ipv4(ip->a, ip->b) ? plain_ipv4_wanted(&t, ip)
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
	open_frame(cpu, frame, slot, table, skb, scratch, FIELD(state, hook), family);
	return true;
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
	__u64 task, start_ns;
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
	if (!frame->doubt && (!frame->silent || shares_table(cpu, slot, frame->table_info))) {
		compare_counters(cpu, frame, slot, layout, &c);
		frame->doubt |= c.doubt;
	}
	check_frame(cpu, frame);
	if (cpu->legacy_open > 1)
		settle_with_others(cpu, frame, slot, c.n_matched);
	if (!frame->silent)
		emit_walk(frame, scratch, c.n_matched, verdict);
	task = frame->task;
	start_ns = frame->start_ns;
	close_frame(cpu, frame);
	if (cpu->legacy_open)
		free_inner(cpu, task, start_ns);
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
			    AF_INET);
}

static __noinline bool ipv6_enter(const void *ctx)
{
	return legacy_enter((void *)ARGUMENT(ctx, 1), (void *)ARGUMENT(ctx, 2), (void *)ARGUMENT(ctx, 3),
			    NULL, AF_INET6);
}

static __noinline bool arp_enter(const void *ctx)
{
	return legacy_enter((void *)ARGUMENT(ctx, 1), (void *)ARGUMENT(ctx, 2), (void *)ARGUMENT(ctx, 3),
			    NULL, NFPROTO_ARP);
}

static __always_inline int not_watched(const void *ctx, __u8 family)
{
	return open_walks ? enter_silently((void *)ARGUMENT(ctx, 1), (void *)ARGUMENT(ctx, 2),
					   (void *)ARGUMENT(ctx, 3), family)
			  : 0;
}

static __noinline int ipv4_exit(__u64 skb, bool may_migrate, __u32 verdict)
{
	return legacy_exit(skb, may_migrate, verdict, &ipt_layout);
}

static __noinline int ipv6_exit(__u64 skb, bool may_migrate, __u32 verdict)
{
	return legacy_exit(skb, may_migrate, verdict, &ip6t_layout);
}

/* Requests are sent by tasks and by timers. */
static __noinline int arp_exit(__u64 skb, __u32 verdict)
{
	return legacy_exit(skb, true, verdict, &arpt_layout);
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

/* Also where ARP isn't asked for: its walks may fall into others. */
ENTER(arpt_do_table, arpt_do_table_enter, void *priv, struct sk_buff *skb)
{
	if (filter.protocol == PT_PROTOCOL_ARP && arp_enter(ctx))
		return 0;
	return not_watched(ctx, NFPROTO_ARP);
}

static __always_inline int replace_enter(__u64 table)
{
	struct pt_generation *g = bpf_map_lookup_elem(&legacy_generations, &table);
	struct pt_generation next = { .changed_ns = ~0ull, .number = 1 };

	tables_replaced = 1;
	if (g)
		next.number = g->number + 1;
	if (bpf_map_update_elem(&legacy_generations, &table, &next, BPF_ANY))
		generations_full = 1;
	return 0;
}

static __always_inline int replace_exit(__u64 table)
{
	struct pt_generation *g = bpf_map_lookup_elem(&legacy_generations, &table);

	if (g)
		g->changed_ns = bpf_ktime_get_ns();
	return 0;
}

/* A table ends: what is read under its name from then on is another's. */
static __always_inline int table_ends(__u64 table)
{
	if (!table)
		return 0;
	replace_enter(table);
	return replace_exit(table);
}

/* up to 6.x */
ENTER(xt_unregister_table, xt_unregister_table_enter, struct xt_table *table)
{
	return table_ends((__u64)table);
}

/* 7.2: by its name, and it returns the table */
#ifndef PT_KPROBE
SEC("fexit/xt_unregister_table_exit")
int BPF_PROG(xt_unregister_table_exit_3, struct net *net, __u8 af, const char *name, struct xt_table *table)
{
	return table_ends((__u64)table);
}
#else
SEC("kretprobe/xt_unregister_table_exit")
int BPF_KRETPROBE(xt_unregister_table_exit_3_kprobe, struct xt_table *table)
{
	return table_ends((__u64)table);
}
#endif

/* xt_replace_table() swaps table->private: every iptables-legacy commit, restore and -Z. (On 6.12 and 7.2 a
 * new table's own entries, its policies, come otherwise.) */
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

SEC("fexit/arpt_do_table")
int BPF_PROG(arpt_do_table_exit, void *priv, struct sk_buff *skb, const struct nf_hook_state *state,
	     unsigned int verdict)
{
	return open_walks ? arp_exit((__u64)skb, verdict) : 0;
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

SEC("kretprobe/arpt_do_table")
int BPF_KRETPROBE(arpt_do_table_exit_kprobe, unsigned int verdict)
{
	return open_walks ? arp_exit(0, verdict) : 0;
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
