// SPDX-License-Identifier: GPL-2.0
/*
 * A packet whose next hop has not told its link-layer address yet waits in the neighbour's queue, until ARP
 * or neighbour discovery succeeds or is given up (after 3 s, and then kfree_skb tells). It has passed every
 * rule by then, and looks as if it had left.
 *
 * __neigh_event_send() puts it there, unless the neighbour's state lets it be sent. neigh_update() takes out
 * what waits, and asks for the neighbour of each packet's route once more before it is sent: nobody else
 * calls the route's function with a packet. 5.4 .. 6.18.
 */
#include "lib/emit.h"

/* include/uapi/linux/neighbour.h: REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT */
#define NUD_VALID (0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80)

static __always_inline struct pt_neighbour *begin_neighbour(struct sk_buff *skb, __u8 family)
{
	struct pt_neighbour *event;
	struct tuple t = {};
	__u32 netns = 0;
	int wanted;

	if (!skb)
		return NULL;
	wanted = packet_wanted(skb, FIELD(skb, sk), &t, &netns);
	if (!wanted || t.family != family)
		return NULL;
	event = begin_event(PT_EVENT_NEIGHBOUR, sizeof(*event));
	if (!event)
		return NULL;
	describe(&event->e, skb, &t, wanted);
	event->e.netns = netns;
	event->e.iif = FIELD(skb, skb_iif);
	if (event->e.iif)
		event->e.origin = PT_ORIGIN_WIRE;
	else if (FIELD(skb, sk))
		event->e.origin = PT_ORIGIN_LOCAL;
	return event;
}

static __always_inline int neighbour_wait(struct neighbour *neighbour, struct sk_buff *skb, __u8 family)
{
	struct pt_neighbour *event;

	if (FIELD(neighbour, nud_state) & NUD_VALID)
		return 0;
	event = begin_neighbour(skb, family);
	if (!event)
		return 0;
	event->waits = 1;
	event->e.oif = FIELD(neighbour, dev, ifindex);
	event->family = FIELD(neighbour, tbl, family); /* an IPv4 packet may have a next hop of IPv6 */
	bpf_core_read(event->next_hop, event->family == AF_INET6 ? 16 : 4, &neighbour->primary_key);
	emit_event(event);
	return 0;
}

static __always_inline int neighbour_answered(const struct dst_entry *dst, struct sk_buff *skb, __u8 family)
{
	struct pt_neighbour *event = begin_neighbour(skb, family);

	if (!event)
		return 0;
	event->e.oif = FIELD(dst, dev, ifindex);
	emit_event(event);
	return 0;
}

ENTER(__neigh_event_send, neigh_event_send_ipv4, struct neighbour *neighbour, struct sk_buff *skb)
{
	return neighbour_wait(neighbour, skb, AF_INET);
}

ENTER(__neigh_event_send, neigh_event_send_ipv6, struct neighbour *neighbour, struct sk_buff *skb)
{
	return neighbour_wait(neighbour, skb, AF_INET6);
}

ENTER(ipv4_neigh_lookup, ipv4_neigh_answered, const struct dst_entry *dst, struct sk_buff *skb)
{
	return neighbour_answered(dst, skb, AF_INET);
}

ENTER(ip6_dst_neigh_lookup, ipv6_neigh_answered, const struct dst_entry *dst, struct sk_buff *skb)
{
	return neighbour_answered(dst, skb, AF_INET6);
}

char LICENSE[] SEC("license") __weak = "GPL";
