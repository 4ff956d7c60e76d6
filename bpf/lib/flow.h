/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Does the filter want this packet, and what does an event say of it.
 *
 * wanted() is the hot path: every packet of the host that passes a hook goes through
 * it. It reads the headers once and compares with constants. describe() runs only
 * for packets that are reported.
 */
#ifndef PATHTRACE_BPF_FLOW_H
#define PATHTRACE_BPF_FLOW_H

#include "lib/state.h"

enum { NOT_WANTED = 0, WANTED = 1, WANTED_REVERSED = 2 };

struct ipv4_and_ports {
	__u8 version_ihl, tos;
	__be16 tot_len, id, frag_off;
	__u8 ttl, protocol;
	__be16 check;
	__u8 saddr[4], daddr[4];
	__be16 sport, dport; /* valid when ihl == 5 and this is the first fragment */
};

struct ipv6_and_ports {
	__u8 version_class, class_flow;
	__be16 flow;
	__be16 payload_len;
	__u8 nexthdr, hop_limit;
	__u8 saddr[16], daddr[16];
	__be16 sport, dport; /* valid when nexthdr is a transport protocol */
};

/* The addresses and ports a filter is compared with. */
struct tuple {
	__u8 saddr[16] __attribute__((aligned(8))), daddr[16] __attribute__((aligned(8)));
	__be16 sport, dport;
	__u8 family, protocol;
	__u8 icmp_type, icmp_code;
	__u8 icmp_error, fragment;
	__u8 transport_offset; /* of the outer transport header, from the network header */
	__u8 quoted_offset;    /* of the quoted transport header, if icmp_error */
	__be16 ip_id;
};

static __always_inline bool prefix_contains(const volatile struct pt_prefix *prefix, const __u8 *addr,
					    __u8 family)
{
	const volatile __u32 *want = (const volatile __u32 *)prefix->addr;
	const volatile __u32 *mask = (const volatile __u32 *)prefix->mask;
	const __u32 *have = (const __u32 *)addr;

	if (prefix->family != family)
		return false;
	if ((have[0] & mask[0]) != want[0])
		return false;
	if (prefix->family == AF_INET)
		return true;
	return (have[1] & mask[1]) == want[1] && (have[2] & mask[2]) == want[2] &&
	       (have[3] & mask[3]) == want[3];
}

static __always_inline bool one_way(const struct tuple *t, bool reversed)
{
	const __u8 *src = reversed ? t->daddr : t->saddr;
	const __u8 *dst = reversed ? t->saddr : t->daddr;
	__be16 sport = reversed ? t->dport : t->sport;
	__be16 dport = reversed ? t->sport : t->dport;

	if (filter.dport && dport != bpf_htons(filter.dport))
		return false;
	if (filter.sport && sport != bpf_htons(filter.sport))
		return false;
	if (filter.src.family && !prefix_contains(&filter.src, src, t->family))
		return false;
	if (filter.dst.family && !prefix_contains(&filter.dst, dst, t->family))
		return false;
	return true;
}

static __always_inline bool has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

static __always_inline int tuple_wanted(const struct tuple *t)
{
	if (filter.family && t->family != filter.family)
		return NOT_WANTED;
	if (filter.protocol) {
		bool icmp = filter.protocol == IPPROTO_ICMP || filter.protocol == IPPROTO_ICMPV6;
		bool is_icmp = t->protocol == IPPROTO_ICMP || t->protocol == IPPROTO_ICMPV6;

		if (icmp ? !is_icmp : t->protocol != filter.protocol)
			return NOT_WANTED;
	} else if (!has_ports(t->protocol)) {
		if (filter.dport || filter.sport || filter.port)
			return NOT_WANTED;
		if (t->protocol != IPPROTO_ICMP && t->protocol != IPPROTO_ICMPV6)
			return NOT_WANTED;
	}
	if (filter.port && t->sport != bpf_htons(filter.port) && t->dport != bpf_htons(filter.port))
		return NOT_WANTED;
	if (filter.host.family && !prefix_contains(&filter.host, t->saddr, t->family) &&
	    !prefix_contains(&filter.host, t->daddr, t->family))
		return NOT_WANTED;
	if (one_way(t, false))
		return WANTED;
	if ((filter.dport || filter.sport || filter.src.family || filter.dst.family) && one_way(t, true))
		return WANTED_REVERSED;
	return NOT_WANTED;
}

