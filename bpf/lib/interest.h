/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Bulk data of a matched connection is not reported packet by packet: a segment
 * without SYN, FIN or RST is worth an event only while the connection is young, or
 * after one of its packets was dropped (the retransmission then shows by whom).
 */
#ifndef PATHTRACE_BPF_INTEREST_H
#define PATHTRACE_BPF_INTEREST_H

#include "lib/flow.h"

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4

/* Packets of each direction that are reported from a connection's start, and again
 * after a drop. Enough for the handshake's last ACK, a request and its answer. */
#define FIRST_PACKETS 4
#define PACKETS_AFTER_DROP 4

struct flow_key {
	__u8 saddr[16], daddr[16];
	__be16 sport, dport;
	__u32 netns;
};

struct flow_interest {
	__u64 last_skb;
	__u32 budget;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct flow_key);
	__type(value, struct flow_interest);
} flow_interests __weak SEC(".maps");

static __always_inline void flow_key_of(struct flow_key *key, const struct tuple *t, __u32 netns)
{
	__builtin_memcpy(key->saddr, t->saddr, 16);
	__builtin_memcpy(key->daddr, t->daddr, 16);
	key->sport = t->sport;
	key->dport = t->dport;
	key->netns = netns;
}

/* Is this packet worth an event? `transport` is the address of its transport header. */
static __noinline int is_interesting(const struct tuple *t, __u64 skb, __u64 transport, __u32 netns)
{
	struct flow_key key;
	struct flow_interest *known;
	struct flow_interest fresh = {};
	__u8 flags = 0;

	if (!t)
		return 1;
	if (filter.all_packets || t->protocol != IPPROTO_TCP || t->icmp_error || t->fragment)
		return 1;
	if (bpf_probe_read_kernel(&flags, 1, (void *)(transport + 13)))
		return 1;
	flow_key_of(&key, t, netns);
	if (flags & TCP_SYN) {
		fresh.last_skb = skb;
		fresh.budget = FIRST_PACKETS;
		bpf_map_update_elem(&flow_interests, &key, &fresh, BPF_ANY);
		return 1;
	}
	if (flags & (TCP_FIN | TCP_RST))
		return 1;
	known = bpf_map_lookup_elem(&flow_interests, &key);
	if (!known) { /* traced from its middle on */
		fresh.last_skb = skb;
		fresh.budget = FIRST_PACKETS - 1;
		bpf_map_update_elem(&flow_interests, &key, &fresh, BPF_ANY);
		return 1;
	}
	if (known->last_skb == skb) /* the same packet at its next hook: as before */
		return known->budget != ~0u;
	known->last_skb = skb;
	if (known->budget == ~0u)
		return 0;
	if (known->budget == 0) {
		known->budget = ~0u;
		return 0;
	}
	known->budget--;
	return 1;
}

static __always_inline void renew_interest(const struct tuple *t, __u32 netns)
{
	struct flow_key key;
	struct flow_interest *known;

	flow_key_of(&key, t, netns);
	known = bpf_map_lookup_elem(&flow_interests, &key);
	if (known)
		known->budget = PACKETS_AFTER_DROP;
}

#endif
