// SPDX-License-Identifier: GPL-2.0
/*
 * nftables without the kernel's trace key: the rules that decided where a packet goes.
 *
 * nft_do_chain() calls the evaluator of every expression with a pointer to the expression, which lies inside
 * its rule, and looks at the verdict register after each (regs->verdict, net/netfilter/nf_tables_core.c): as
 * soon as it holds anything but NFT_CONTINUE, the rule is over, and with a verdict of 0 or more the walk. So
 * an evaluator that leaves a verdict there names the rule: accept, drop, jump, goto, return (immediate),
 * verdict maps (lookup), reject, queue, NAT, xtables targets, and xtables matches that drop what they can't
 * judge (hotdrop). nft_do_chain() inlines only evaluators that
 * leave none (nft_cmp_fast_eval, nft_payload_fast_eval, ...); the others are functions, called directly or by
 * pointer. What is not seen: rules that let the packet go on, and the ends of chains. How the walk ended is
 * what nft_do_chain() returned.
 *
 * Only walks of packets that are wanted are followed, in a hash by their struct nft_pktinfo, which is on the
 * stack of nft_do_chain()'s caller: so it doesn't matter on which CPU a task goes on.
 */
#include "lib/nft.h"

#ifndef PT_KPROBE
#define JUMP_STACK 16	     /* NFT_JUMP_STACK_SIZE, beside the base chain */
#define MOST_RULES (1 << 17) /* of a chain, that are searched for an expression */
#define OPEN_WALKS 256

struct open_walk {
	__u64 skb;
	__u64 base; /* chain; a goto takes its place in chains[] */
	__u32 n_records;
	__u32 depth;	/* of chains[], where the packet is or was */
	__u64 ended_by; /* the expression of the rule that has decided */
	__u64 chains[JUMP_STACK + 1];
	struct nft_scratch s;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OPEN_WALKS);
	__type(key, __u64); /* struct nft_pktinfo * */
	__type(value, struct open_walk);
} nft_open_walks __weak SEC(".maps");

/* What a walk begins as; too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct open_walk);
} nft_new_walks __weak SEC(".maps");

/* How many there are: while there is none, all that other walks pay for is a look at this. */
__u32 nft_walks_open __weak = 0;

struct place {
	__u64 expression;
	__u64 rule; /* where the search is */
	__u64 end;
	__u64 handle; /* 0 = not found */
};

static long look_at_rule(__u32 i, struct place *place)
{
	const struct nft_rule_dp *rule = (const void *)place->rule;
	__u64 data = place->rule + sizeof(__u64);
	__u32 length;

	if (place->rule >= place->end || BPF_CORE_READ_BITFIELD_PROBED(rule, is_last))
		return 1;
	length = BPF_CORE_READ_BITFIELD_PROBED(rule, dlen);
	if (place->expression >= data && place->expression < data + length) {
		place->handle = BPF_CORE_READ_BITFIELD_PROBED(rule, handle);
		return 1;
	}
	place->rule = data + length;
	return 0;
}

/* The handle of the rule in `blob` that has the expression; 0 if none has. */
static __always_inline __u64 rule_in_blob(const struct nft_rule_blob *blob, __u64 expression)
{
	__u64 begin = (__u64)blob + bpf_core_field_offset(struct nft_rule_blob, data);
	struct place place = { .expression = expression, .rule = begin };

	if (!blob)
		return 0;
	place.end = begin + BPF_CORE_READ(blob, size);
	if (expression < begin || expression >= place.end)
		return 0;
	bpf_loop(MOST_RULES, look_at_rule, &place, 0);
	return place.handle;
}

/* Which of the two generations of a chain is walked depends on when the walk began. */
static __always_inline __u64 rule_in_chain(const struct nft_chain *chain, __u64 expression)
{
	__u64 handle = rule_in_blob(BPF_CORE_READ(chain, blob_gen_0), expression);

	return handle ? handle : rule_in_blob(BPF_CORE_READ(chain, blob_gen_1), expression);
}

struct search {
	struct open_walk *walk;
	__u64 expression;
	__u64 handle;
	__u32 depth;
	__u32 pad;
};

