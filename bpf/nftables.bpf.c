// SPDX-License-Identifier: GPL-2.0
/*
 * nftables: the rules, returns and policies of one traversal of a base chain.
 *
 * While the kernel's trace key is on (user/kernel/trace_key), nft_do_chain() calls
 * __nft_trace_packet() for every rule that matched, whatever packet it is. Records
 * of one traversal are gathered in a per-CPU frame and leave as one event with the
 * record that ends it. The frame also remembers that a packet is not wanted, so
 * that only a traversal's first record pays for the filter.
 *
 * struct nft_pktinfo is on nft_do_chain()'s caller's stack: its address tells
 * traversals of one CPU apart while they last, nested ones included. A task that is
 * moved to another CPU in the middle (preemptible kernels; nothing in nft_do_chain()
 * forbids it) takes its records along when its next rule is reported there.
 */
#include "lib/nft.h"
#include "lib/changing.h"

/* A frame older than this was left without its last record (nft_do_chain dropped the packet
 * on a jump stack overflow, or the trace key was turned off). No traversal takes a second. */
#define STALE_NS 1000000000ull
/* Nor one of these: what is not wanted costs no more than a second look. */
#define UNWANTED_NS 10000000ull

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PT_FRAMES);
	__type(key, __u32);
	__type(value, struct nft_scratch);
} nft_scratches __weak SEC(".maps");

/* Frames of wanted packets, on all CPUs: where there is none, none can have moved. */
__u32 nft_wanted_open __weak = 0;

struct record {
	const struct nft_pktinfo *pkt;
	const struct nft_base_chain *basechain;
	const struct nft_chain *chain; /* NULL where the kernel does not say */
	const struct nft_rule_dp *rule;
	const struct nft_verdict *verdict;
	__u32 type;
};

static __always_inline bool ends_walk(const struct record *r, __s32 code)
{
	return r->type == PT_NFT_POLICY || (r->type == PT_NFT_RULE && code >= 0);
}

static __always_inline bool steals(const struct record *r, __s32 code)
{
	return r->type == PT_NFT_RULE && code >= 0 && (code & 0xff) == NF_STOLEN;
}

/* The verifier would follow every slot on its own through all that comes after: to it, this is any number. */
static __always_inline int any_slot(const struct cpu_context *cpu, __s64 slot)
{
	__u64 unknown = cpu->nft_open;

	asm volatile("%0 += %1\n\t%0 -= %1" : "+r"(slot) : "r"(unknown));
	return slot;
}

static __always_inline int find_nft_frame(struct cpu_context *cpu, const struct nft_pktinfo *pkt)
{
	__u64 skb = (__u64)FIELD(pkt, skb);
	int slot = -1;

	for (int i = 0; i < PT_FRAMES; i++)
		if (cpu->nft[i].pkt == (__u64)pkt && cpu->nft[i].skb == skb) {
			slot = i;
			break;
		}
	return any_slot(cpu, slot);
}

static __always_inline int free_nft_slot(struct cpu_context *cpu, __u64 now)
{
	int slot = -1;

	for (int i = 0; i < PT_FRAMES; i++)
		if (!cpu->nft[i].pkt || now - cpu->nft[i].start_ns > STALE_NS) {
			slot = i;
			break;
		}
	return any_slot(cpu, slot);
}

static __always_inline void add_record(struct nft_frame *frame, struct nft_scratch *scratch,
				       const struct record *r, __s32 code)
{
	__u32 n = frame->n_records;
	struct pt_nft_record *out;
	const struct nft_chain *chain = r->chain;
	const struct nft_rule_dp *rule = r->rule;
	const struct nft_verdict *verdict = r->verdict;

	if (n >= PT_MAX_NFT_RECORDS) {
		scratch->walk.doubt |= PT_DOUBT_TRUNCATED;
		return;
	}
	out = &scratch->records[n];
	__builtin_memset(out, 0, sizeof(*out));
	out->type = r->type;
	out->verdict = code;
	if (chain)
		out->chain = BPF_CORE_READ(chain, handle);
	/* The end of a chain has no rule. It is a RETURN, and the pointer is stale then; or (6.12, 7.2) what
	 * nft_last_rule() has put behind the last rule, whose handle nobody has written. */
	if ((r->type == PT_NFT_RULE &&
	     !(code == NFT_CONTINUE && BPF_CORE_READ_BITFIELD_PROBED(rule, is_last))) ||
	    (r->type == PT_NFT_RETURN && code == NFT_RETURN))
		out->rule = BPF_CORE_READ_BITFIELD_PROBED(rule, handle);
	if (code == NFT_JUMP || code == NFT_GOTO)
		out->target_chain = BPF_CORE_READ(verdict, chain, handle);
	frame->n_records = n + 1;
}

