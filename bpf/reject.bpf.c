// SPDX-License-Identifier: GPL-2.0
/*
 * Netfilter answers a packet with a RST or an ICMP error. A REJECT's RST fires no
 * tracepoint, and its drop looks like any other: these functions are the evidence.
 * What is sent while one of them runs is its answer (origin REJECT).
 */
#include "lib/emit.h"

static __always_inline int reject_enter(struct sk_buff *skb, __u32 with, __u32 code)
{
	struct cpu_context *cpu = this_context();
	struct tuple t = {};
	struct pt_reject *event;
	__u32 netns = 0;
	int wanted = packet_wanted(skb, NULL, &t, &netns);

	if (!cpu || !wanted)
		return 0;
	cpu->answering.skb = (__u64)skb;
	cpu->answering.origin = PT_ORIGIN_REJECT;
	cpu->rejected.skb = (__u64)skb;
	cpu->rejected.since_ns = bpf_ktime_get_ns();
	event = begin_event(PT_EVENT_REJECT, sizeof(*event));
	if (!event)
		return 0;
	describe(&event->e, skb, &t, wanted);
	event->e.netns = netns;
	event->e.iif = FIELD(skb, skb_iif);
	event->with = with;
	event->code = code;
	emit_event(event);
	return 0;
}

static __always_inline int reject_exit(void)
{
	struct cpu_context *cpu = this_context();

	if (cpu)
		cpu->answering.skb = 0;
	return 0;
}

/* (net, sk, oldskb, hook) since 5.10.y */
ENTER(nf_send_reset, nf_send_reset_enter, struct net *net, struct sock *sk, struct sk_buff *skb, int hook)
{
	return reject_enter(skb, PT_REJECT_TCP_RESET, 0);
}

LEAVE(nf_send_reset, nf_send_reset_exit)
{
	return reject_exit();
}

ENTER(nf_send_reset6, nf_send_reset6_enter, struct net *net, struct sock *sk, struct sk_buff *skb, int hook)
{
	return reject_enter(skb, PT_REJECT_TCP_RESET, 0);
}

LEAVE(nf_send_reset6, nf_send_reset6_exit)
{
	return reject_exit();
}

ENTER(nf_send_unreach, nf_send_unreach_enter, struct sk_buff *skb, int code, int hook)
{
	return reject_enter(skb, PT_REJECT_ICMP, code);
}

LEAVE(nf_send_unreach, nf_send_unreach_exit)
{
	return reject_exit();
}

ENTER(nf_send_unreach6, nf_send_unreach6_enter, struct net *net, struct sk_buff *skb, unsigned char code,
      unsigned int hook)
{
	return reject_enter(skb, PT_REJECT_ICMP6, code);
}

LEAVE(nf_send_unreach6, nf_send_unreach6_exit)
{
	return reject_exit();
}

char LICENSE[] SEC("license") __weak = "GPL";