/* From the chain the packet was seen in last to those it came from: the ends of chains are not seen. */
static long look_in_chain(__u32 i, struct search *search)
{
	__u32 depth = search->depth;

	if (depth > JUMP_STACK)
		return 1;
	search->handle = rule_in_chain((const void *)search->walk->chains[depth], search->expression);
	if (search->handle || !depth)
		return 1;
	search->depth = depth - 1;
	return 0;
}

static __always_inline void follow(struct open_walk *walk, __u32 depth, __s32 code, __u64 target)
{
	if (code == NFT_JUMP)
		depth++;
	else if (code == NFT_RETURN && depth)
		depth--;
	if (depth > JUMP_STACK) /* the kernel drops the packet */
		return;
	if (code == NFT_JUMP || code == NFT_GOTO)
		walk->chains[depth] = target;
	walk->depth = depth;
}

static __always_inline int add_verdict(struct open_walk *walk, __u64 expression, __s32 code, __u64 target)
{
	struct search search = { .walk = walk, .expression = expression, .depth = walk->depth };
	const struct nft_chain *chain, *to = (const void *)target;
	struct pt_nft_record *out;
	__u32 n = walk->n_records;
	__u32 depth;

	if (n >= PT_MAX_NFT_RECORDS) {
		walk->s.walk.doubt |= PT_DOUBT_TRUNCATED;
		return 0;
	}
	bpf_loop(JUMP_STACK + 1, look_in_chain, &search, 0);
	depth = search.depth;
	if (!search.handle || depth > JUMP_STACK) {
		walk->s.walk.doubt |= PT_DOUBT_READ_FAILED;
		return 0;
	}
	out = &walk->s.records[n];
	__builtin_memset(out, 0, sizeof(*out));
	out->type = code == NFT_RETURN ? PT_NFT_RETURN : PT_NFT_RULE;
	out->verdict = code;
	chain = (const void *)
			walk->chains[depth]; /* a local of its own: or struct open_walk would be relocated */
	out->chain = BPF_CORE_READ(chain, handle);
	out->rule = search.handle;
	if (code == NFT_JUMP || code == NFT_GOTO)
		out->target_chain = BPF_CORE_READ(to, handle);
	walk->n_records = n + 1;
	follow(walk, depth, code, target);
	return 0;
}

/* The evaluator has run. */
static __always_inline int evaluated(const __u64 *ctx)
{
	const struct nft_regs *regs = (const void *)ARGUMENT(ctx, 2);
	const struct nft_pktinfo *packet = (const void *)ARGUMENT(ctx, 3);
	__u64 pkt = (__u64)packet;
	struct open_walk *walk;
	__s32 code;

	if (!nft_walks_open)
		return 0;
	walk = bpf_map_lookup_elem(&nft_open_walks, &pkt);
	if (!walk)
		return 0;
	code = BPF_CORE_READ(regs, verdict.code);
	if (code == NFT_CONTINUE || code == NFT_BREAK)
		return 0;
	/* one evaluator ends in another (nft_nat_inet_eval() in nft_nat_eval()) */
	if (walk->ended_by == ARGUMENT(ctx, 1))
		return 0;
	/* another packet's walk at the same place on the stack: this one's end was missed, or it is over */
	if (walk->skb != (__u64)BPF_CORE_READ(packet, skb) || walk->ended_by) {
		walk->s.walk.doubt |= PT_DOUBT_INCOMPLETE;
		return 0;
	}
	if (code >= 0)
		walk->ended_by = ARGUMENT(ctx, 1);
	return add_verdict(walk, ARGUMENT(ctx, 1), code, (__u64)BPF_CORE_READ(regs, verdict.chain));
}