static __always_inline void leave_frame(struct cpu_context *cpu, struct nft_frame *frame)
{
	frame->pkt = 0;
	cpu->nft_open--;
}

/* Of a wanted packet. */
static __always_inline void end_walk(struct cpu_context *cpu, struct nft_frame *frame,
				     struct nft_scratch *scratch)
{
	emit_nft_walk(&scratch->walk, frame->n_records);
	frame->matched = 0;
	__sync_fetch_and_add(&nft_wanted_open, -1);
	leave_frame(cpu, frame);
}

/* What has the same addresses is another packet, or at another base chain: the frame's walk went on
 * elsewhere, or its last record was not seen. */
static __always_inline bool is_left_behind(const struct nft_frame *frame, const struct record *r)
{
	if (frame->basechain && frame->basechain != (__u64)r->basechain)
		return true;
	return bpf_ktime_get_ns() - frame->start_ns > (frame->matched ? STALE_NS : UNWANTED_NS);
}

static __always_inline void give_up(struct cpu_context *cpu, struct nft_frame *frame)
{
	if (frame->matched) {
		count_lost(PT_EVENT_NFT_WALK);
		__sync_fetch_and_add(&nft_wanted_open, -1);
	}
	frame->matched = 0;
	leave_frame(cpu, frame);
}

struct moved {
	const struct nft_frame *to;
	const struct pt_nft_walk *walk; /* the new one */
	struct nft_scratch *scratch;
	__u64 found; /* records that came along, + 1; 0 = it did not move */
};

/* Chain 0: not known yet, see steal_enter(). */
static __always_inline bool is_same_chain(const struct pt_nft_walk *a, const struct pt_nft_walk *b)
{
	return !a->chain || !b->chain || (a->table == b->table && a->chain == b->chain);
}

/* One packet, at one base chain; not a later one that lives at the same addresses. */
static __always_inline bool is_same_walk(const struct pt_nft_walk *a, const struct pt_nft_walk *b)
{
	return is_same_chain(a, b) && a->e.hook == b->e.hook && a->e.head == b->e.head &&
	       a->e.netns == b->e.netns && a->e.flow.seq == b->e.flow.seq &&
	       a->e.flow.ack_seq == b->e.flow.ack_seq && a->e.flow.ip_id == b->e.flow.ip_id &&
	       a->e.flow.length == b->e.flow.length;
}

static long look_for_frame(__u32 cpu, struct moved *moved)
{
	__u32 zero = 0;
	struct cpu_context *other = bpf_map_lookup_percpu_elem(&cpu_contexts, &zero, cpu);

	if (!other || cpu == bpf_get_smp_processor_id())
		return 0;
	for (__u32 i = 0; i < PT_FRAMES; i++) {
		struct nft_frame *frame = &other->nft[i];
		struct nft_scratch *from;
		__u32 key = i;

		if (!frame->matched || frame->pkt != moved->to->pkt || frame->skb != moved->to->skb)
			continue;
		from = bpf_map_lookup_percpu_elem(&nft_scratches, &key, cpu);
		if (!from || !is_same_walk(&from->walk, moved->walk))
			continue;
		if (bpf_probe_read_kernel(moved->scratch, sizeof(*from), from))
			return 1;
		moved->found = frame->n_records + 1;
		/* nobody's any more; nft_open of that CPU is not ours to lower: its next walk takes the place
		 * of a stale one */
		frame->matched = 0;
		frame->skb = 0;
		frame->start_ns = 0;
		return 1;
	}
	return 0;
}

/* Has this traversal begun on another CPU? Then what was seen of it there is moved to this frame. */
static __always_inline void take_along(struct nft_frame *frame, struct nft_scratch *scratch)
{
	struct moved moved = { .to = frame, .walk = &scratch->walk, .scratch = scratch };

	bpf_loop(possible_cpus, look_for_frame, &moved, 0);
	if (!moved.found)
		return;
	frame->n_records = moved.found - 1;
	__sync_fetch_and_add(&nft_wanted_open, -1); /* one walk had two frames */
}

