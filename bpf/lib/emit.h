/* SPDX-License-Identifier: GPL-2.0 */
/* Events of fixed size: reserve, fill in, submit; loss is counted. */
#ifndef PATHTRACE_BPF_EMIT_H
#define PATHTRACE_BPF_EMIT_H

#include "lib/flow.h"

static __always_inline void *begin_event(__u32 kind, __u32 size)
{
	struct pt_event *e = bpf_ringbuf_reserve(&events, size, 0);

	if (!e) {
		count_lost(kind);
		return NULL;
	}
	__builtin_memset(e, 0, size);
	e->ts_ns = bpf_ktime_get_ns();
	e->size = size;
	e->kind = kind;
	e->hook = PT_HOOK_NONE;
	return e;
}

static __always_inline void emit_event(void *event)
{
	bpf_ringbuf_submit(event, 0);
}

/* From the entry of a function that answers to its exit. */
static __always_inline void begin_answer(struct cpu_context *cpu, struct sk_buff *skb, __u32 origin)
{
	cpu->answering.skb = (__u64)skb;
	cpu->answering.task = bpf_get_current_task();
	cpu->answering.since_ns = bpf_ktime_get_ns();
	cpu->answering.origin = origin;
}

static __always_inline void end_answer(struct cpu_context *cpu)
{
	if (cpu->answering.skb && cpu->answering.task == bpf_get_current_task())
		cpu->answering.skb = 0;
}

/* The namespace of a packet outside a hook: of its device, else of the socket it is for,
 * else of its route's device. */
static __always_inline struct net *skb_net(struct sk_buff *skb, const struct sock *sk)
{
	struct net_device *dev = FIELD(skb, dev);

	if (dev)
		return FIELD(dev, nd_net.net);
	if (sk)
		return FIELD(sk, __sk_common.skc_net.net);
	struct dst_entry *dst = (void *)(FIELD(skb, _skb_refdst) & ~1ul);

	return BPF_CORE_READ(dst, dev, nd_net.net);
}

/* skb_wanted() for code that is not at a hook. */
static __always_inline int packet_wanted(struct sk_buff *skb, const struct sock *sk, struct tuple *t,
					 __u32 *netns)
{
	int wanted = skb_wanted(skb, 0, t);
	struct net *net;

	if (!wanted)
		return NOT_WANTED;
	if (filter.interface[0] && FIELD(skb, dev) && !device_is(FIELD(skb, dev)))
		return NOT_WANTED;
	net = skb_net(skb, sk);
	*netns = BPF_CORE_READ(net, ns.inum);
	if (!netns_wanted(*netns))
		return NOT_WANTED;
	return wanted;
}

#endif
