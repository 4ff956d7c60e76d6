/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which counters of a large legacy table a packet's walk can raise. User space makes it of a ruleset that it
 * has read and tied to a table of the kernel; the programs copy only those blocks. It may name too many
 * blocks, never too few: what it rules out can't be reached from the hook, or can't match the packet's
 * addresses or protocol (ip_packet_match, ip6_packet_match).
 */
#ifndef PATHTRACE_TABLE_INDEX_H
#define PATHTRACE_TABLE_INDEX_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define PT_COUNTERS_PER_BLOCK 256 /* xt_percpu_counter_alloc: 4096-byte blocks of struct xt_counters */
#define PT_MAX_BLOCKS	      256 /* 65,536 rules: the largest --max-rules */
#define PT_BLOCK_WORDS	      (PT_MAX_BLOCKS / 64)
#define PT_INDEX_HOOKS	      5 /* NF_INET_NUMHOOKS */

/* Bit n: block n of the counters. */
struct pt_block_set {
	__u64 word[PT_BLOCK_WORDS];
};

enum pt_protocol_class {
	PT_PROTOCOL_TCP,
	PT_PROTOCOL_UDP,
	PT_PROTOCOL_ICMP,
	PT_PROTOCOL_OTHER,
	PT_PROTOCOL_CLASSES
};

/* By struct xt_table_info *. */
struct pt_table_index {
	__u64 table;	  /* struct xt_table * */
	__u32 generation; /* pt_generation.number */
	__u32 entries;
	__u32 id; /* of its prefixes; never used again */
	__u32 pad;
	struct pt_block_set by_hook[PT_INDEX_HOOKS];
	struct pt_block_set by_protocol[PT_PROTOCOL_CLASSES];
};

enum pt_index_side { PT_INDEX_SOURCE, PT_INDEX_DESTINATION };

/* Key of the longest prefix match (struct bpf_lpm_trie_key); its value, a struct pt_block_set, holds the
 * blocks of all shorter prefixes of the address, too. Each side of an index has a prefix of length 0. */
struct pt_index_key {
	__u32 prefix_length; /* bits of what follows: 64 more than of the address */
	__u32 id;
	__u32 side;
	__u8 address[16]; /* IPv4: the first four bytes */
};

#define PT_INDEX_KEY_BITS 64

#endif
