// SPDX-License-Identifier: GPL-2.0
/* skb:kfree_skb: a packet was freed as a loss. */
#include "lib/emit.h"
#include "lib/interest.h"

/* A kernel's pointer to the route, without the bit that says whose reference it is. */
static __always_inline struct dst_entry *route_of(const struct sk_buff *skb)
{
	return (void *)(FIELD(skb, _skb_refdst) & ~1ul);
}

/* dst_entry.error: IPv4 keeps it positive (ip_route_input_slow), IPv6 negative (fib6_prop[]). */
static __always_inline __u16 route_error(const struct sk_buff *skb)
{
	short error = BPF_CORE_READ(route_of(skb), error);

	return error < 0 ? -error : error;
}

static __always_inline bool same_address(const __u8 *a, const __u8 *b)
{
	const __u64 *v = (const __u64 *)a;
	const __u64 *w = (const __u64 *)b;

	return v[0] == w[0] && v[1] == w[1];
}

/* Was it this packet whose loss was announced, enum pt_loss `why`? */
static __always_inline bool is_doomed(const struct doomed *doomed, __u32 why, const struct sk_buff *skb,
				      const struct tuple *t)
{
	if (why != PT_LOSS_CONNTRACK_FULL)
		return why && doomed->skb == (__u64)skb;
	return doomed->sport == t->sport && doomed->dport == t->dport &&
	       same_address(doomed->saddr, t->saddr) && same_address(doomed->daddr, t->daddr);
}

/* Whatever is freed next, an announcement is over: its packet was to be the next one. */
static __always_inline __u32 take_doom(struct cpu_context *cpu)
{
	__u32 why = cpu->doomed.why;

	if (why)
		cpu->doomed.why = PT_LOSS_UNEXPLAINED;
	return why;
}

static __always_inline bool is_not_forwarding(const struct sk_buff *skb)
{
	struct net_device *dev = FIELD(skb, dev);
	struct net *net;

	if (!dev)
		return false;
	net = FIELD(dev, nd_net.net);
	return !BPF_CORE_READ(net, ipv6.devconf_all, forwarding);
}

/* (skb, location, reason[, rx_sk]) since 5.17 */
TRACEPOINT(kfree_skb, kfree_skb_reason, struct sk_buff *skb, void *location, __u32 reason)
{
	struct cpu_context *cpu = this_context();
	struct pt_drop *event;
	struct tuple t = {};
	__u32 netns = 0;
	__u32 doom;
	int wanted;

	if (!cpu)
		return 0;
	doom = take_doom(cpu);
	wanted = packet_wanted(skb, FIELD(skb, sk), &t, &netns);
	if (!wanted)
		return 0;
	if (cpu->rejected.skb == (__u64)skb)
		cpu->rejected.skb = 0; /* its address may be another packet's next */
	renew_interest(tuple_hash(&t, netns), PACKETS_AFTER_DROP);
	event = begin_event(PT_EVENT_DROP, sizeof(*event));
	if (!event)
		return 0;
	describe(&event->e, skb, &t, wanted);
	event->e.netns = netns;
	event->e.iif = FIELD(skb, skb_iif);
	event->location = (__u64)location;
	event->reason = reason;
	event->route_error = route_error(skb);
	if (is_doomed(&cpu->doomed, doom, skb, &t))
		event->loss = doom;
	event->not_forwarding = t.family == AF_INET6 && is_not_forwarding(skb);
	emit_event(event);
	return 0;
}

char LICENSE[] SEC("license") __weak = "GPL";
