// SPDX-License-Identifier: GPL-2.0
/*
 * TCP: who sent a RST and why, what sockets went through, and SYNs that reached a
 * listener. All rare paths: none of them runs for an established connection's data.
 */
#include "lib/emit.h"

#define NO_REASON    (~0u)
#define TCP_LISTEN   10
#define TCP_SYN_SENT 2

static __always_inline bool is_v4_mapped(const __u8 *a)
{
	const __u32 *w = (const __u32 *)a;

	return !w[0] && !w[1] && w[2] == bpf_htonl(0xffff);
}

/* The socket's own address is the source. */
static __always_inline void sock_tuple(struct tuple *t, struct sock *sk)
{
	__u16 family = FIELD(sk, __sk_common.skc_family);

	t->family = family;
	t->protocol = IPPROTO_TCP;
	t->dport = FIELD(sk, __sk_common.skc_dport);
	/* skc_num is cleared before the last state change (inet_put_port) */
	bpf_core_read(&t->sport, sizeof(t->sport), &((struct inet_sock *)sk)->inet_sport);
	if (family == AF_INET6) {
		bpf_core_read(t->saddr, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(t->daddr, 16, &sk->__sk_common.skc_v6_daddr);
		if (!is_v4_mapped(t->daddr))
			return;
		t->family = AF_INET;
		__builtin_memcpy(t->saddr, t->saddr + 12, 4);
		__builtin_memcpy(t->daddr, t->daddr + 12, 4);
		__builtin_memset(t->saddr + 4, 0, 12);
		__builtin_memset(t->daddr + 4, 0, 12);
	} else {
		*(__u32 *)t->saddr = FIELD(sk, __sk_common.skc_rcv_saddr);
		*(__u32 *)t->daddr = FIELD(sk, __sk_common.skc_daddr);
	}
}

static __always_inline int sock_wanted(struct sock *sk, struct tuple *t, __u32 *netns)
{
	__u16 family = FIELD(sk, __sk_common.skc_family);

	if (family != AF_INET && family != AF_INET6)
		return NOT_WANTED;
	*netns = FIELD(sk, __sk_common.skc_net.net, ns.inum);
	if (!netns_wanted(*netns))
		return NOT_WANTED;
	sock_tuple(t, sk);
	return tuple_wanted(t);
}

/* `event` is of `size` bytes and begins as a struct pt_sock_event does. */
static __always_inline void *begin_sock_event(struct sock *sk, __u32 kind, __u32 size)
{
	struct pt_sock_event *event;
	struct tuple t = {};
	__u32 netns = 0;
	int wanted = sock_wanted(sk, &t, &netns);

	if (!wanted)
		return NULL;
	event = begin_event(kind, size);
	if (!event)
		return NULL;
	event->e.cpu = bpf_get_smp_processor_id();
	event->e.netns = netns;
	event->e.flags = wanted == WANTED_REVERSED ? PT_FLAG_REVERSED : 0;
	event->e.origin = PT_ORIGIN_LOCAL;
	__builtin_memcpy(event->e.flow.saddr, t.saddr, 16);
	__builtin_memcpy(event->e.flow.daddr, t.daddr, 16);
	event->e.flow.sport = bpf_ntohs(t.sport);
	event->e.flow.dport = bpf_ntohs(t.dport);
	event->e.flow.family = t.family;
	event->e.flow.protocol = IPPROTO_TCP;
	event->sock = (__u64)sk;
	event->old_state = FIELD(sk, __sk_common.skc_state);
	event->new_state = event->old_state;
	event->sk_err = FIELD(sk, sk_err);
	event->reason = NO_REASON;
	event->pid = bpf_get_current_pid_tgid() >> 32;
	return event;
}

TRACEPOINT(inet_sock_set_state, sock_set_state, struct sock *sk, int old_state, int new_state)
{
	struct pt_sock_event *event;

	/* at SYN_SENT the source port is not chosen yet. That a socket begins to listen matters: it was not
	 * there for the packets before. */
	if (old_state == TCP_LISTEN || new_state == TCP_SYN_SENT || FIELD(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	event = begin_sock_event(sk, PT_EVENT_TCP_STATE, sizeof(*event));
	if (!event)
		return 0;
	event->old_state = old_state;
	event->new_state = new_state;
	emit_event(event);
	return 0;
}

TRACEPOINT(tcp_receive_reset, receive_reset, struct sock *sk)
{
	struct pt_sock_event *event = begin_sock_event(sk, PT_EVENT_RECEIVED_RESET, sizeof(*event));

	if (event)
		emit_event(event);
	return 0;
}

TRACEPOINT(tcp_retransmit_skb, retransmit_skb, struct sock *sk)
{
	struct pt_sock_event *event;

	/* only a client's SYN: the others say nothing of why a connection fails */
	if (FIELD(sk, __sk_common.skc_state) != TCP_SYN_SENT)
		return 0;
	event = begin_sock_event(sk, PT_EVENT_RETRANSMIT, sizeof(*event));
	if (event)
		emit_event(event);
	return 0;
}

static __always_inline int active_reset(void *ctx, struct sock *sk, __u32 reason)
{
	struct pt_active_reset *event = begin_sock_event(sk, PT_EVENT_ACTIVE_RESET, sizeof(*event));

	if (!event)
		return 0;
	event->s.reason = reason;
	/* what it doesn't fill in it sets to 0 */
	bpf_get_stack(ctx, event->callers, sizeof(event->callers), 0);
	emit_event(event);
	return 0;
}

ENTER(tcp_send_active_reset, send_active_reset, struct sock *sk)
{
	return active_reset(ctx, sk, NO_REASON);
}

/* 6.10+: the last argument is enum sk_rst_reason; some have gfp_t before it */
ENTER(tcp_send_active_reset, send_active_reset_reason, struct sock *sk, __u32 reason)
{
	return active_reset(ctx, sk, reason);
}

ENTER(tcp_send_active_reset, send_active_reset_gfp_reason, struct sock *sk, __u32 priority, __u32 reason)
{
	return active_reset(ctx, sk, reason);
}

static __always_inline int stack_reset_enter(const struct sock *sk, struct sk_buff *skb, __u32 reason)
{
	struct cpu_context *cpu = this_context();
	struct pt_stack_reset *event;
	struct tuple t = {};
	__u32 netns = 0;
	int wanted = packet_wanted(skb, sk, &t, &netns);

	if (!cpu || !wanted)
		return 0;
	begin_answer(cpu, skb, PT_ORIGIN_STACK);
	event = begin_event(PT_EVENT_STACK_RESET, sizeof(*event));
	if (!event)
		return 0;
	describe(&event->e, skb, &t, wanted);
	event->e.netns = netns;
	event->e.iif = FIELD(skb, skb_iif);
	event->e.origin = PT_ORIGIN_WIRE;
	event->sock = (__u64)sk;
	event->reason = reason;
	if (sk)
		event->state = FIELD(sk, __sk_common.skc_state);
	emit_event(event);
	return 0;
}

static __always_inline int stack_reset_exit(void)
{
	struct cpu_context *cpu = this_context();

	if (cpu)
		end_answer(cpu);
	return 0;
}

ENTER(tcp_v4_send_reset, tcp_v4_send_reset_enter, const struct sock *sk, struct sk_buff *skb)
{
	return stack_reset_enter(sk, skb, NO_REASON);
}

LEAVE(tcp_v4_send_reset, tcp_v4_send_reset_exit)
{
	return stack_reset_exit();
}

ENTER(tcp_v6_send_reset, tcp_v6_send_reset_enter, const struct sock *sk, struct sk_buff *skb)
{
	return stack_reset_enter(sk, skb, NO_REASON);
}

LEAVE(tcp_v6_send_reset, tcp_v6_send_reset_exit)
{
	return stack_reset_exit();
}

/* 6.10+: the third argument is enum sk_rst_reason */
ENTER(tcp_v4_send_reset, tcp_v4_send_reset_enter_reason, const struct sock *sk, struct sk_buff *skb,
      __u32 reason)
{
	return stack_reset_enter(sk, skb, reason);
}

ENTER(tcp_v6_send_reset, tcp_v6_send_reset_enter_reason, const struct sock *sk, struct sk_buff *skb,
      __u32 reason)
{
	return stack_reset_enter(sk, skb, reason);
}

/* tcp_conn_request() drops a SYN without a drop event (its caller consumes the skb): sk_drops tells, if no
 * SYN-ACK was made. Where one was, it is another CPU that dropped something of this listener meanwhile. */
ENTER(tcp_conn_request, conn_request_enter, struct request_sock_ops *rsk_ops,
      const struct tcp_request_sock_ops *af_ops, struct sock *sk, struct sk_buff *skb)
{
	struct cpu_context *cpu = this_context();

	if (!cpu)
		return 0;
	cpu->syn_skb = (__u64)skb;
	cpu->syn_sock = (__u64)sk;
	cpu->syn_drops = FIELD(sk, sk_drops.counter);
	cpu->syn_backlog = FIELD(sk, sk_ack_backlog);
	bpf_core_read(&cpu->syn_queue, sizeof(cpu->syn_queue),
		      &((struct inet_connection_sock *)sk)->icsk_accept_queue.qlen.counter);
	cpu->syn_no_route = 0;
	cpu->syn_answered = 0;
	return 0;
}

/* By af_ops->send_synack(), which tcp_conn_request() calls for every SYN that it does not drop, be it with a
 * cookie or by fast open. That of a timer is no SYN's: none is under way then. 5.4 .. 7.2 */
ENTER(tcp_make_synack, make_synack)
{
	struct cpu_context *cpu = this_context();

	if (cpu && cpu->syn_skb)
		cpu->syn_answered = 1;
	return 0;
}

/* The route of the SYN-ACK; where there is none, tcp_conn_request() drops the SYN. Not that of a SYN-ACK that
 * is sent again: no SYN is under way then. (sk, fl4 or fl6, [proto,] req), 5.4 .. 6.18. */
static __always_inline int route_of_answer(__u64 route)
{
	struct cpu_context *cpu;

	if (route)
		return 0;
	cpu = this_context();
	if (cpu && cpu->syn_skb)
		cpu->syn_no_route = 1;
	return 0;
}

#ifndef PT_KPROBE
SEC("fexit/inet_csk_route_req")
int BPF_PROG(route_req_exit)
{
	__u64 route = 1;

	bpf_get_func_ret(ctx, &route);
	return route_of_answer(route);
}

SEC("fexit/inet6_csk_route_req")
int BPF_PROG(route_req6_exit)
{
	__u64 route = 1;

	bpf_get_func_ret(ctx, &route);
	return route_of_answer(route);
}
#else
SEC("kretprobe/inet_csk_route_req")
int BPF_KRETPROBE(route_req_exit_kprobe, void *route)
{
	return route_of_answer((__u64)route);
}

SEC("kretprobe/inet6_csk_route_req")
int BPF_KRETPROBE(route_req6_exit_kprobe, void *route)
{
	return route_of_answer((__u64)route);
}
#endif

static __always_inline struct pt_listener_syn *begin_listener_event(__u32 kind, const struct sock *sk,
								    struct sk_buff *skb)
{
	struct pt_listener_syn *event;
	struct tuple t = {};
	__u32 netns = 0;
	int wanted = packet_wanted(skb, sk, &t, &netns);

	if (!wanted)
		return NULL;
	event = begin_event(kind, sizeof(*event));
	if (!event)
		return NULL;
	describe(&event->e, skb, &t, wanted);
	event->e.netns = netns;
	event->e.iif = FIELD(skb, skb_iif);
	event->e.origin = PT_ORIGIN_WIRE;
	event->sock = (__u64)sk;
	event->ack_backlog = FIELD(sk, sk_ack_backlog);
	event->max_ack_backlog = FIELD(sk, sk_max_ack_backlog);
	event->port = FIELD(sk, __sk_common.skc_num);
	event->family = FIELD(sk, __sk_common.skc_family);
	if (event->family == AF_INET6)
		bpf_core_read(event->address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	else
		*(__u32 *)event->address = FIELD(sk, __sk_common.skc_rcv_saddr);
	return event;
}

static __always_inline int conn_request_leave(struct cpu_context *cpu, struct sock *sk, struct sk_buff *skb)
{
	struct pt_listener_syn *event;
	struct net *net;

	cpu->syn_skb = 0;
	event = begin_listener_event(PT_EVENT_LISTENER_SYN, sk, skb);
	if (!event)
		return 0;
	net = FIELD(sk, __sk_common.skc_net.net);
	event->ack_backlog = cpu->syn_backlog;
	event->syn_queue = cpu->syn_queue;
	event->max_syn_backlog = BPF_CORE_READ(net, ipv4.sysctl_max_syn_backlog);
	event->syncookies = BPF_CORE_READ(net, ipv4.sysctl_tcp_syncookies);
	event->no_route = cpu->syn_no_route;
	event->dropped = !cpu->syn_answered && (__u32)FIELD(sk, sk_drops.counter) != cpu->syn_drops;
	emit_event(event);
	return 0;
}

#ifndef PT_KPROBE
SEC("fexit/tcp_conn_request")
int BPF_PROG(conn_request_exit, struct request_sock_ops *rsk_ops, const struct tcp_request_sock_ops *af_ops,
	     struct sock *sk, struct sk_buff *skb)
{
	struct cpu_context *cpu = this_context();

	return cpu && cpu->syn_skb == (__u64)skb ? conn_request_leave(cpu, sk, skb) : 0;
}
#else
SEC("kretprobe/tcp_conn_request")
int BPF_KRETPROBE(conn_request_exit_kprobe)
{
	struct cpu_context *cpu = this_context();

	return cpu && cpu->syn_skb ? conn_request_leave(cpu, (void *)cpu->syn_sock, (void *)cpu->syn_skb) : 0;
}
#endif

/*
 * The ACK that ends a handshake: these make the child, or return NULL where the accept queue is full. Then
 * tcp_check_req() drops the ACK, or answers it with a RST (tcp_abort_on_overflow); neither says why.
 * (sk, skb, req, dst, req_unhash, own_req[, opt_child_init]): 6 or 7 arguments, also inside one series.
 */
static __always_inline int syn_recv_sock_enter(const struct sock *sk, struct sk_buff *skb)
{
	struct cpu_context *cpu = this_context();

	if (!cpu)
		return 0;
	cpu->ack_skb = (__u64)skb;
	cpu->ack_sock = (__u64)sk;
	return 0;
}

static __always_inline int syn_recv_sock_leave(struct cpu_context *cpu, const struct sock *sk,
					       struct sk_buff *skb, __u64 child)
{
	struct pt_listener_syn *event;

	cpu->ack_skb = 0; /* tcp_v6_syn_recv_sock calls the other for IPv4: told once */
	if (child)
		return 0;
	event = begin_listener_event(PT_EVENT_LISTENER_ACK, sk, skb);
	if (!event)
		return 0;
	event->dropped = 1;
	emit_event(event);
	return 0;
}

ENTER(tcp_v4_syn_recv_sock, tcp_v4_syn_recv_sock_enter, const struct sock *sk, struct sk_buff *skb)
{
	return syn_recv_sock_enter(sk, skb);
}

ENTER(tcp_v6_syn_recv_sock, tcp_v6_syn_recv_sock_enter, const struct sock *sk, struct sk_buff *skb)
{
	return syn_recv_sock_enter(sk, skb);
}

#ifndef PT_KPROBE
/* bpf_get_func_ret() since 5.17: where the result lies depends on the number of arguments */
static __always_inline int syn_recv_sock_exit(void *ctx, const struct sock *sk, struct sk_buff *skb)
{
	struct cpu_context *cpu = this_context();
	__u64 child = 1;

	if (!cpu || cpu->ack_skb != (__u64)skb)
		return 0;
	bpf_get_func_ret(ctx, &child);
	return syn_recv_sock_leave(cpu, sk, skb, child);
}

SEC("fexit/tcp_v4_syn_recv_sock")
int BPF_PROG(tcp_v4_syn_recv_sock_exit, const struct sock *sk, struct sk_buff *skb)
{
	return syn_recv_sock_exit(ctx, sk, skb);
}

SEC("fexit/tcp_v6_syn_recv_sock")
int BPF_PROG(tcp_v6_syn_recv_sock_exit, const struct sock *sk, struct sk_buff *skb)
{
	return syn_recv_sock_exit(ctx, sk, skb);
}
#else
static __always_inline int syn_recv_sock_exit(__u64 child)
{
	struct cpu_context *cpu = this_context();

	return cpu && cpu->ack_skb
		       ? syn_recv_sock_leave(cpu, (void *)cpu->ack_sock, (void *)cpu->ack_skb, child)
		       : 0;
}

SEC("kretprobe/tcp_v4_syn_recv_sock")
int BPF_KRETPROBE(tcp_v4_syn_recv_sock_exit_kprobe, __u64 child)
{
	return syn_recv_sock_exit(child);
}

SEC("kretprobe/tcp_v6_syn_recv_sock")
int BPF_KRETPROBE(tcp_v6_syn_recv_sock_exit_kprobe, __u64 child)
{
	return syn_recv_sock_exit(child);
}
#endif

char LICENSE[] SEC("license") __weak = "GPL";
