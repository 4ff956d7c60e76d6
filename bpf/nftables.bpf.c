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
 * traversals of one CPU apart while they last, nested ones included.
 */
#include "lib/emit.h"
#include "lib/interest.h"
#include "lib/changing.h"

#define NFT_JUMP  (-3)
#define NFT_GOTO  (-4)
#define NF_STOLEN 2

/* A frame older than this was left without its last record (nft_do_chain dropped the packet
 * on a jump stack overflow, or the trace key was turned off). No traversal takes a second. */
#define STALE_NS 1000000000ull

struct nft_scratch {
	struct pt_nft_walk walk;
	struct pt_nft_record records[PT_MAX_NFT_RECORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PT_FRAMES);
	__type(key, __u32);
	__type(value, struct nft_scratch);
} nft_scratches __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32); /* inode of the namespace */
	__type(value, struct pt_generation);
} nft_generations __weak SEC(".maps");

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

static __always_inline int find_nft_frame(struct cpu_context *cpu, const struct record *r)
{
	const struct nft_pktinfo *pkt = r->pkt;
	__u64 skb = (__u64)FIELD(pkt, skb);

	for (int i = 0; i < PT_FRAMES; i++)
		if (cpu->nft[i].pkt == (__u64)pkt && cpu->nft[i].skb == skb)
			return i;
	return -1;
}

static __always_inline int free_nft_slot(struct cpu_context *cpu, __u64 now)
{
	for (int i = 0; i < PT_FRAMES; i++)
		if (!cpu->nft[i].pkt || now - cpu->nft[i].start_ns > STALE_NS)
			return i;
	return -1;
}

/* Longer than a rule that rejects takes, also where a virtual CPU is not running meanwhile. */
#define REJECT_LASTS_NS 1000000000ull

/* A rule is reported after it ran: one that rejects began before its answer. That the packet before at this
 * address was freed may not have been seen. */
static __always_inline __u64 begin_of_walk(const struct cpu_context *cpu, const struct sk_buff *skb)
{
	__u64 now = bpf_ktime_get_ns();
	bool rejects = cpu->rejected.skb == (__u64)skb && now - cpu->rejected.since_ns < REJECT_LASTS_NS;

	return rejects ? cpu->rejected.since_ns : now;
}

/* A traversal's first record: is the packet wanted? Then the event begins. */
static __always_inline bool begin_walk(struct cpu_context *cpu, struct nft_frame *frame,
				       struct nft_scratch *scratch, struct sk_buff *skb,
				       const struct nf_hook_state *state, const struct record *r, __u8 family)
{
	struct pt_nft_walk *walk = &scratch->walk;
	/* a local of its own: BPF_CORE_READ would relocate struct record too */
	const struct nft_base_chain *basechain = r->basechain;
	struct pt_generation *g;
	struct tuple t = {};
	int wanted = hook_wanted(skb, state, family, &t);
	__u32 netns;

	if (!wanted)
		return false;
	__builtin_memset(walk, 0, sizeof(*walk));
	describe(&walk->e, skb, &t, wanted);
	if (!is_interesting(tuple_hash(&t, FIELD(state, net, ns.inum)), &walk->e))
		return false;
	netns = FIELD(state, net, ns.inum);
	frame->n_records = 0;
	describe_hook(&walk->e, state);
	describe_origin(&walk->e, cpu, skb);
	walk->e.ts_ns = begin_of_walk(cpu, skb);
	walk->e.kind = PT_EVENT_NFT_WALK;
	walk->table = BPF_CORE_READ(basechain, chain.table, handle);
	walk->chain = BPF_CORE_READ(basechain, chain.handle);
	walk->priority = BPF_CORE_READ(basechain, ops.priority);
	g = bpf_map_lookup_elem(&nft_generations, &netns);
	if (g)
		walk->generation = *g;
	return true;
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
	/* the end of a chain is a RETURN without a rule; the pointer is stale then */
	if (r->type == PT_NFT_RULE || (r->type == PT_NFT_RETURN && code == -5))
		out->rule = BPF_CORE_READ_BITFIELD_PROBED(rule, handle);
	if (code == NFT_JUMP || code == NFT_GOTO)
		out->target_chain = BPF_CORE_READ(verdict, chain, handle);
	frame->n_records = n + 1;
}

