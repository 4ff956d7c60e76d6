/* SPDX-License-Identifier: GPL-2.0 */
/* What ruleset a task is changing, for kretprobes, which see no arguments. */
#ifndef PATHTRACE_BPF_CHANGING_H
#define PATHTRACE_BPF_CHANGING_H

#include "lib/state.h"

#ifdef PT_KPROBE
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64); /* struct task_struct * */
	__type(value, __u64);
} changing_tasks __weak SEC(".maps");

static __always_inline void remember_changing(__u64 what)
{
	__u64 task = bpf_get_current_task();

	bpf_map_update_elem(&changing_tasks, &task, &what, BPF_ANY);
}

static __always_inline __u64 forget_changing(void)
{
	__u64 task = bpf_get_current_task();
	__u64 *what = bpf_map_lookup_elem(&changing_tasks, &task);
	__u64 result = what ? *what : 0;

	bpf_map_delete_elem(&changing_tasks, &task);
	return result;
}
#endif

#endif
