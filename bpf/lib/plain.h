/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A plain packet (no options, no extension headers, TCP or UDP) in as few loads as it takes:
 * what every packet of the host pays.
 */
#ifndef PATHTRACE_BPF_PLAIN_H
#define PATHTRACE_BPF_PLAIN_H

#include "lib/tuple.h"

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

/* What every packet of the host pays. False is certain; of the others skb_wanted() decides. */
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

#endif
