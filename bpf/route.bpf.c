// SPDX-License-Identifier: GPL-2.0
/*
 * A source address that can't come from there. ip_rcv_finish_core() frees such a packet without saying why
 * (up to 6.13), and so it does for other errors of ip_route_input_noref(): ip_handle_martian_source(), which
 * counts and logs it, is a function of its own in every build looked at (6.1, 6.12).
 */
#include "lib/state.h"

ENTER(ip_handle_martian_source, martian_source, struct net_device *dev, void *in_dev, struct sk_buff *skb)
{
	struct cpu_context *cpu = this_context();

	if (!cpu)
		return 0;
	cpu->doomed.skb = (__u64)skb;
	cpu->doomed.why = PT_LOSS_MARTIAN_SOURCE;
	return 0;
}

char LICENSE[] SEC("license") __weak = "GPL";
