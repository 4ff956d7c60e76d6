// SPDX-License-Identifier: GPL-2.0
/*
 * Connection tracking drops a packet of which no rule knows: it has no room for a new connection, or
 * another packet made the same one meanwhile. kfree_skb says NETFILTER_DROP in nf_hook_slow(), as for any
 * hook; these two functions say which.
 *
 * Both run for new connections only: packets of known ones pass neither. Same signatures 5.4 .. 6.18.
 */
#include "lib/state.h"

#define NF_DROP	  0
#define MAX_ERRNO 4095

/* No memory, or the table is full and early_drop() found nothing to let go of (-ENOMEM): nf_conntrack_in()
 * returns NF_DROP now, and nf_hook_slow() frees the packet, which is known by its addresses and ports. */
#ifndef PT_KPROBE
SEC("fexit/__nf_conntrack_alloc")
int BPF_PROG(conntrack_alloc_exit, struct net *net, void *zone, const struct nf_conntrack_tuple *orig,
	     const struct nf_conntrack_tuple *reply, unsigned int gfp, unsigned int hash, void *made)
{
	struct cpu_context *cpu;

	if ((__u64)made < -(__u64)MAX_ERRNO)
		return 0;
	cpu = this_context();
	if (!cpu)
		return 0;
	bpf_core_read(cpu->doomed.saddr, 16, &orig->src.u3);
	bpf_core_read(cpu->doomed.daddr, 16, &orig->dst.u3);
	cpu->doomed.sport = orig->src.u.all;
	cpu->doomed.dport = orig->dst.u.all;
	cpu->doomed.why = PT_LOSS_CONNTRACK_FULL;
	return 0;
}

SEC("fexit/__nf_conntrack_confirm")
int BPF_PROG(conntrack_confirm_exit, struct sk_buff *skb, int verdict)
{
	struct cpu_context *cpu;

	if (verdict != NF_DROP)
		return 0;
	cpu = this_context();
	if (!cpu)
		return 0;
	cpu->doomed.skb = (__u64)skb;
	cpu->doomed.why = PT_LOSS_CONNTRACK_CLASH;
	return 0;
}
#endif

char LICENSE[] SEC("license") __weak = "GPL";
