/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Does the filter want this packet, and what does an event say of it. describe() runs only
 * for packets that are reported.
 */
#ifndef PATHTRACE_BPF_FLOW_H
#define PATHTRACE_BPF_FLOW_H

#include "lib/plain.h"

static __always_inline __u8 skb_family(struct sk_buff *skb)
{
	__be16 protocol = FIELD(skb, protocol);

	if (protocol == bpf_htons(ETH_P_IP))
		return AF_INET;
	if (protocol == bpf_htons(ETH_P_IPV6))
		return AF_INET6;
	return 0;
}

static __always_inline bool device_is(const struct net_device *dev)
{
	char name[PT_IFNAMSIZ];

	if (!dev || bpf_probe_read_kernel(name, sizeof(name), (const void *)dev->name))
		return false;
	/* up to the NUL: what follows it is the kernel's business */
	for (int i = 0; i < PT_IFNAMSIZ; i++) {
		if (name[i] != filter.interface[i])
			return false;
		if (!name[i])
			break;
	}
	return true;
}

static __always_inline bool devices_wanted(const struct nf_hook_state *state)
{
	return !filter.interface[0] || device_is(FIELD(state, in)) || device_is(FIELD(state, out));
}

/* An address for those who may not be handed a pointer (a global function's argument, arithmetic). The
 * verifier of 7.2 knows skb->head as a pointer, earlier ones as a number; what was negated is a number. */
static __always_inline __u64 as_number(__u64 pointer)
{
	asm volatile("%0 = -%0\n\t%0 = -%0" : "+r"(pointer));
	return pointer;
}

static __always_inline __u64 network_address(struct sk_buff *skb)
{
	return (__u64)FIELD(skb, head) + FIELD(skb, network_header);
}

static __always_inline bool netns_wanted(__u32 inode)
{
	return !filter.netns || filter.netns == inode;
}

/* For any skb whose network header is set; family 0 = look at skb->protocol. */
static __always_inline int skb_wanted(struct sk_buff *skb, __u8 family, struct tuple *t)
{
	if (!family)
		family = skb_family(skb);
	if (!family || (filter.family && family != filter.family))
		return NOT_WANTED;
	return tuple_at(t, as_number(network_address(skb)), family);
}

/* ARP is traced only where it is asked for: then nothing else is. The length of its link-layer addresses is
 * the device's (struct arphdr is followed by sender's link and IPv4 address, and the target's). */
static __noinline int arp_wanted(struct sk_buff *skb, struct tuple *t)
{
	__u64 network = network_address(skb);
	struct {
		__be16 hardware, protocol;
		__u8 hardware_length, protocol_length;
		__be16 operation;
	} arp;

	if (!t || filter.protocol != PT_PROTOCOL_ARP)
		return NOT_WANTED;
	if (bpf_probe_read_kernel(&arp, sizeof(arp), (void *)network) || arp.protocol_length != 4)
		return NOT_WANTED;
	network += sizeof(arp) + arp.hardware_length;
	if (bpf_probe_read_kernel(t->saddr, 4, (void *)network) ||
	    bpf_probe_read_kernel(t->daddr, 4, (void *)(network + 4 + arp.hardware_length)))
		return NOT_WANTED;
	t->family = AF_INET;
	t->protocol = PT_PROTOCOL_ARP;
	t->icmp_type = bpf_ntohs(arp.operation);
	/* the end that asks has port 1: two that ask each other are no answers */
	t->sport = t->icmp_type == PT_ARP_REQUEST ? bpf_htons(1) : 0;
	t->dport = t->icmp_type == PT_ARP_REQUEST ? 0 : bpf_htons(1);
	return tuple_wanted(t);
}

/* At a netfilter hook, for a packet that is possible. */
static __always_inline bool hook_possible(const struct nf_hook_state *state)
{
	return (!filter.netns || filter.netns == FIELD(state, net, ns.inum)) && devices_wanted(state);
}

/* At netdev egress, and wherever else the frame's header is there already, skb->len counts it. */
static __always_inline __u32 link_header_length(struct sk_buff *skb)
{
	__s64 before = as_number(network_address(skb)) - as_number((__u64)FIELD(skb, data));

	return before > 0 && before < 256 ? before : 0;
}