/* Claims a frame for a traversal that has none; -1 if there is none left. `possible`: it has to be looked
 * whether the packet is wanted. `basechain` may be NULL. */
static __always_inline int open_nft_frame(struct cpu_context *cpu, const struct nft_pktinfo *pkt,
					  const struct nft_base_chain *basechain, __u8 family, bool possible)
{
	const struct nf_hook_state *state = FIELD(pkt, state);
	struct sk_buff *skb = FIELD(pkt, skb);
	__u64 now = bpf_ktime_get_ns();
	int slot = free_nft_slot(cpu, now);
	struct nft_scratch *scratch;
	struct nft_frame *frame;
	__u32 key = slot;

	if (slot < 0 || slot >= PT_FRAMES) {
		if (possible)
			count_lost(PT_EVENT_NFT_WALK);
		return -1;
	}
	scratch = bpf_map_lookup_elem(&nft_scratches, &key);
	if (!scratch)
		return -1;
	frame = &cpu->nft[slot];
	if (!frame->pkt)
		cpu->nft_open++; /* else a stale one's place */
	else if (frame->matched) {
		count_lost(PT_EVENT_NFT_WALK);
		__sync_fetch_and_add(&nft_wanted_open, -1);
	}
	frame->matched = 0;
	frame->pkt = (__u64)pkt; /* claimed, before an interrupt wants it */
	frame->skb = (__u64)skb;
	frame->basechain = (__u64)basechain;
	frame->start_ns = now;
	frame->n_records = 0;
	if (!possible || !begin_nft_walk(cpu, &scratch->walk, skb, state, basechain, family))
		return slot;
	if (nft_wanted_open)
		take_along(frame, scratch);
	__sync_fetch_and_add(&nft_wanted_open, 1);
	frame->matched = 1;
	return slot;
}

/* A record of a wanted packet. */
static __always_inline void take_record(struct cpu_context *cpu, __u32 slot, const struct record *r,
					__s32 code)
{
	struct nft_scratch *scratch = bpf_map_lookup_elem(&nft_scratches, &slot);
	struct nft_frame *frame;

	if (!scratch || slot >= PT_FRAMES)
		return;
	frame = &cpu->nft[slot];
	if (!scratch->walk.chain)
		name_base_chain(&scratch->walk, r->basechain);
	frame->basechain = (__u64)r->basechain;
	add_record(frame, scratch, r, code);
	if (ends_walk(r, code))
		end_walk(cpu, frame, scratch);
}

/* A frame for a traversal whose first record this is; -1 if it needs none, or there is none left. */
static __always_inline int frame_of_first(struct cpu_context *cpu, const struct record *r, __s32 code)
{
	const struct nft_pktinfo *pkt = r->pkt;
	const struct nf_hook_state *state = FIELD(pkt, state);
	struct sk_buff *skb = FIELD(pkt, skb);
	bool matched;
	__u8 family;

	/* It may be gone, it cannot be looked at: steal_enter() would have done it before. */
	if (steals(r, code)) {
		if (hook_possible(state) && family_possible(state))
			count_lost(PT_EVENT_NFT_WALK);
		return -1;
	}
	family = walk_family(skb, state);
	matched = family && hook_worth_a_look(network_address(skb), state, family);
	if (!matched && ends_walk(r, code))
		return -1;
	return open_nft_frame(cpu, pkt, r->basechain, family, matched);
}

static __always_inline int handle_record(const struct record *r)
{
	struct cpu_context *cpu = this_context();
	const struct nft_base_chain *basechain = r->basechain;
	const struct nft_verdict *verdict = r->verdict;
	struct nft_frame *frame;
	__s32 code;
	int slot = -1;

	if (!cpu)
		return 0;
	code = r->type == PT_NFT_POLICY ? FIELD(basechain, policy) : (__s32)FIELD(verdict, code);
	if (cpu->nft_open)
		slot = find_nft_frame(cpu, r->pkt);
	if (slot >= 0 && slot < PT_FRAMES && is_left_behind(&cpu->nft[slot], r)) {
		give_up(cpu, &cpu->nft[slot]);
		slot = -1;
	}
	if (slot < 0)
		slot = frame_of_first(cpu, r, code);
	if (slot < 0 || slot >= PT_FRAMES)
		return 0;
	frame = &cpu->nft[slot];
	if (frame->matched)
		take_record(cpu, slot, r, code);
	else if (ends_walk(r, code))
		leave_frame(cpu, frame);
	return 0;
}

