// SPDX-License-Identifier: GPL-2.0
/*
 * Netfilter answers a packet with a RST or an ICMP error. A REJECT's RST fires no
 * tracepoint, and its drop looks like any other: these functions are the evidence.
 * What is sent while one of them runs is its answer (origin REJECT).
 */
#include "lib/emit.h"

/* Reports that `skb` is rejected; the packet context, if it is wanted. */
static __always_inline struct cpu_context *report_reject(struct sk_buff *skb, __u32 with, __u32 code)
{
	struct cpu_context *cpu = this_context();
	struct tuple t = {};
	struct pt_reject *event;
	__u32 netns = 0;
	int wanted = packet_wanted(skb, NULL, &t, &netns);

	if (!cpu || !wanted)
		return NULL;
	cpu->rejected.skb = (__u64)skb;
	cpu->rejected.since_ns = bpf_ktime_get_ns();
	event = begin_event(PT_EVENT_REJECT, sizeof(*event));
	if (!event)
		return cpu;
	describe(&event->e, skb, &t, wanted);
	event->e.netns = netns;
	event->e.iif = FIELD(skb, skb_iif);
	event->with = with;
	event->code = code;
	emit_event(event);
	return cpu;
}

static __always_inline int reject_made(struct sk_buff *skb, __u32 with, __u32 code)
{
	report_reject(skb, with, code);
	return 0;
}

static __always_inline int reject_enter(struct sk_buff *skb, __u32 with, __u32 code)
{
	struct cpu_context *cpu = report_reject(skb, with, code);

	if (cpu)
		begin_answer(cpu, skb, PT_ORIGIN_REJECT);
	return 0;
}

static __always_inline int reject_exit(void)
{
	struct cpu_context *cpu = this_context();

	if (cpu)
		end_answer(cpu);
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

/* Families bridge and netdev: these make the answer, which the evaluator that calls them sends after they
 * have returned. (net, oldskb, dev, hook[, code]) since 5.15 */
ENTER(nf_reject_skb_v4_tcp_reset, nf_reject_skb_v4_tcp_reset_enter, struct net *net, struct sk_buff *skb,
      const struct net_device *dev, int hook)
{
	return reject_made(skb, PT_REJECT_TCP_RESET, 0);
}

ENTER(nf_reject_skb_v6_tcp_reset, nf_reject_skb_v6_tcp_reset_enter, struct net *net, struct sk_buff *skb,
      const struct net_device *dev, int hook)
{
	return reject_made(skb, PT_REJECT_TCP_RESET, 0);
}

ENTER(nf_reject_skb_v4_unreach, nf_reject_skb_v4_unreach_enter, struct net *net, struct sk_buff *skb,
      const struct net_device *dev, int hook, __u8 code)
{
	return reject_made(skb, PT_REJECT_ICMP, code);
}

ENTER(nf_reject_skb_v6_unreach, nf_reject_skb_v6_unreach_enter, struct net *net, struct sk_buff *skb,
      const struct net_device *dev, int hook, __u8 code)
{
	return reject_made(skb, PT_REJECT_ICMP6, code);
}

/* nft_reject_br_send_v4_tcp_reset(), ..., nft_reject_netdev_send_v4_tcp_reset(), ... send it, and the
 * compiler may inline them: (expr, regs, pkt) since 5.4 (bridge), 5.12 (netdev) */
static __always_inline int evaluator_enter(const struct nft_pktinfo *pkt)
{
	struct cpu_context *cpu = this_context();
	struct sk_buff *skb = FIELD(pkt, skb);
	struct tuple t = {};
	__u32 netns = 0;

	if (cpu && packet_wanted(skb, NULL, &t, &netns))
		begin_answer(cpu, skb, PT_ORIGIN_REJECT);
	return 0;
}

#define SENDS_ANSWER(function)                                                                               \
	ENTER(function, function##_answer, const void *expression, struct nft_regs *regs,                    \
	      const struct nft_pktinfo *pkt)                                                                 \
	{                                                                                                    \
		return evaluator_enter(pkt);                                                                 \
	}                                                                                                    \
	LEAVE(function, function##_answered)                                                                 \
	{                                                                                                    \
		return reject_exit();                                                                        \
	}

SENDS_ANSWER(nft_reject_bridge_eval)
SENDS_ANSWER(nft_reject_netdev_eval)

char LICENSE[] SEC("license") __weak = "GPL";
