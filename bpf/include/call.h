/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What connect and sendmsg have in common: the call they judge, and the programs of both. */
#ifndef SHUNT_CALL_H
#define SHUNT_CALL_H

#include "flow.h"
#include "sockaddr.h"
#include "verdict.h"

/* One program for each family of a hook; `body` takes the context, and 1 for IPv6. */
#define FOR_BOTH_FAMILIES(hook, suffix, body)          \
	SEC("cgroup/" #hook "4")                       \
	int hook##4##suffix(struct bpf_sock_addr *ctx) \
	{                                              \
		return body(ctx, 0);                   \
	}                                              \
	SEC("cgroup/" #hook "6")                       \
	int hook##6##suffix(struct bpf_sock_addr *ctx) \
	{                                              \
		return body(ctx, 1);                   \
	}

/* The call as it stands; nothing is decided yet. */
static __always_inline void read_call(struct decision *d, struct bpf_sock_addr *ctx, int v6,
				      __u32 slot, __u64 netns)
{
	d->slot = slot;
	d->netns = netns;
	d->cookie = bpf_get_socket_cookie(ctx);
	d->pid = bpf_get_current_pid_tgid() >> 32;
	d->source = bound_address(ctx, v6);
	d->source_port = bpf_htons(ctx->sk->src_port);
	d->destination = sockaddr_address(ctx, v6);
	d->destination_port = sockaddr_port(ctx);
}

/* Where the application meant to go. */
static __always_inline void fill_original(struct original *origin, const struct decision *d)
{
	origin->cookie = d->cookie;
	origin->netns = d->netns;
	origin->created_ns = bpf_ktime_get_ns();
	origin->address = d->destination;
	origin->port = d->destination_port;
	origin->slot = d->slot;
	origin->direction = d->direction;
	origin->reason = d->reason;
}

#endif
