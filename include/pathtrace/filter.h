/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What to trace. User space fills it in before the programs are loaded; they see
 * constants, so the verifier removes the tests that a run doesn't need.
 *
 * A packet matches when it does in its own direction or with source and
 * destination exchanged, so the replies of a matching connection match too.
 */
#ifndef PATHTRACE_FILTER_H
#define PATHTRACE_FILTER_H

#ifndef __bpf__
#include <linux/types.h>
#endif

struct pt_prefix {
	__u8 addr[16]; /* network order, masked; IPv4: the first four bytes */
	__u8 mask[16];
	__u8 family; /* AF_INET, AF_INET6; 0 = not set */
	__u8 pad[3];
};

#define PT_IFNAMSIZ 16

struct pt_filter {
	struct pt_prefix src;
	struct pt_prefix dst;
	struct pt_prefix host; /* either end */
	__u16 sport;	       /* host order; 0 = any */
	__u16 dport;
	__u16 port;    /* either end */
	__u8 family;   /* AF_INET, AF_INET6; 0 = both */
	__u8 protocol; /* IPPROTO_TCP, _UDP, _ICMP (also ICMPv6); 0 = tcp and udp if a port is set, else these
			  and icmp */
	__u32 netns;   /* inode; 0 = all */
	char interface[PT_IFNAMSIZ]; /* in or out; "" = any */
	__u8 all_packets;	     /* report bulk data packet by packet too */
	__u8 pad[3];
};

/* The ports of a filter, made ready for the hot path: a packet is passed over unless source and destination
 * port, as they lie in the header (read as one number), are what one of two such tests wants. */
struct pt_port_test {
	__u64 mask;
	__u64 want;
};

#endif