static __always_inline void emit_nft_walk(struct nft_frame *frame, struct nft_scratch *scratch)
{
	__u32 n = frame->n_records;
	__u32 size;

	barrier_var(n); /* or the compiler knows the bound, and the verifier doesn't */
	if (n > PT_MAX_NFT_RECORDS)
		n = PT_MAX_NFT_RECORDS;
	size = sizeof(scratch->walk) + n * sizeof(struct pt_nft_record);
	scratch->walk.n_records = n;
	scratch->walk.e.size = size;
	scratch->walk.end_ns = bpf_ktime_get_ns();
	if (bpf_ringbuf_output(&events, scratch, size, 0))
		count_lost(PT_EVENT_NFT_WALK);
}

static __always_inline int first_record(struct cpu_context *cpu, const struct record *r, __s32 code)
{
	const struct nft_pktinfo *pkt = r->pkt;
	const struct nf_hook_state *state = FIELD(pkt, state);
	struct sk_buff *skb = FIELD(pkt, skb);
	struct nft_scratch *scratch;
	struct nft_frame *frame;
	bool last = ends_walk(r, code);
	bool matched;
	__u64 now;
	__u8 family;
	__u8 pf = FIELD(state, pf);
	int slot;
	__u32 key;

	/* a stolen packet may be gone, it cannot be looked at */
	if (r->type == PT_NFT_RULE && code >= 0 && (code & 0xff) == NF_STOLEN)
		return 0;
	/* inet chains run for both families, bridge and netdev ones for any packet */
	family = pf == NFPROTO_IPV4 || pf == NFPROTO_IPV6 ? pf : skb_family(skb);
	matched = family && hook_worth_a_look(network_address(skb), state, family);
	if (!matched && last)
		return 0;
	now = bpf_ktime_get_ns();
	slot = free_nft_slot(cpu, now);
	if (slot < 0 || slot >= PT_FRAMES) {
		if (matched)
			count_lost(PT_EVENT_NFT_WALK);
		return 0;
	}
	key = slot;
	scratch = bpf_map_lookup_elem(&nft_scratches, &key);
	if (!scratch)
		return 0;
	frame = &cpu->nft[slot];
	if (!frame->pkt)
		cpu->nft_open++; /* else a stale one's place */
	else if (frame->matched)
		count_lost(PT_EVENT_NFT_WALK);
	frame->pkt = (__u64)pkt; /* claimed, before an interrupt wants it */
	frame->skb = (__u64)skb;
	frame->start_ns = now;
	if (matched)
		matched = begin_walk(cpu, frame, scratch, skb, state, r, family);
	if (matched)
		add_record(frame, scratch, r, code);
	frame->matched = matched;
	if (last) {
		if (matched)
			emit_nft_walk(frame, scratch);
		frame->pkt = 0;
		cpu->nft_open--;
	}
	return 0;
}

static __always_inline int handle_record(const struct record *r)
{
	struct cpu_context *cpu = this_context();
	const struct nft_base_chain *basechain = r->basechain;
	const struct nft_verdict *verdict = r->verdict;
	struct nft_scratch *scratch;
	struct nft_frame *frame;
	__s32 code;
	int slot = -1;
	__u32 key;

	if (!cpu)
		return 0;
	code = r->type == PT_NFT_POLICY ? FIELD(basechain, policy) : (__s32)FIELD(verdict, code);
	if (cpu->nft_open)
		slot = find_nft_frame(cpu, r);
	if (slot < 0 || slot >= PT_FRAMES)
		return first_record(cpu, r, code);
	frame = &cpu->nft[slot];
	if (frame->matched) {
		key = slot;
		scratch = bpf_map_lookup_elem(&nft_scratches, &key);
		if (!scratch)
			return 0;
		add_record(frame, scratch, r, code);
		if (ends_walk(r, code))
			emit_nft_walk(frame, scratch);
	}
	if (ends_walk(r, code)) {
		frame->pkt = 0;
		cpu->nft_open--;
	}
	return 0;
}

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
	bpf_map_update_elem(&nft_generations, &netns, &next, BPF_ANY);
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
