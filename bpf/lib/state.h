/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs share: the run's constants, the per-CPU context, the maps.
 * Every object that includes this defines them weakly; bpftool joins them into one.
 */
#ifndef PATHTRACE_BPF_STATE_H
#define PATHTRACE_BPF_STATE_H

#include "lib/probe.h"
#include <bpf/bpf_endian.h>
#include "pathtrace/event.h"
#include "pathtrace/filter.h"
#include "pathtrace/table_index.h"

/* Constants of the run, set before load; the verifier removes what they rule out. */
const volatile struct pt_filter filter __weak = {};
const volatile struct pt_port_test port_tests[2] __weak = {};
const volatile bool direct_loads __weak = false; /* this kernel has bpf_rdonly_cast() */
const volatile __u32 possible_cpus __weak = 2;	 /* nr_cpu_ids */
const volatile __u32 max_blocks __weak = 64;	 /* blocks of 256 counters a snapshot holds */

/* Told once the x_tables module is loaded, which may be after this program. */
__u64 per_cpu_offset_table __weak = 0; /* address of __per_cpu_offset[], 0 = unknown */
__u64 xt_recseq_cookie __weak = 0;     /* per-CPU address of xt_recseq, 0 = unknown */

/* Was a legacy table replaced since the start? Else all have generation 0. */
__u32 tables_replaced __weak = 0;
__u32 generations_full __weak = 0; /* a change could not be counted: a table without count may have changed */
__u32 nft_generations_full __weak = 0; /* likewise a namespace's nftables ruleset */

/* Legacy walks that are watched now, on all CPUs: what every other exit pays is a look at this. */
__u32 open_walks __weak = 0;

/* Walks of one CPU that can be open at the same time: a reject's answer inside the
 * walk that rejects, inside a process's walk that was interrupted, and one spare. */
#define PT_FRAMES 4

/* One open call of ipt_do_table. */
struct legacy_frame {
	__u64 task;
	__u64 skb; /* 0 = slot is free */
	__u64 start_ns;
	__u64 table;
	__u64 table_info;
	__u64 first_cookie; /* of the table's first block of counters, 0 = not known */
	struct pt_generation generation;
	struct pt_block_set touched; /* blocks of counters that are copied, of a table with more than one */
	union {
		__u64 size_number; /* as xt_table_info has them */
		struct {
			__u32 blob_size;
			__u32 entries;
		};
	};
	__u32 recseq;
	__u32 others; /* outermost walks of this CPU seen whole since */
	__u16 doubt;
	__u16 silent; /* of a packet that does not match: watched only to be subtracted */
};

/* One open traversal of an nftables base chain. */
struct nft_frame {
	__u64 pkt;	 /* struct nft_pktinfo *, on the kernel stack; 0 = free */
	__u64 skb;	 /* a later traversal may have its nft_pktinfo at the same address */
	__u64 basechain; /* 0: not known yet */
	__u64 start_ns;
	__u32 n_records;
	__u32 matched;
};

/* The packet that is being answered with a RST or ICMP error on this CPU. See is_under_way(). */
struct answering {
	__u64 skb;
	__u64 task;
	__u64 since_ns;
	__u32 origin;
	__u32 pad;
};

/* The packet that was answered last. nftables reports a rule after it ran: a walk whose first record is of
 * the rule that rejects has begun before the answer. */
struct answered {
	__u64 skb;
	__u64 since_ns;
};

/* An ICMP error that the stack is about to send. */
struct icmp_answer {
	__u64 skb; /* the packet it is about; 0: none */
	__u64 task;
	__u64 since_ns;
	__u8 type, code;
	__u8 sent;
	__u8 pad[5];
};

/* Why the next packet that is freed will be lost, said by a function before kfree_skb. */
struct doomed {
	__u32 why;	     /* enum pt_loss */
	__be16 sport, dport; /* PT_LOSS_CONNTRACK_FULL: the packet by its addresses and ports */
	__u8 saddr[16], daddr[16];
	__u64 skb; /* else */
};

struct cpu_context {
	__u64 percpu_offset; /* __per_cpu_offset[this CPU], 0 = not read yet */
	__u32 legacy_open;
	__u32 nft_open;
	struct answering answering;
	struct answered rejected; /* by netfilter, until it is freed */
	struct icmp_answer icmp;
	struct doomed doomed;
	__u64 syn_skb; /* tcp_conn_request under way */
	__u64 syn_sock;
	__u32 syn_drops;
	__u32 syn_backlog;
	__u64 ack_skb; /* tcp_v4_syn_recv_sock or tcp_v6_syn_recv_sock under way */
	__u64 ack_sock;
	__u32 syn_queue;
	__u16 syn_no_route;
	__u16 syn_answered;
	struct legacy_frame legacy[PT_FRAMES];
	struct nft_frame nft[PT_FRAMES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_context);
} cpu_contexts __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events __weak SEC(".maps");

/* Events that found no room, by kind; [0] is their sum. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PT_LOST_KINDS);
	__type(key, __u32);
	__type(value, __u64);
} lost_events __weak SEC(".maps");

static __always_inline struct cpu_context *this_context(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cpu_contexts, &zero);
}

static __always_inline void count_lost(__u32 kind)
{
	__u32 all = 0;
	__u64 *n = bpf_map_lookup_elem(&lost_events, &all);

	if (n)
		*n += 1;
	if (kind >= PT_LOST_KINDS)
		return;
	n = bpf_map_lookup_elem(&lost_events, &kind);
	if (n)
		*n += 1;
}

#endif