/*
 * An expression is about to be evaluated that may take the packet away (NF_STOLEN). Its rule is reported
 * afterwards; if it is the first one that matches, nobody has looked at the packet before.
 */
static __always_inline int steal_enter(const struct nft_pktinfo *pkt)
{
	const struct nf_hook_state *state = FIELD(pkt, state);
	struct sk_buff *skb = FIELD(pkt, skb);
	struct cpu_context *cpu = this_context();
	__u8 family;

	if (!cpu || (cpu->nft_open && find_nft_frame(cpu, pkt) >= 0))
		return 0;
	family = walk_family(skb, state);
	open_nft_frame(cpu, pkt, NULL, family,
		       family && hook_worth_a_look(network_address(skb), state, family));
	return 0;
}

/* (expression or object, regs, pkt), 5.4 .. 7.2 */
#define MAY_STEAL(function)                                                                                  \
	ENTER(function, function##_enter, const void *evaluated, struct nft_regs *regs,                      \
	      const struct nft_pktinfo *pkt)                                                                 \
	{                                                                                                    \
		return steal_enter(pkt);                                                                     \
	}

MAY_STEAL(nft_fwd_netdev_eval)
MAY_STEAL(nft_fwd_neigh_eval)
MAY_STEAL(nft_synproxy_eval)
MAY_STEAL(nft_synproxy_obj_eval)

/* 6.4 .. */
ENTER(__nft_trace_packet, nft_trace_packet_5, const struct nft_pktinfo *pkt,
      const struct nft_verdict *verdict, const struct nft_rule_dp *rule, struct nft_traceinfo *info,
      __u32 type)
{
	if (!FIELD(info, trace))
		return 0;
	struct record r = {
		.pkt = pkt,
		.basechain = FIELD(info, basechain),
		.rule = rule,
		.verdict = verdict,
		.type = type & 0xff,
	};

	return handle_record(&r);
}

/* 5.17 .. 6.3 */
ENTER(__nft_trace_packet, nft_trace_packet_3, struct nft_traceinfo___5_15 *info,
      const struct nft_chain *chain, __u32 type)
{
	if (!FIELD(info, trace))
		return 0;
	struct record r = {
		.pkt = FIELD(info, pkt),
		.basechain = FIELD(info, basechain),
		.chain = chain,
		.rule = FIELD(info, rule),
		.verdict = FIELD(info, verdict),
		.type = type & 0xff,
	};

	return handle_record(&r);
}

static __always_inline int commit_enter(__u32 netns)
{
	struct pt_generation *g = bpf_map_lookup_elem(&nft_generations, &netns);
	struct pt_generation next = { .changed_ns = ~0ull, .number = 1 };

	if (g)
		next.number = g->number + 1;
	if (bpf_map_update_elem(&nft_generations, &netns, &next, BPF_ANY))
		nft_generations_full = 1;
	return 0;
}

static __always_inline int commit_exit(__u32 netns)
{
	struct pt_generation *g = bpf_map_lookup_elem(&nft_generations, &netns);

	if (g)
		g->changed_ns = bpf_ktime_get_ns();
	return 0;
}

/* Every committed change of a namespace's ruleset. The namespace is this function's first argument. */
#ifndef PT_KPROBE
SEC("fentry/nf_tables_commit")
int BPF_PROG(nf_tables_commit_enter, struct net *net)
{
	return commit_enter(net->ns.inum);
}

SEC("fexit/nf_tables_commit")
int BPF_PROG(nf_tables_commit_exit, struct net *net)
{
	return commit_exit(net->ns.inum);
}
#else
SEC("kprobe/nf_tables_commit")
int BPF_KPROBE(nf_tables_commit_enter_kprobe, struct net *net)
{
	remember_changing(FIELD(net, ns.inum));
	return commit_enter(FIELD(net, ns.inum));
}

SEC("kretprobe/nf_tables_commit")
int BPF_KRETPROBE(nf_tables_commit_exit_kprobe)
{
	return commit_exit(forget_changing());
}
#endif

char LICENSE[] SEC("license") __weak = "GPL";
