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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, QUIET_PLACES);
	__type(key, __u32);
	__type(value, __u64);
} quiet_flows __weak SEC(".maps");

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
	__u32 place = flow_hash % QUIET_PLACES;
	__u64 *quiet = bpf_map_lookup_elem(&quiet_flows, &place);

	return quiet && *quiet == flow_hash;
}

static __always_inline void set_quiet(__u64 flow_hash, bool on)
{
	__u32 place = flow_hash % QUIET_PLACES;
	__u64 *quiet = bpf_map_lookup_elem(&quiet_flows, &place);

	if (quiet && on)
		*quiet = flow_hash;
	else if (quiet && *quiet == flow_hash)
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

/* The connection begins, or lost a packet: its next data packets are of interest again. */
static __always_inline void renew_interest(__u64 flow_hash, __u32 packets)
{
	struct flow_interest *known = bpf_map_lookup_elem(&flow_interests, &flow_hash);

	set_quiet(flow_hash, false);
	if (known)
		known->left = packets;
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
		renew_interest(flow_hash, FIRST_PACKETS);
	return e->flow.tcp_flags & TCP_FIN_SYN_RST || data_is_interesting(flow_hash, e);
}

/* hook_quick(), and whether a packet of bulk data that it lets through is quiet. */
static __always_inline bool hook_worth_a_look(struct sk_buff *skb, const struct nf_hook_state *state,
					      __u8 family)
{
	__u64 flow_hash = 0;
	int quick = hook_quick(skb, state, family, &flow_hash);

	return quick == QUICK_MAYBE || (quick == QUICK_DATA && (filter.all_packets || !is_quiet(flow_hash)));
}

#endif
