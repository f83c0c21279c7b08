/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every verdict is counted with its reason and, when the workload is traced, sent as an event. */
#ifndef SHUNT_VERDICT_H
#define SHUNT_VERDICT_H

#include "maps.h"

/* Everything a verdict is about; lives on the stack of the program that decides. */
struct decision {
	struct ip_addr source;
	struct ip_addr destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 slot;
	__u64 netns;
	__u64 cookie;
	__u32 pid;
	enum direction direction;
	enum verdict verdict;
	enum reason reason;
	__u32 transparent; /* redirected by sk_lookup, with the destination as it is */
	__u32 runs;	   /* of this slot's programs that have met the call, this one included */
};

static __always_inline void count_verdict(__u32 slot, enum direction direction, __u32 reason)
{
	struct counters *c = bpf_map_lookup_elem(&verdicts, &slot);

	if (!c)
		return;
	reason &= REASON_SLOTS - 1;
	asm volatile("" : "+r"(reason));
	if (direction == DIRECTION_INBOUND)
		c->inbound[reason]++;
	else
		c->outbound[reason]++;
}

static __always_inline void send_event(const struct decision *d)
{
	__u32 zero = 0;
	struct event *e = bpf_map_lookup_elem(&event_scratch, &zero);

	if (!e)
		return;
	e->time_ns = bpf_ktime_get_ns();
	e->netns = d->netns;
	e->cookie = d->cookie;
	e->source = d->source;
	e->destination = d->destination;
	e->source_port = d->source_port;
	e->destination_port = d->destination_port;
	e->slot = d->slot;
	e->pid = d->pid;
	e->direction = d->direction;
	e->verdict = d->verdict;
	e->reason = d->reason;
	/* A full ring drops the event, never the connection. */
	bpf_ringbuf_output(&events, e, sizeof(*e), 0);
}

static __always_inline void record_verdict(const struct workload *w, const struct decision *d)
{
	count_verdict(d->slot, d->direction, d->reason);
	if (w->flags & WORKLOAD_FLAG_TRACE)
		send_event(d);
}

#endif