static __always_inline bool is_icmp_error(__u8 protocol, __u8 type)
{
	if (protocol == IPPROTO_ICMP) /* unreachable, source quench, time exceeded, parameter problem */
		return type == 3 || type == 4 || type == 11 || type == 12;
	return protocol == IPPROTO_ICMPV6 && type < 128;
}

/* The quoted packet of an ICMP error becomes the tuple. */
static __always_inline int read_quoted(struct tuple *t, __u64 quoted)
{
	if (t->family == AF_INET) {
		struct ipv4_and_ports inner;

		if (bpf_probe_read_kernel(&inner, sizeof(inner), (void *)quoted))
			return -1;
		__builtin_memcpy(t->saddr, inner.saddr, 4);
		__builtin_memcpy(t->daddr, inner.daddr, 4);
		t->protocol = inner.protocol;
		t->sport = inner.sport;
		t->dport = inner.dport;
		t->quoted_offset = (inner.version_ihl & 15) * 4;
	} else {
		struct ipv6_and_ports inner;

		if (bpf_probe_read_kernel(&inner, sizeof(inner), (void *)quoted))
			return -1;
		__builtin_memcpy(t->saddr, inner.saddr, 16);
		__builtin_memcpy(t->daddr, inner.daddr, 16);
		t->protocol = inner.nexthdr;
		t->sport = inner.sport;
		t->dport = inner.dport;
		t->quoted_offset = 40;
	}
	t->icmp_error = 1;
	return 0;
}

/* IPv6 extension headers before the transport header: hop-by-hop, routing, destination
 * options, fragment. At most eight. */
static __always_inline int skip_extensions(struct tuple *t, __u64 network)
{
	__u32 offset = 40;
	struct {
		__u8 next, len;
		__be16 rest;
	} ext;

	for (int i = 0; i < 8; i++) {
		__u8 kind = t->protocol;

		if (kind != 0 && kind != 43 && kind != 44 && kind != 60)
			break;
		if (bpf_probe_read_kernel(&ext, sizeof(ext), (void *)(network + offset)))
			return -1;
		if (kind == 44) {
			offset += 8;
			if (ext.rest & bpf_htons(0xfff8))
				t->fragment = 1;
		} else {
			offset += (ext.len + 1) * 8;
		}
		t->protocol = ext.next;
		if (offset > 200)
			return -1;
	}
	t->transport_offset = offset;
	if (!t->fragment && bpf_probe_read_kernel(&t->sport, 4, (void *)(network + offset)))
		return -1;
	return 0;
}

