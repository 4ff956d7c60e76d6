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

/* IPv6's own: multicast listeners, routers, neighbours. */
static __always_inline bool is_housekeeping(__u8 icmp6_type)
{
	return (icmp6_type >= 130 && icmp6_type <= 137) || icmp6_type == 143;
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
		if (t->protocol == IPPROTO_ICMPV6 && is_housekeeping(t->icmp_type))
			return NOT_WANTED; /* unless it is asked for */
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

/* IPv6 extension headers before the transport header: hop-by-hop, routing, destination
 * options, fragment. At most eight. A global function, as tuple_at() below. */
__weak __noinline int skip_extensions(struct tuple *t, __u64 network)
{
	__u32 offset = 40;
	struct {
		__u8 next, len;
		__be16 rest;
	} ext;

	if (!t)
		return -1;
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

/* The quoted packet of an ICMP error becomes the tuple. */
static __always_inline int read_quoted(struct tuple *t, __u64 quoted)
{
	__u8 outer = t->transport_offset;

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
		t->fragment = (inner.frag_off & bpf_htons(0x1fff)) != 0;
		if (t->quoted_offset != 20 && !t->fragment &&
		    bpf_probe_read_kernel(&t->sport, 4, (void *)(quoted + t->quoted_offset)))
			return -1;
	} else {
		struct ipv6_and_ports inner;

		if (bpf_probe_read_kernel(&inner, sizeof(inner), (void *)quoted))
			return -1;
		__builtin_memcpy(t->saddr, inner.saddr, 16);
		__builtin_memcpy(t->daddr, inner.daddr, 16);
		t->protocol = inner.nexthdr;
		t->sport = inner.sport;
		t->dport = inner.dport;
		t->transport_offset = 40;
		if (!has_ports(inner.nexthdr) && skip_extensions(t, quoted))
			return -1;
		t->quoted_offset = t->transport_offset;
		t->transport_offset = outer;
	}
	if (t->fragment || t->protocol == IPPROTO_ICMP || t->protocol == IPPROTO_ICMPV6) {
		t->sport = 0;
		t->dport = 0;
	}
	t->icmp_error = 1;
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

/* Can a packet with these ports be wanted? They are the upper half of `ports`, as they lie in the header.
 * User space has made two comparisons of the filter: for a packet and for its answer. */
static __always_inline bool ports_possible(__u64 ports)
{
	return (ports & port_tests[0].mask) == port_tests[0].want ||
	       (ports & port_tests[1].mask) == port_tests[1].want;
}

/* The kernel's memory, for loads instead of calls; `type` only says how far one may read. Since 6.2. An
 * object that wants it defines PT_DIRECT_LOADS: bpftool 7.1 can't join two that name a function of the
 * kernel. */
#if defined(PT_DIRECT_LOADS) && !defined(PT_KPROBE)
extern void *bpf_rdonly_cast(const void *obj, __u32 type) __ksym __weak;
#define WORDS_AT(address)                                                                                    \
	((const __u64 *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(struct task_cputime)))
#else
#undef PT_DIRECT_LOADS
#endif

/* A number of the kernel's, 0 if it can't be read. */
static __always_inline __u64 kernel_word(__u64 address)
{
	__u64 word = 0;

#ifdef PT_DIRECT_LOADS
	if (direct_loads)
		return WORDS_AT(address)[0];
#endif
	bpf_probe_read_kernel(&word, sizeof(word), (void *)address);
	return word;
}

/* The first 24 bytes of an IPv4 packet; without options, the ports are among them. */
struct ipv4_words {
	__u64 a, b, c;
};

static __always_inline bool is_plain_ipv4(__u64 a, __u64 b)
{
	__u32 protocol = b & 0xff00;

	/* version 4, header of 20 bytes, not a later fragment */
	if ((a & 0xff1f0000000000ffull) != 0x45)
		return false;
	return protocol == IPPROTO_UDP << 8 || protocol == IPPROTO_TCP << 8;
}

/* What every packet of the host pays. False is certain; of the others hook_wanted() decides. */
static __always_inline bool ipv4_possible(__u64 a, __u64 b, __u64 c)
{
	return !is_plain_ipv4(a, b) || ports_possible(c);
}

/* Two packets of one direction of one connection have the same. */
static __always_inline __u64 mix_netns(__u64 hash, __u32 netns)
{
	return (hash ^ (__u64)netns << 32) * 0xbf58476d1ce4e5b9ull;
}

static __always_inline __u64 mix_ports(__u64 hash, __u32 ports)
{
	return hash ^ ((ports & 0xffff) << 16 | ports >> 16);
}

static __always_inline __u64 ipv4_hash(const struct ipv4_words *ip, __u32 netns)
{
	__u64 addresses = (ip->b & 0xffffffff00000000ull) | (__u32)ip->c;

	return mix_netns(mix_ports(addresses * 0x9e3779b97f4a7c15ull, ip->c >> 32), netns);
}

/* The first 44 bytes of an IPv6 packet; without extension headers, the ports are among them. */
struct ipv6_words {
	__u64 first, saddr[2], daddr[2];
	__u32 ports;
	__u32 pad;
};

static __always_inline bool is_plain_ipv6(const struct ipv6_words *ip)
{
	return has_ports(ip->first >> 48);
}

static __always_inline bool ipv6_possible(const struct ipv6_words *ip)
{
	return !is_plain_ipv6(ip) || ports_possible((__u64)ip->ports << 32);
}

static __always_inline __u64 ipv6_hash(const struct ipv6_words *ip, __u32 netns)
{
	__u64 hash = (ip->saddr[0] ^ ip->daddr[1]) * 0x9e3779b97f4a7c15ull;

	hash = (hash ^ ip->saddr[1]) * 0xbf58476d1ce4e5b9ull;
	hash = (hash ^ ip->daddr[0]) * 0x94d049bb133111ebull;
	return mix_netns(mix_ports(hash, ip->ports), netns);
}

/* tuple_at() for a plain packet, whose first bytes were read already. */
__weak __noinline int plain_ipv4_wanted(struct tuple *t, const struct ipv4_words *ip)
{
	if (!t || !ip)
		return NOT_WANTED;
	*(__u32 *)t->saddr = ip->b >> 32;
	*(__u32 *)t->daddr = ip->c;
	t->sport = ip->c >> 32;
	t->dport = ip->c >> 48;
	t->protocol = ip->b >> 8;
	t->ip_id = ip->a >> 32;
	t->transport_offset = 20;
	t->family = AF_INET;
	return tuple_wanted(t);
}

/* At a netfilter hook, for a packet that is possible. */
static __always_inline bool hook_possible(const struct nf_hook_state *state)
{
	return (!filter.netns || filter.netns == FIELD(state, net, ns.inum)) && devices_wanted(state);
}

static __always_inline int hook_wanted(struct sk_buff *skb, const struct nf_hook_state *state, __u8 family,
				       struct tuple *t)
{
	return hook_possible(state) ? skb_wanted(skb, family, t) : NOT_WANTED;
}

/* ipv4_hash() or ipv6_hash(), for a packet that was parsed. */
static __always_inline __u64 tuple_hash(const struct tuple *t, __u32 netns)
{
	const __u64 *saddr = (const __u64 *)t->saddr;
	const __u64 *daddr = (const __u64 *)t->daddr;
	__u32 ports = (__u32)t->dport << 16 | t->sport;

	if (t->family == AF_INET) {
		struct ipv4_words ip = { .b = saddr[0] << 32, .c = (__u64)ports << 32 | (__u32)daddr[0] };

		return ipv4_hash(&ip, netns);
	}
	struct ipv6_words ip = { .saddr = { saddr[0], saddr[1] },
				 .daddr = { daddr[0], daddr[1] },
				 .ports = ports };

	return ipv6_hash(&ip, netns);
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
