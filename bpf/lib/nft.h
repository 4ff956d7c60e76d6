/* SPDX-License-Identifier: GPL-2.0 */
/* What both ways of watching a traversal of an nftables base chain share: by the kernel's trace records
 * (nftables.bpf.c) and, without the trace key, by verdicts (nft_verdicts.bpf.c). */
#ifndef PATHTRACE_BPF_NFT_H
#define PATHTRACE_BPF_NFT_H

#include "lib/emit.h"
#include "lib/interest.h"

#define NFT_CONTINUE (-1)
#define NFT_BREAK    (-2)
#define NFT_JUMP     (-3)
#define NFT_GOTO     (-4)
#define NFT_RETURN   (-5)
#define NF_STOLEN    2

struct nft_scratch {
	struct pt_nft_walk walk;
	struct pt_nft_record records[PT_MAX_NFT_RECORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32); /* inode of the namespace */
	__type(value, struct pt_generation);
} nft_generations __weak SEC(".maps");

/* inet chains run for both families, bridge and netdev ones for any packet; ARP is nobody's who doesn't ask
 * for it */
static __always_inline __u8 walk_family(struct sk_buff *skb, const struct nf_hook_state *state)
{
	__u8 pf = FIELD(state, pf);

	if (filter.protocol == PT_PROTOCOL_ARP)
		return FIELD(skb, protocol) == bpf_htons(ETH_P_ARP) ? NFPROTO_ARP : 0;
	return pf == NFPROTO_IPV4 || pf == NFPROTO_IPV6 ? pf : skb_family(skb);
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

/* By what can be told without a look at the packet. */
static __always_inline bool family_possible(const struct nf_hook_state *state)
{
	__u8 pf = FIELD(state, pf);

	return !filter.family || pf == filter.family || (pf != NFPROTO_IPV4 && pf != NFPROTO_IPV6);
}

static __always_inline void name_base_chain(struct pt_nft_walk *walk, const struct nft_base_chain *basechain)
{
	walk->table = BPF_CORE_READ(basechain, chain.table, handle);
	walk->chain = BPF_CORE_READ(basechain, chain.handle);
	walk->priority = BPF_CORE_READ(basechain, ops.priority);
}

/* Is the packet wanted? Then its event begins. `basechain` may be NULL, and its names come later. */
static __always_inline bool begin_nft_walk(struct cpu_context *cpu, struct pt_nft_walk *walk,
					   struct sk_buff *skb, const struct nf_hook_state *state,
					   const struct nft_base_chain *basechain, __u8 family)
{
	struct pt_generation *g;
	struct tuple t = {};
	int wanted = NOT_WANTED;
	__u32 netns;

	if (hook_possible(state))
		wanted = family == NFPROTO_ARP ? arp_wanted(skb, &t) : skb_wanted(skb, family, &t);
	if (!wanted)
		return false;
	__builtin_memset(walk, 0, sizeof(*walk));
	describe(&walk->e, skb, &t, wanted);
	if (!is_interesting(tuple_hash(&t, FIELD(state, net, ns.inum)), &walk->e))
		return false;
	netns = FIELD(state, net, ns.inum);
	describe_hook(&walk->e, state);
	describe_origin(&walk->e, cpu, skb);
	walk->e.ts_ns = begin_of_walk(cpu, skb);
	walk->e.kind = PT_EVENT_NFT_WALK;
	if (basechain)
		name_base_chain(walk, basechain);
	g = bpf_map_lookup_elem(&nft_generations, &netns);
	if (g)
		walk->generation = *g;
	else if (nft_generations_full)
		walk->generation.changed_ns = ~0ull;
	return true;
}

/* `walk` has room for PT_MAX_NFT_RECORDS records behind it. */
static __always_inline void emit_nft_walk(struct pt_nft_walk *walk, __u32 n)
{
	__u32 size;

	barrier_var(n); /* or the compiler knows the bound, and the verifier doesn't */
	if (n > PT_MAX_NFT_RECORDS)
		n = PT_MAX_NFT_RECORDS;
	size = sizeof(*walk) + n * sizeof(struct pt_nft_record);
	walk->n_records = n;
	walk->e.size = size;
	walk->end_ns = bpf_ktime_get_ns();
	if (bpf_ringbuf_output(&events, walk, size, 0))
		count_lost(PT_EVENT_NFT_WALK);
}

#endif
