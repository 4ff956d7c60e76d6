/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel side reports and user space reads, through one ring buffer.
 *
 * Plain C that both compilers read; this is the only definition. An event is a
 * fixed header (struct pt_event) and the payload of its kind. It carries
 * handles, numbers and addresses of kernel objects, never names: those are
 * resolved once, in user space.
 *
 * Byte order: addresses as on the wire, everything else host order.
 * Times: CLOCK_MONOTONIC nanoseconds (bpf_ktime_get_ns).
 */
#ifndef PATHTRACE_EVENT_H
#define PATHTRACE_EVENT_H

#ifndef __bpf__
#include <linux/types.h>
#endif

/* Most entries one legacy table walk, or one nftables walk, can report. Walks that
 * match more are marked PT_DOUBT_TRUNCATED. */
#define PT_MAX_MATCHED	   256
#define PT_MAX_NFT_RECORDS 64

/* In place of an IPPROTO_*, of which it is reserved: an ARP packet. Its family is AF_INET, its addresses
 * are the sender's and the target's, and its icmp_type is the operation. The one that asks has port 1. */
#define PT_PROTOCOL_ARP 255
#define PT_ARP_REQUEST	1

enum pt_event_kind {
	PT_EVENT_LEGACY_WALK = 1, /* one call of ipt_do_table and its kin: struct pt_legacy_walk */
	PT_EVENT_NFT_WALK = 2,	  /* one traversal of an nftables base chain: struct pt_nft_walk */
	PT_EVENT_REJECT = 3,	  /* netfilter answers a packet with a RST or ICMP error: struct pt_reject */
	PT_EVENT_STACK_RESET =
		4, /* TCP answers a packet with a RST (tcp_v4_send_reset): struct pt_stack_reset */
	PT_EVENT_ACTIVE_RESET =
		5, /* TCP sends a RST of its own accord (tcp_send_active_reset): struct pt_active_reset */
	PT_EVENT_RECEIVED_RESET = 6, /* a socket accepts a RST (tcp_reset): struct pt_sock_event */
	PT_EVENT_TCP_STATE = 7,	     /* inet_sock_set_state: struct pt_sock_event */
	PT_EVENT_LISTENER_SYN = 8,   /* a SYN reached a listener (tcp_conn_request): struct pt_listener_syn */
	PT_EVENT_DROP = 9,	     /* skb:kfree_skb: struct pt_drop */
	PT_EVENT_RETRANSMIT = 10,    /* tcp:tcp_retransmit_skb: struct pt_sock_event */
	PT_EVENT_TRACE_LOG = 12,     /* a TRACE rule made the kernel log a match: struct pt_trace_log */
	PT_EVENT_MODULE_LOADED = 11, /* a kernel module is being loaded: struct pt_event, no packet */
	PT_EVENT_LISTENER_ACK =
		14, /* a handshake's last ACK found no room at its listener: struct pt_listener_syn */
	PT_EVENT_ICMP_ERROR = 13, /* the stack answers a packet with an ICMP error: struct pt_icmp_error */
	PT_EVENT_NEIGHBOUR = 15,  /* a packet waits for its next hop, or no longer: struct pt_neighbour */
};

/* Who made a packet. */
enum pt_origin {
	PT_ORIGIN_UNKNOWN = 0,
	PT_ORIGIN_WIRE = 1,   /* came in through an interface */
	PT_ORIGIN_LOCAL = 2,  /* sent by a socket of this namespace */
	PT_ORIGIN_REJECT = 3, /* made by a netfilter reject; pt_event.parent is the packet it answers */
	PT_ORIGIN_STACK = 4,  /* made by TCP to answer a packet no socket wants; parent as above */
};

/* pt_event.flags */
enum pt_event_flag {
	PT_FLAG_REVERSED = 1,	/* the filter matched with source and destination exchanged */
	PT_FLAG_ICMP_ERROR = 2, /* flow is the flow of the packet quoted in this ICMP error */
	PT_FLAG_FRAGMENT = 4,	/* not the first fragment: ports unknown (0) */
};

struct pt_flow {
	__u8 saddr[16]; /* IPv4: the first four bytes */
	__u8 daddr[16];
	__u16 sport; /* host order; 0 where the protocol has none */
	__u16 dport;
	__u8 family;	/* AF_INET 2 or AF_INET6 10 */
	__u8 protocol;	/* IPPROTO_* or PT_PROTOCOL_ARP */
	__u8 tcp_flags; /* the flags byte of the TCP header (FIN 1, SYN 2, RST 4, PSH 8, ACK 16) */
	__u8 icmp_type; /* of this packet, for ICMP and ICMPv6 */
	__u8 icmp_code;
	__u8 pad;
	__u16 ip_id; /* IPv4 identification, host order; IPv6: 0 */
	__u32 seq;   /* TCP sequence number, host order */
	__u32 ack_seq;
	__u32 length; /* skb->len at the IP layer, bytes */
};

#define PT_HOOK_NONE 0xff