/* Fills in everything the event header says of the packet, from `t`. */
static __always_inline void describe(struct pt_event *e, struct sk_buff *skb, const struct tuple *t,
				     int wanted)
{
	__u64 network = network_address(skb);
	__u64 transport = network + t->transport_offset;

	e->skb = (__u64)skb;
	e->head = (__u64)FIELD(skb, head);
	e->cpu = bpf_get_smp_processor_id();
	e->flags = (wanted == WANTED_REVERSED ? PT_FLAG_REVERSED : 0) |
		   (t->icmp_error ? PT_FLAG_ICMP_ERROR : 0) | (t->fragment ? PT_FLAG_FRAGMENT : 0);
	__builtin_memcpy(e->flow.saddr, t->saddr, 16);
	__builtin_memcpy(e->flow.daddr, t->daddr, 16);
	e->flow.sport = bpf_ntohs(t->sport);
	e->flow.dport = bpf_ntohs(t->dport);
	e->flow.family = t->family;
	e->flow.protocol = t->protocol;
	e->flow.icmp_type = t->icmp_type;
	e->flow.icmp_code = t->icmp_code;
	e->flow.ip_id = bpf_ntohs(t->ip_id);
	e->flow.length = FIELD(skb, len) - link_header_length(skb);
	if (t->icmp_error) {
		transport += 8 + t->quoted_offset;
		if (t->family == AF_INET6)
			bpf_probe_read_kernel(e->icmp_source, 16, (void *)(network + 8));
		else
			bpf_probe_read_kernel(e->icmp_source, 4, (void *)(network + 12));
	}
	if (t->protocol == IPPROTO_TCP && !t->fragment) {
		struct {
			__be16 ports[2];
			__be32 seq, ack_seq;
			__u8 offset, flags;
		} tcp;

		/* an ICMP error may quote no more than ports and sequence number */
		if (!t->icmp_error && !bpf_probe_read_kernel(&tcp, 14, (void *)transport)) {
			e->flow.seq = bpf_ntohl(tcp.seq);
			e->flow.ack_seq = bpf_ntohl(tcp.ack_seq);
			e->flow.tcp_flags = tcp.flags;
		} else if (t->icmp_error && !bpf_probe_read_kernel(&tcp, 8, (void *)transport)) {
			e->flow.seq = bpf_ntohl(tcp.seq);
		}
	}
}

static __always_inline void describe_hook(struct pt_event *e, const struct nf_hook_state *state)
{
	const struct net_device *in = FIELD(state, in);
	const struct net_device *out = FIELD(state, out);

	e->netns = FIELD(state, net, ns.inum);
	e->hook = FIELD(state, hook);
	e->pf = FIELD(state, pf);
	if (in)
		e->iif = FIELD(in, ifindex);
	if (out)
		e->oif = FIELD(out, ifindex);
}

/* Longer than an answer takes, also where a virtual CPU is not running meanwhile. */
#define ANSWER_LASTS_NS 1000000000ull

/* Is what this CPU's context says that `task` began at `since_ns` still this task's? One that is moved to
 * another CPU before the function returns (preemptible kernels), or an exit that is missed, leaves it behind.
 */
static __always_inline bool is_under_way(__u64 task, __u64 since_ns)
{
	return task == bpf_get_current_task() && bpf_ktime_get_ns() - since_ns < ANSWER_LASTS_NS;
}

/* Where this packet comes from, as far as this hook shows it. */
static __always_inline void describe_origin(struct pt_event *e, const struct cpu_context *cpu,
					    struct sk_buff *skb)
{
	if (cpu->answering.skb && cpu->answering.skb != (__u64)skb &&
	    is_under_way(cpu->answering.task, cpu->answering.since_ns)) {
		e->origin = cpu->answering.origin;
		e->parent = cpu->answering.skb;
	} else if (e->iif && e->hook != NF_INET_POST_ROUTING) {
		e->origin = PT_ORIGIN_WIRE;
	} else if (FIELD(skb, sk)) {
		e->origin = PT_ORIGIN_LOCAL;
	}
}

#endif