/* Reads addresses and ports at the network header; 0 when it is an IP packet. */
static __always_inline int read_tuple(struct tuple *t, __u64 network, __u8 family)
{
	if (family == AF_INET) {
		struct ipv4_and_ports ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), (void *)network))
			return -1;
		if (ip.version_ihl >> 4 != 4)
			return -1;
		__builtin_memcpy(t->saddr, ip.saddr, 4);
		__builtin_memcpy(t->daddr, ip.daddr, 4);
		t->sport = ip.sport;
		t->dport = ip.dport;
		t->protocol = ip.protocol;
		t->ip_id = ip.id;
		t->transport_offset = (ip.version_ihl & 15) * 4;
		t->fragment = (ip.frag_off & bpf_htons(0x1fff)) != 0;
		if (t->transport_offset != 20 && !t->fragment &&
		    bpf_probe_read_kernel(&t->sport, 4, (void *)(network + t->transport_offset)))
			return -1;
	} else {
		struct ipv6_and_ports ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), (void *)network))
			return -1;
		if (ip.version_class >> 4 != 6)
			return -1;
		__builtin_memcpy(t->saddr, ip.saddr, 16);
		__builtin_memcpy(t->daddr, ip.daddr, 16);
		t->sport = ip.sport;
		t->dport = ip.dport;
		t->protocol = ip.nexthdr;
		t->transport_offset = 40;
		if (ip.nexthdr != IPPROTO_TCP && ip.nexthdr != IPPROTO_UDP && ip.nexthdr != IPPROTO_ICMPV6 &&
		    skip_extensions(t, network))
			return -1;
	}
	t->family = family;
	if (t->fragment) {
		t->sport = 0;
		t->dport = 0;
	} else if (t->protocol == IPPROTO_ICMP || t->protocol == IPPROTO_ICMPV6) {
		t->icmp_type = t->sport & 0xff; /* first two bytes of the transport header, wire order */
		t->icmp_code = t->sport >> 8;
		t->sport = 0;
		t->dport = 0;
		if (is_icmp_error(t->protocol, t->icmp_type) &&
		    read_quoted(t, network + t->transport_offset + 8))
			return -1;
	}
	return 0;
}

/* Reads the tuple at a network header and asks the filter. A global function: the verifier looks at it once
 * and not again for every way that leads to it. */
__weak __noinline int tuple_at(struct tuple *t, __u64 network, __u32 family)
{
	if (!t || read_tuple(t, network, family))
		return NOT_WANTED;
	return tuple_wanted(t);
}

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

/* Can this packet's ports be wanted? Constants of the run decide what is compared. */
static __always_inline bool ports_possible(__be16 sport, __be16 dport)
{
	if (filter.port && sport != bpf_htons(filter.port) && dport != bpf_htons(filter.port))
		return false;
	if (!filter.sport && !filter.dport)
		return true;
	if ((!filter.dport || dport == bpf_htons(filter.dport)) &&
	    (!filter.sport || sport == bpf_htons(filter.sport)))
		return true;
	return (!filter.dport || sport == bpf_htons(filter.dport)) &&
	       (!filter.sport || dport == bpf_htons(filter.sport));
}

/* The first bytes of a packet as the hot path reads them, at once: up to the TCP flags. */
struct quick_ipv4 {
	__u8 version_ihl, tos;
	__be16 tot_len, id, frag_off;
	__u8 ttl, protocol;
	__be16 check;
	__be32 saddr, daddr;
	__be16 sport, dport;
	__be32 seq, ack_seq;
	__u8 offset, tcp_flags;
	__u16 pad;
};

struct quick_ipv6 {
	__be32 version_class_flow;
	__be16 payload_len;
	__u8 nexthdr, hop_limit;
	__u64 saddr[2], daddr[2];
	__be16 sport, dport;
	__be32 seq, ack_seq;
	__u8 offset, tcp_flags;
	__u16 pad;
};

enum { QUICK_NO = 0, QUICK_MAYBE = 1, QUICK_DATA = 2 };

/* A packet of bulk data: TCP, without SYN, FIN or RST. */
static __always_inline int quick_answer(__u8 protocol, __u8 tcp_flags)
{
	return protocol == IPPROTO_TCP && !(tcp_flags & 7) ? QUICK_DATA : QUICK_MAYBE;
}

static __always_inline bool quick_protocol(__u8 protocol)
{
	return !filter.protocol || filter.protocol == IPPROTO_ICMP || filter.protocol == IPPROTO_ICMPV6 ||
	       protocol == filter.protocol;
}

/* What most packets of a host pay: one read and a few comparisons. QUICK_NO is certain; of the others
 * hook_wanted() decides. *flow_hash is set for QUICK_DATA: two packets of one direction of one
 * connection have the same. */
