// SPDX-License-Identifier: GPL-2.0
/* skb:kfree_skb: a packet was freed as a loss. */
#include "lib/emit.h"
#include "lib/interest.h"

/* (skb, location, reason[, rx_sk]) since 5.17 */
TRACEPOINT(kfree_skb, kfree_skb_reason, struct sk_buff *skb, void *location, __u32 reason)
{
	struct cpu_context *cpu = this_context();
	struct pt_drop *event;
	struct tuple t = {};
	__u32 netns = 0;
	int wanted = packet_wanted(skb, FIELD(skb, sk), &t, &netns);

	if (!cpu || !wanted)
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
	emit_event(event);
	return 0;
}

char LICENSE[] SEC("license") __weak = "GPL";