struct pt_event {
	__u64 ts_ns;  /* when it happened; for walks: when the walk began */
	__u64 skb;    /* address of the struct sk_buff, 0 if the event has no packet */
	__u64 head;   /* skb->head: stays while the packet lives, unlike its skb across clones */
	__u64 parent; /* skb address of the packet this one answers (origin REJECT, STACK), else 0 */
	__u32 netns;  /* inode of the network namespace */
	__u32 cpu;
	__u32 iif; /* ifindex, 0 = none or unknown */
	__u32 oif;
	__u16 size;  /* of the whole event, bytes */
	__u8 kind;   /* enum pt_event_kind */
	__u8 origin; /* enum pt_origin */
	__u8 flags;  /* enum pt_event_flag */
	__u8 hook;   /* NF_INET_* (0 PRE_ROUTING .. 4 POST_ROUTING), 5 ingress, NF_ARP_*, or PT_HOOK_NONE */
	__u8 pf;     /* NFPROTO_* of the hook, 0 if none */
	__u8 pad;
	struct pt_flow flow;
	__u8 icmp_source[16]; /* PT_FLAG_ICMP_ERROR: who sent the error, by its own header */
};

/* Why the evidence of a walk may not be conclusive. No bit: it is. */
enum pt_doubt {
	PT_DOUBT_TABLE_REPLACED = 1, /* the table was replaced between entry and exit */
	PT_DOUBT_MIGRATED = 2,	     /* left on another CPU than it was entered on */
	PT_DOUBT_OTHER_WALK = 4,   /* another walk of this CPU fell into the window and was not seen whole */
	PT_DOUBT_TRUNCATED = 8,	   /* more matches than an event holds */
	PT_DOUBT_TOO_LARGE = 16,   /* more rules than counters are copied for (--max-rules) */
	PT_DOUBT_READ_FAILED = 32, /* a kernel read failed */
	PT_DOUBT_NO_FRAME = 64,	   /* too many walks nested on this CPU */
	PT_DOUBT_NO_PERCPU = 128,  /* the per-CPU offset or traversal counter is not known */
	PT_DOUBT_INCOMPLETE = 256, /* nftables: the walk's last record was not seen */
};

/* Which state of a ruleset a walk ran through. A ruleset read by user space in
 * [t0, t1] is the one of this walk if
 *   - read after the walk (t1 > ts): number now == number of the walk, or
 *   - read before it: changed_ns < t0.
 * changed_ns == ~0: a change was under way; no ruleset can be tied to the walk. */
struct pt_generation {
	__u64 changed_ns; /* last change since the programs were attached, 0 = none */
	__u32 number;	  /* changes since the programs were attached */
	__u32 pad;
};

/* One rule (or chain head, or policy) whose counter went up. index counts every
 * struct ipt_entry of the blob from 0 in blob order, chain heads (ERROR) included. */
struct pt_match {
	__u32 index;
	__u32 count; /* how often, 1 unless its chain was entered more than once */
};

struct pt_legacy_walk {
	struct pt_event e;
	__u64 end_ns;
	__u64 table;			 /* struct xt_table * */
	__u64 table_info;		 /* struct xt_table_info * (table->private) */
	char table_name[8];		 /* "filter", "nat", "mangle", "raw", "security" (no NUL at 8) */
	struct pt_generation generation; /* of this table */
	__u32 verdict;			 /* what the function returned: NF_* in the low byte */
	__u32 entries;			 /* xt_table_info.number */
	__u32 blob_size;		 /* xt_table_info.size, bytes */
	__u16 doubt;			 /* enum pt_doubt */
	__u16 n_matched;
	struct pt_match matched[]; /* ascending by index */
};

enum pt_nft_record_type { PT_NFT_POLICY = 1, PT_NFT_RETURN = 2, PT_NFT_RULE = 3 }; /* enum nft_trace_types */

/* One call of __nft_trace_packet. type RETURN with verdict CONTINUE is the end of
 * a chain: it has no rule. */
struct pt_nft_record {
	__u64 chain;	    /* handle; 0 where this kernel does not give it (6.4+): follow the jumps */
	__u64 rule;	    /* handle; 0 = none */
	__u64 target_chain; /* handle of the chain of a JUMP or GOTO */
	__s32 verdict; /* NF_* | queue/errno << 16, or NFT_CONTINUE -1, BREAK -2, JUMP -3, GOTO -4, RETURN -5
			*/
	__u32 type;    /* enum pt_nft_record_type */
};

/* What of a traversal was watched. */
enum pt_nft_seen {
	PT_NFT_SEEN_RECORDS = 0, /* the kernel's trace records: all that matched */
	PT_NFT_SEEN_VERDICTS =
		1, /* rules that gave a verdict other than CONTINUE, and what the traversal
		      returned: no rule that lets a packet go on, no end of a chain, no policy */
};

