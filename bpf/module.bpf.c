// SPDX-License-Identifier: GPL-2.0
/*
 * A module is being loaded: user space looks again for functions it could not attach to
 * (ip_tables, nf_tables and the reject modules come with the first rule that needs them).
 */
#include "lib/emit.h"

TRACEPOINT(module_load, module_load)
{
	struct pt_event *event = begin_event(PT_EVENT_MODULE_LOADED, sizeof(*event));

	if (event)
		emit_event(event);
	return 0;
}

char LICENSE[] SEC("license") __weak = "GPL";
