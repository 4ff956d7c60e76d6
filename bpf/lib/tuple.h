/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Addresses and ports of a packet, as they are read from its headers, and does the filter
 * want them.
 */
#ifndef PATHTRACE_BPF_TUPLE_H
#define PATHTRACE_BPF_TUPLE_H

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

#endif