SEC("fentry/nft_do_chain")
int BPF_PROG(nft_do_chain_enter, struct nft_pktinfo *pkt, struct nft_chain *chain)
{
	const struct nf_hook_state *state = pkt->state;
	struct sk_buff *skb = pkt->skb;
	struct cpu_context *cpu = this_context();
	__u8 family = walk_family(skb, state);
	struct nft_base_chain *basechain;
	struct open_walk *walk;
	__u64 key = (__u64)pkt;
	__u32 zero = 0;

	/* left there by a walk whose end was missed, as the program was running already: its event is lost */
	if (nft_walks_open && !bpf_map_delete_elem(&nft_open_walks, &key)) {
		__sync_fetch_and_add(&nft_walks_open, -1);
		count_lost(PT_EVENT_NFT_WALK);
	}
	if (!cpu || !family || !hook_worth_a_look(network_address(skb), state, family))
		return 0;
	walk = bpf_map_lookup_elem(&nft_new_walks, &zero);
	if (!walk)
		return 0;
	basechain = (void *)chain - bpf_core_field_offset(struct nft_base_chain, chain);
	if (!begin_nft_walk(cpu, &walk->s.walk, skb, state, basechain, family))
		return 0;
	walk->s.walk.seen = PT_NFT_SEEN_VERDICTS;
	walk->skb = (__u64)skb;
	walk->n_records = 0;
	walk->depth = 0;
	walk->ended_by = 0;
	walk->base = (__u64)chain;
	walk->chains[0] = (__u64)chain;
	if (bpf_map_update_elem(&nft_open_walks, &key, walk, BPF_NOEXIST)) {
		count_lost(PT_EVENT_NFT_WALK);
		return 0;
	}
	__sync_fetch_and_add(&nft_walks_open, 1);
	return 0;
}

SEC("fexit/nft_do_chain")
int BPF_PROG(nft_do_chain_exit, struct nft_pktinfo *pkt, struct nft_chain *chain, unsigned int verdict)
{
	const struct nft_base_chain *basechain;
	struct open_walk *walk;
	__u64 key = (__u64)pkt;

	if (!nft_walks_open)
		return 0;
	walk = bpf_map_lookup_elem(&nft_open_walks, &key);
	if (!walk)
		return 0;
	/* another packet's: its end was missed */
	if (walk->skb == (__u64)pkt->skb && walk->base == (__u64)chain) {
		basechain = (void *)chain - bpf_core_field_offset(struct nft_base_chain, chain);
		walk->s.walk.verdict = verdict;
		walk->s.walk.policy = BPF_CORE_READ(basechain, policy);
		emit_nft_walk(&walk->s.walk, walk->n_records);
	} else {
		count_lost(PT_EVENT_NFT_WALK);
	}
	if (!bpf_map_delete_elem(&nft_open_walks, &key))
		__sync_fetch_and_add(&nft_walks_open, -1);
	return 0;
}

/* (const struct nft_expr *, struct nft_regs *, const struct nft_pktinfo *), all of them, 5.4 .. 7.2 */
#define EVALUATOR(function)                                                                                  \
	SEC("fexit/" #function)                                                                              \
	int function##_verdict(__u64 *ctx)                                                                   \
	{                                                                                                    \
		return evaluated(ctx);                                                                       \
	}

EVALUATOR(nft_immediate_eval)
EVALUATOR(nft_lookup_eval)
EVALUATOR(nft_objref_eval)
EVALUATOR(nft_objref_map_eval)
EVALUATOR(nft_reject_ipv4_eval)
EVALUATOR(nft_reject_ipv6_eval)
EVALUATOR(nft_reject_inet_eval)
EVALUATOR(nft_reject_bridge_eval)
EVALUATOR(nft_reject_netdev_eval)
EVALUATOR(nft_queue_eval)
EVALUATOR(nft_queue_sreg_eval)
EVALUATOR(nft_nat_eval)
EVALUATOR(nft_nat_inet_eval)
EVALUATOR(nft_masq_ipv4_eval)
EVALUATOR(nft_masq_ipv6_eval)
EVALUATOR(nft_masq_inet_eval)
EVALUATOR(nft_masq_eval)
EVALUATOR(nft_redir_eval)
EVALUATOR(nft_redir_ipv4_eval)
EVALUATOR(nft_redir_ipv6_eval)
EVALUATOR(nft_redir_inet_eval)
EVALUATOR(nft_target_eval_xt)
EVALUATOR(nft_target_eval_bridge)
EVALUATOR(nft_match_eval)
EVALUATOR(nft_match_large_eval)
EVALUATOR(nft_fwd_netdev_eval)
EVALUATOR(nft_fwd_neigh_eval)
EVALUATOR(nft_synproxy_eval)
#endif

char LICENSE[] SEC("license") __weak = "GPL";
