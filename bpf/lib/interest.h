/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Bulk data of a matched connection is not reported packet by packet: a segment
 * without SYN, FIN or RST is worth an event only while the connection is young, or
 * after one of its packets was dropped (the retransmission then shows by whom).
 *
 * A direction of a connection whose first packets were reported is "quiet": its hash stands in a
 * direct-mapped table, which costs a data packet one comparison. Two flows that want the same
 * place take it from each other; the loser pays the slower way round, nothing is lost.
 */
#ifndef PATHTRACE_BPF_INTEREST_H
#define PATHTRACE_BPF_INTEREST_H

#include "lib/flow.h"

/* Data packets of each direction that are reported from a connection's start, and again
 * after a drop. Enough for the handshake's last ACK, a request and its answer. */
#define FIRST_PACKETS	   4
#define PACKETS_AFTER_DROP 4
#define QUIET_PLACES	   16384
#define RENEWED_PLACES	   4096

__u64 quiet_flows[QUIET_PLACES] __weak = {};

/* Flows that began anew since their last data packet: cheaper to note than to look whether there was one
 * before. A place is one flow's until its next data packet. */
__u64 renewed_flows[RENEWED_PLACES] __weak = {};

/* A packet, told from the next one that lives at the same address. */
struct packet_mark {
	__u64 head;
	__u32 seq;
	__u32 ack_seq;
	__u32 length;
	__u32 pad;
};

struct flow_interest {
	struct packet_mark last;
	__u32 left; /* data packets still to be reported */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, __u64); /* flow hash */
	__type(value, struct flow_interest);
} flow_interests __weak SEC(".maps");

static __always_inline bool is_quiet(__u64 flow_hash)
{
	return quiet_flows[flow_hash % QUIET_PLACES] == flow_hash;
}

static __always_inline void set_quiet(__u64 flow_hash, bool on)
{
	__u64 *quiet = &quiet_flows[flow_hash % QUIET_PLACES];

	if (on)
		*quiet = flow_hash;
	else if (*quiet == flow_hash)
		*quiet = 0;
}

/* At another table or hook; or a retransmission, which is worth as much. */
static __always_inline bool is_same_packet(const struct packet_mark *last, const struct packet_mark *now)
{
	return last->head == now->head && last->seq == now->seq && last->ack_seq == now->ack_seq &&
	       last->length == now->length;
}

/* Is this packet of bulk data worth an event? */
static __always_inline bool data_is_interesting(__u64 flow_hash, const struct pt_event *e)
{
	struct packet_mark now = {
		.head = e->head, .seq = e->flow.seq, .ack_seq = e->flow.ack_seq, .length = e->flow.length
	};
	struct flow_interest *known = bpf_map_lookup_elem(&flow_interests, &flow_hash);
	__u64 *renewed = &renewed_flows[flow_hash % RENEWED_PLACES];

	if (*renewed == flow_hash) {
		*renewed = 0;
		if (known)
			known->left = FIRST_PACKETS;
	}
	if (!known) { /* the first one seen: of a new connection, or of one that is older than the trace */
		struct flow_interest fresh = { .last = now, .left = FIRST_PACKETS - 1 };

		bpf_map_update_elem(&flow_interests, &flow_hash, &fresh, BPF_ANY);
		return true;
	}
	if (is_same_packet(&known->last, &now))
		return true;
	if (!known->left) {
		set_quiet(flow_hash, true);
		return false;
	}
	known->last = now;
	known->left--;
	return true;
}

/* The connection lost a packet: its next data packets are of interest again. */
static __always_inline void renew_interest(__u64 flow_hash, __u32 packets)
{
	struct flow_interest *known = bpf_map_lookup_elem(&flow_interests, &flow_hash);

	set_quiet(flow_hash, false);
	if (known)
		known->left = packets;
}

/* The connection begins. */
static __always_inline void begin_interest(__u64 flow_hash)
{
	__u64 other = __sync_val_compare_and_swap(&renewed_flows[flow_hash % RENEWED_PLACES], 0, flow_hash);

	if (other && other != flow_hash)
		renew_interest(flow_hash, FIRST_PACKETS);
	else
		set_quiet(flow_hash, false);
}

#define TCP_SYN		2
#define TCP_FIN_SYN_RST 7

/* Is this matched packet worth an event? Once asked for every hook it passes. */
static __always_inline bool is_interesting(__u64 flow_hash, const struct pt_event *e)
{
	if (filter.all_packets || e->flow.protocol != IPPROTO_TCP ||
	    (e->flags & (PT_FLAG_ICMP_ERROR | PT_FLAG_FRAGMENT)))
		return true;
	if (e->flow.tcp_flags & TCP_SYN)
		begin_interest(flow_hash);
	return e->flow.tcp_flags & TCP_FIN_SYN_RST || data_is_interesting(flow_hash, e);
}

/* A segment without SYN, FIN or RST? If its flags can't be read, it isn't taken for one. */
static __always_inline bool is_bulk_data(__u64 tcp_header)
{
	__u8 flags = TCP_SYN;

	bpf_probe_read_kernel(&flags, sizeof(flags), (void *)(tcp_header + 13));
	return !(flags & TCP_FIN_SYN_RST);
}

/* Is this possible packet of a kind that was reported often enough? With --all-packets none is: no flow is
 * set quiet. */
static __always_inline bool is_quiet_ipv4(const struct ipv4_words *ip, __u64 header,
					  const struct nf_hook_state *state)
{
	if ((ip->b & 0xff00) != IPPROTO_TCP << 8 || !is_plain_ipv4(ip->a, ip->b))
		return false;
	return is_quiet(ipv4_hash(ip, FIELD(state, net, ns.inum))) && is_bulk_data(header + 20);
}

static __always_inline bool is_quiet_ipv6(const struct ipv6_words *ip, __u64 header,
					  const struct nf_hook_state *state)
{
	if ((__u8)(ip->first >> 48) != IPPROTO_TCP)
		return false;
	return is_quiet(ipv6_hash(ip, FIELD(state, net, ns.inum))) && is_bulk_data(header + 40);
}

/* What most packets pay: one read and a few comparisons. False is certain: not wanted, or quiet. `header` is
 * the packet's IP header. */
static __always_inline bool hook_worth_a_look(__u64 header, const struct nf_hook_state *state, __u8 family)
{
	if (filter.protocol == PT_PROTOCOL_ARP)
		return family == NFPROTO_ARP;
	if (family == AF_INET) {
		struct ipv4_words ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), (void *)header))
			return true;
		return ipv4_possible(ip.a, ip.b, ip.c) && !is_quiet_ipv4(&ip, header, state);
	}
	struct ipv6_words ip;

	if (bpf_probe_read_kernel(&ip, offsetof(struct ipv6_words, pad), (void *)header))
		return true;
	return ipv6_possible(&ip) && !is_quiet_ipv6(&ip, header, state);
}

#endif
