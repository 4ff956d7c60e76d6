/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's types, as much of them as the programs read. Offsets are relocated
 * against the running kernel's BTF (CO-RE), so only names and types matter here.
 * Flavours (struct x___6_4) name the version that brought a shape.
 */
#ifndef PATHTRACE_BPF_KERNEL_H
#define PATHTRACE_BPF_KERNEL_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;
typedef _Bool bool;

#define true  1
#define false 0
#define NULL  ((void *)0)

/* UAPI, stable */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_NO_PREALLOC = 1 };

#define AF_INET		     2
#define AF_INET6	     10
#define NFPROTO_IPV4	     2
#define NFPROTO_IPV6	     10
#define NFPROTO_ARP	     3
#define ETH_P_IP	     0x0800
#define ETH_P_ARP	     0x0806
#define ETH_P_IPV6	     0x86dd
#define IPPROTO_ICMP	     1
#define IPPROTO_TCP	     6
#define IPPROTO_UDP	     17
#define IPPROTO_ICMPV6	     58
#define NF_INET_PRE_ROUTING  0
#define NF_INET_LOCAL_IN     1
#define NF_INET_FORWARD	     2
#define NF_INET_LOCAL_OUT    3
#define NF_INET_POST_ROUTING 4

/* x86-64, UAPI (asm/ptrace.h): what a kprobe is handed */
struct pt_regs {
	unsigned long r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	unsigned long rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct ipv6_devconf {
	__s32 forwarding;
};

struct netns_ipv6 {
	struct ipv6_devconf *devconf_all;
};

struct netns_ipv4 {
	u8 sysctl_tcp_syncookies;
	int sysctl_max_syn_backlog;
};

struct net {
	struct ns_common ns;
	struct netns_ipv4 ipv4;
	struct netns_ipv6 ipv6;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	char name[16];
	int ifindex;
	possible_net_t nd_net;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

typedef struct {
	int counter;
} atomic_t;

struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	int sk_err;
	u32 sk_ack_backlog;
	u32 sk_max_ack_backlog;
	atomic_t sk_drops;
};

struct request_sock_queue {
	atomic_t qlen;
};

struct inet_connection_sock {
	struct request_sock_queue icsk_accept_queue;
};

struct inet_sock {
	__be16 inet_sport; /* unlike skc_num, it outlives inet_put_port() */
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned int len;
	__u16 transport_header;
	__u16 network_header;
	__be16 protocol;
	unsigned char *head;
	unsigned char *data;
	int skb_iif;
	unsigned long _skb_refdst;
	unsigned long _nfct;
};

struct dst_entry {
	struct net_device *dev;
	short error;
};

struct neigh_table {
	int family;
};

struct neighbour {
	struct neigh_table *tbl;
	u8 nud_state;
	struct net_device *dev;
	u8 primary_key[];
};

struct nf_hook_state {
	u8 hook;
	u8 pf;
	struct net_device *in;
	struct net_device *out;
	struct sock *sk;
	struct net *net;
};

union nf_inet_addr {
	__u32 all[4];
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union {
		__be16 all;
	} u;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
	} dst;
};

struct xt_table_info {
	unsigned int size;
	unsigned int number;
	unsigned int entries[0];
};

struct xt_table {
	struct xt_table_info *private;
	char name[32];
};

/* nf_tables. Rules are struct nft_rule_dp since 5.17. */
struct nft_rule_dp {
	u64 is_last : 1, dlen : 12, handle : 42;
};

struct nft_table {
	u64 handle;
};

/* Since 5.17: `size` bytes of rules, one behind the other. */
struct nft_rule_blob {
	unsigned long size;
	unsigned char data[];
};

struct nft_chain {
	struct nft_rule_blob *blob_gen_0;
	struct nft_rule_blob *blob_gen_1;
	struct nft_table *table;
	u64 handle;
};

struct nf_hook_ops {
	int priority;
};

struct nft_base_chain {
	struct nf_hook_ops ops;
	u8 policy;
	struct nft_chain chain;
};

struct nft_verdict {
	u32 code;
	struct nft_chain *chain;
};

struct nft_regs {
	struct nft_verdict verdict; /* in a union with the data registers */
};

struct nft_pktinfo {
	struct sk_buff *skb;
	const struct nf_hook_state *state;
};

/* 5.15 .. 6.3: everything hangs on the traceinfo */
struct nft_traceinfo___5_15 {
	bool trace;
	const struct nft_pktinfo *pkt;
	const struct nft_base_chain *basechain;
	const struct nft_chain *chain;
	const struct nft_rule_dp *rule;
	const struct nft_verdict *verdict;
};

/* 6.4: packet, rule and verdict are arguments */
struct nft_traceinfo {
	bool trace;
	const struct nft_base_chain *basechain;
};

struct task_struct {
	int pid;
	int tgid;
};

/* any struct of three numbers of 64 bits that every kernel has */
struct task_cputime {
	u64 stime;
	u64 utime;
	unsigned long long sum_exec_runtime;
};

struct request_sock_ops;
struct tcp_request_sock_ops;

#pragma clang attribute pop

#endif