static __always_inline int hook_quick(struct sk_buff *skb, const struct nf_hook_state *state, __u8 family,
				      __u64 *flow_hash)
{
	__u64 hash;
	int answer;

	if (filter.netns && filter.netns != FIELD(state, net, ns.inum))
		return QUICK_NO;
	if (filter.family && filter.family != family)
		return QUICK_NO;
	if (family == AF_INET) {
		struct quick_ipv4 ip;

		/* shorter packets: what lies behind them is memory of the skb's too (skb_shared_info) */
		if (bpf_probe_read_kernel(&ip, sizeof(ip), (void *)network_address(skb)))
			return QUICK_MAYBE;
		if (ip.version_ihl != 0x45 || (ip.frag_off & bpf_htons(0x1fff)) || !has_ports(ip.protocol))
			return QUICK_MAYBE;
		if (!quick_protocol(ip.protocol) || !ports_possible(ip.sport, ip.dport))
			return QUICK_NO;
		answer = quick_answer(ip.protocol, ip.tcp_flags);
		hash = ((__u64)ip.saddr << 32 | ip.daddr) * 0x9e3779b97f4a7c15ull;
		hash ^= (__u64)ip.sport << 16 | ip.dport;
	} else {
		struct quick_ipv6 ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), (void *)network_address(skb)))
			return QUICK_MAYBE;
		if (!has_ports(ip.nexthdr))
			return QUICK_MAYBE;
		if (!quick_protocol(ip.nexthdr) || !ports_possible(ip.sport, ip.dport))
			return QUICK_NO;
		answer = quick_answer(ip.nexthdr, ip.tcp_flags);
		hash = (ip.saddr[0] ^ ip.daddr[1]) * 0x9e3779b97f4a7c15ull;
		hash = (hash ^ ip.saddr[1]) * 0xbf58476d1ce4e5b9ull;
		hash = (hash ^ ip.daddr[0]) * 0x94d049bb133111ebull;
		hash ^= (__u64)ip.sport << 16 | ip.dport;
	}
	*flow_hash = (hash ^ (__u64)FIELD(state, net, ns.inum) << 32) * 0xbf58476d1ce4e5b9ull;
	return answer;
}

/* At a netfilter hook, for a packet of which hook_quick() is not sure. */
static __always_inline int hook_wanted(struct sk_buff *skb, const struct nf_hook_state *state, __u8 family,
				       struct tuple *t)
{
	if (filter.netns && filter.netns != FIELD(state, net, ns.inum))
		return NOT_WANTED;
	if (!devices_wanted(state))
		return NOT_WANTED;
	return skb_wanted(skb, family, t);
}

/* hook_quick()'s flow hash, for a packet that was parsed. */
static __always_inline __u64 tuple_hash(const struct tuple *t, __u32 netns)
{
	const __u64 *s = (const __u64 *)t->saddr;
	const __u64 *d = (const __u64 *)t->daddr;
	__u64 hash;

	if (t->family == AF_INET) {
		hash = ((__u64) * (const __be32 *)t->saddr << 32 | *(const __be32 *)t->daddr) *
		       0x9e3779b97f4a7c15ull;
	} else {
		hash = (s[0] ^ d[1]) * 0x9e3779b97f4a7c15ull;
		hash = (hash ^ s[1]) * 0xbf58476d1ce4e5b9ull;
		hash = (hash ^ d[0]) * 0x94d049bb133111ebull;
	}
	hash ^= (__u64)t->sport << 16 | t->dport;
	return (hash ^ (__u64)netns << 32) * 0xbf58476d1ce4e5b9ull;
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
	e->flow.length = FIELD(skb, len);
	if (t->icmp_error)
		transport += 8 + t->quoted_offset;
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

/* Where this packet comes from, as far as this hook shows it. */
static __always_inline void describe_origin(struct pt_event *e, const struct cpu_context *cpu,
					    struct sk_buff *skb)
{
	if (cpu->answering.skb && cpu->answering.skb != (__u64)skb) {
		e->origin = cpu->answering.origin;
		e->parent = cpu->answering.skb;
	} else if (e->iif && e->hook != NF_INET_POST_ROUTING) {
		e->origin = PT_ORIGIN_WIRE;
	} else if (FIELD(skb, sk)) {
		e->origin = PT_ORIGIN_LOCAL;
	}
}

#endif
