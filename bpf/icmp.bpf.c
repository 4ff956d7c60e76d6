// SPDX-License-Identifier: GPL-2.0
/*
 * The stack answers a packet with an ICMP error: no route, no neighbour, no socket, too big. No
 * tracepoint tells of it (icmp:icmp_send: 6.11 and later, IPv4 only), and without rules in OUTPUT
 * nobody sees the error leave.
 *
 * __icmp_send() and icmp6_send() often decide to send nothing (rate limits, an error about an error):
 * only what gets as far as icmp_push_reply() or icmpv6_push_pending_frames() is sent. 5.4 .. 6.18.
 */
#include "lib/emit.h"

static __always_inline bool is_rejecting(const struct cpu_context *cpu, const struct sk_buff *skb)
{
	return cpu->answering.skb == (__u64)skb && is_under_way(cpu->answering.task, cpu->answering.since_ns);
}

static __always_inline bool is_sending(const struct cpu_context *cpu)
{
	return cpu->icmp.skb && is_under_way(cpu->icmp.task, cpu->icmp.since_ns);
}

static __always_inline int icmp_enter(struct sk_buff *skb, __u8 type, __u8 code)
{
	struct cpu_context *cpu = this_context();
	struct tuple t = {};
	__u32 netns = 0;

	/* a REJECT's: reject.bpf.c tells of it */
	if (!cpu || is_rejecting(cpu, skb) || !packet_wanted(skb, NULL, &t, &netns))
		return 0;
	if (cpu->icmp.skb) /* its end was missed, or is still to come and not told from this one's */
		count_lost(PT_EVENT_ICMP_ERROR);
	begin_answer(cpu, skb, PT_ORIGIN_STACK);
	cpu->icmp.skb = (__u64)skb;
	cpu->icmp.task = bpf_get_current_task();
	cpu->icmp.since_ns = bpf_ktime_get_ns();
	cpu->icmp.type = type;
	cpu->icmp.code = code;
	cpu->icmp.sent = 0;
	return 0;
}

static __always_inline int icmp_push(void)
{
	struct cpu_context *cpu = this_context();

	if (cpu && is_sending(cpu))
		cpu->icmp.sent = 1;
	return 0;
}

static __always_inline int icmp_leave(struct cpu_context *cpu, struct sk_buff *skb)
{
	struct pt_icmp_error *event;
	struct tuple t = {};
	__u32 netns = 0;
	int wanted;

	cpu->icmp.skb = 0;
	end_answer(cpu);
	wanted = packet_wanted(skb, NULL, &t, &netns);
	if (!wanted)
		return 0;
	event = begin_event(PT_EVENT_ICMP_ERROR, sizeof(*event));
	if (!event)
		return 0;
	describe(&event->e, skb, &t, wanted);
	event->e.ts_ns = cpu->icmp.since_ns;
	event->e.netns = netns;
	event->e.iif = FIELD(skb, skb_iif);
	event->type = cpu->icmp.type;
	event->code = cpu->icmp.code;
	event->sent = cpu->icmp.sent;
	emit_event(event);
	return 0;
}

ENTER(__icmp_send, icmp_send_enter, struct sk_buff *skb, int type, int code)
{
	return icmp_enter(skb, type, code);
}

ENTER(icmp6_send, icmp6_send_enter, struct sk_buff *skb, __u8 type, __u8 code)
{
	return icmp_enter(skb, type, code);
}

ENTER(icmp_push_reply, icmp_push_reply)
{
	return icmp_push();
}

ENTER(icmpv6_push_pending_frames, icmpv6_push)
{
	return icmp_push();
}

#ifndef PT_KPROBE
SEC("fexit/__icmp_send")
int BPF_PROG(icmp_send_exit, struct sk_buff *skb)
{
	struct cpu_context *cpu = this_context();

	return cpu && cpu->icmp.skb == (__u64)skb && is_sending(cpu) ? icmp_leave(cpu, skb) : 0;
}

SEC("fexit/icmp6_send")
int BPF_PROG(icmp6_send_exit, struct sk_buff *skb)
{
	struct cpu_context *cpu = this_context();

	return cpu && cpu->icmp.skb == (__u64)skb && is_sending(cpu) ? icmp_leave(cpu, skb) : 0;
}
#else
static __always_inline int icmp_leave_last(void)
{
	struct cpu_context *cpu = this_context();

	return cpu && is_sending(cpu) ? icmp_leave(cpu, (void *)cpu->icmp.skb) : 0;
}

SEC("kretprobe/__icmp_send")
int BPF_KRETPROBE(icmp_send_exit_kprobe)
{
	return icmp_leave_last();
}

SEC("kretprobe/icmp6_send")
int BPF_KRETPROBE(icmp6_send_exit_kprobe)
{
	return icmp_leave_last();
}
#endif

char LICENSE[] SEC("license") __weak = "GPL";
