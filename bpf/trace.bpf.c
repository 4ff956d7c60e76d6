// SPDX-License-Identifier: GPL-2.0
/*
 * iptables TRACE, beside us: trace_packet() of a legacy table calls nf_log_trace() for every rule
 * that a marked packet matches, with or without a logging backend.
 *
 * nf_log_trace(net, pf, hooknum, skb, in, out, loginfo, fmt, table, chain, type, number) has a
 * variable argument list, which fentry refuses: by kprobe only, arguments from the seventh on the
 * stack (x86-64). Same signature 5.4 .. 6.18.
 */
#include "lib/emit.h"

#ifdef PT_KPROBE
SEC("kprobe/nf_log_trace")
int BPF_KPROBE(nf_log_trace_kprobe, struct net *net, __u8 pf, unsigned int hooknum, struct sk_buff *skb)
{
	struct {
		__u64 loginfo, format, table, chain, type, number;
	} stack;
	struct pt_trace_log *event;
	struct tuple t = {};
	__u32 netns = FIELD(net, ns.inum);
	int wanted;

	if (!netns_wanted(netns))
		return 0;
	wanted = skb_wanted(skb, 0, &t);
	if (!wanted || bpf_probe_read_kernel(&stack, sizeof(stack), (void *)(ctx->rsp + 8)))
		return 0;
	event = begin_event(PT_EVENT_TRACE_LOG, sizeof(*event));
	if (!event)
		return 0;
	describe(&event->e, skb, &t, wanted);
	event->e.netns = netns;
	event->e.pf = pf;
	event->e.hook = hooknum;
	bpf_probe_read_kernel_str(event->table, sizeof(event->table), (void *)stack.table);
	bpf_probe_read_kernel_str(event->chain, sizeof(event->chain), (void *)stack.chain);
	bpf_probe_read_kernel_str(event->type, sizeof(event->type), (void *)stack.type);
	event->number = stack.number;
	emit_event(event);
	return 0;
}
#endif

char LICENSE[] SEC("license") __weak = "GPL";
