/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One source, two kinds of programs. A hook family is compiled twice: with fentry, fexit and BTF
 * tracepoints, which may follow typed pointers directly; and, with PT_KPROBE, with kprobes and raw
 * tracepoints, which must read every field by bpf_probe_read_kernel. The latter are named
 * NAME_kprobe and loaded where the former are refused.
 *
 * A kretprobe sees no arguments: what an exit needs is kept by its entry.
 */
#ifndef PATHTRACE_BPF_PROBE_H
#define PATHTRACE_BPF_PROBE_H

#include "lib/kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* FIELD(skb, dev, ifindex) is skb->dev->ifindex; ARGUMENT(ctx, 1) is the function's first argument */
#ifdef PT_KPROBE
#define FIELD(source, ...)	   BPF_CORE_READ(source, __VA_ARGS__)
#define ENTER(function, name, ...) SEC("kprobe/" #function) int BPF_KPROBE(name##_kprobe, ##__VA_ARGS__)
#define ARGUMENT(ctx, n)	   PT_REGS_PARM##n((struct pt_regs *)(ctx))
#define LEAVE(function, name)	   SEC("kretprobe/" #function) int BPF_KRETPROBE(name##_kprobe)
#define TRACEPOINT(tracepoint, name, ...)                                                                    \
	SEC("raw_tp/" #tracepoint) int BPF_PROG(name##_kprobe, ##__VA_ARGS__)
#else
#define FIELD(source, ...)		  ___arrow(source, __VA_ARGS__)
#define ENTER(function, name, ...)	  SEC("fentry/" #function) int BPF_PROG(name, ##__VA_ARGS__)
#define ARGUMENT(ctx, n)		  (((const __u64 *)(ctx))[n - 1])
#define LEAVE(function, name)		  SEC("fexit/" #function) int BPF_PROG(name)
#define TRACEPOINT(tracepoint, name, ...) SEC("tp_btf/" #tracepoint) int BPF_PROG(name, ##__VA_ARGS__)
#endif

#endif