struct pt_nft_walk {
	struct pt_event e;
	__u64 end_ns;
	__u64 table;			 /* nft_table.handle: unique in its namespace */
	__u64 chain;			 /* nft_chain.handle of the base chain */
	struct pt_generation generation; /* of the namespace's nftables ruleset */
	__s32 priority;			 /* nf_hook_ops.priority of the base chain */
	__u16 doubt;
	__u16 n_records;
	__u32 verdict; /* PT_NFT_SEEN_VERDICTS: what nft_do_chain() returned */
	__u8 seen;     /* enum pt_nft_seen */
	__u8 policy;   /* PT_NFT_SEEN_VERDICTS: of the base chain, NF_DROP or NF_ACCEPT */
	__u16 pad;
	struct pt_nft_record records[];
};

enum pt_reject_with {
	PT_REJECT_TCP_RESET = 1,
	PT_REJECT_ICMP = 2, /* code: ICMP code of destination unreachable */
	PT_REJECT_ICMP6 = 3,
};

/* e is the packet being rejected. */
struct pt_reject {
	struct pt_event e;
	__u32 with; /* enum pt_reject_with */
	__u32 code;
};

/* e is the packet that the error is about. */
struct pt_icmp_error {
	struct pt_event e;
	__u8 type;
	__u8 code;
	__u8 sent; /* 0: suppressed (rate limits, ...) */
	__u8 pad[5];
};

/* e is the packet, e.oif where it will leave. */
struct pt_neighbour {
	struct pt_event e;
	__u8 next_hop[16]; /* set if it waits */
	__u8 family;	   /* of that address */
	__u8 waits;	   /* 0: its next hop has answered, and it is sent */
	__u8 pad[6];
};

/* e is the packet being answered with a RST. */
struct pt_stack_reset {
	struct pt_event e;
	__u64 sock;   /* 0: no socket matched the packet */
	__u32 state;  /* sk_state (TCP_*) of that socket, 0 without one */
	__u32 reason; /* enum sk_rst_reason of this kernel (6.10+), else ~0 */
};

/* e.flow has the socket's local address as source (for a listener's child: the
 * server's). e.skb may be 0. */
struct pt_sock_event {
	struct pt_event e;
	__u64 sock;
	__u32 old_state; /* TCP_ESTABLISHED 1, SYN_SENT 2, SYN_RECV 3, ..., CLOSE 7 */
	__u32 new_state;
	__u32 sk_err; /* errno, 0 = none */
	__u32 reason; /* enum sk_rst_reason, else ~0 */
	__u32 pid;    /* of the task that ran, meaningful for calls made by it */
	__u32 pad;
};

/* Return addresses that an event of an active reset holds, those of the programs' own frames included. */
#define PT_MAX_CALLERS 12

/* tcp_send_active_reset() is called by close(), by disconnect(), by timers: who called tells, where the
 * kernel gives no reason (before 6.10). */
struct pt_active_reset {
	struct pt_sock_event s;
	__u64 callers[PT_MAX_CALLERS]; /* innermost first; 0 = no more */
};

/* e is the SYN; LISTENER_ACK: the ACK. */
struct pt_listener_syn {
	struct pt_event e;
	__u64 sock;
	__u32 ack_backlog; /* sk_ack_backlog at entry */
	__u32 max_ack_backlog;
	__u32 syn_queue;       /* requests that wait for the handshake's last ACK, at entry */
	__u32 max_syn_backlog; /* net.ipv4.tcp_max_syn_backlog */
	__u8 dropped;	       /* 1: tcp_conn_request dropped it (sk_drops went up); LISTENER_ACK: always */
	__u8 no_route;	       /* 1: the SYN-ACK has no route */
	__u8 syncookies;       /* net.ipv4.tcp_syncookies */
	__u8 pad2;
	__u16 port;  /* what the listener is bound to, host order */
	__u8 family; /* of its address: AF_INET6 for one that takes IPv4 as well */
	__u8 pad;
	__u8 address[16];
};

/* What the drop event itself doesn't say. */
enum pt_loss {
	PT_LOSS_UNEXPLAINED = 0,
	PT_LOSS_MARTIAN_SOURCE = 1,  /* ip_handle_martian_source() complained of it */
	PT_LOSS_CONNTRACK_FULL = 2,  /* early_drop() found no connection to make room */
	PT_LOSS_CONNTRACK_CLASH = 3, /* __nf_conntrack_confirm() refused its new connection */
};

struct pt_drop {
	struct pt_event e;
	__u64 location;	     /* kernel address of the caller of kfree_skb */
	__u32 reason;	     /* enum skb_drop_reason of this kernel, ~0 = kernel gives none */
	__u16 route_error;   /* errno of its route (dst_entry.error), 0 = none */
	__u8 loss;	     /* enum pt_loss */
	__u8 not_forwarding; /* IPv6: forwarding is off in its namespace */
};

/* The kernel's own TRACE of a legacy table (nf_log_trace), a second witness. The one event with
 * names: the kernel gives nothing else. */
struct pt_trace_log {
	struct pt_event e;
	char table[16];
	char chain[32];
	char type[8]; /* "rule", "return", "policy" */
	__u32 number; /* of the rule in its chain, from 1 */
	__u32 pad;
};

/* Events that could not be reserved in the ring buffer, by kind (index 0: all). */
#define PT_LOST_KINDS 16

#endif
