/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a captured connection can reach the proxy, and what happens if not. */
#ifndef SHUNT_LISTENER_H
#define SHUNT_LISTENER_H

#include "addr.h"
#include "verdict.h"

/*
 * Is there anybody to take the connection, or the query? Looks the socket up, as the first packet
 * will: a listener for a stream, else a bound UDP socket. >= 5.0
 */
static __always_inline int listener_alive(struct bpf_sock_addr *ctx, int stream,
					  const struct ip_addr *localhost, __be16 port)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = sizeof(tuple.ipv6);
	struct bpf_sock *sk;

	if (addr_is_v4(localhost)) {
		size = sizeof(tuple.ipv4);
		tuple.ipv4.saddr = localhost->word[3];
		tuple.ipv4.daddr = localhost->word[3];
		tuple.ipv4.dport = port;
	} else {
		tuple.ipv6.saddr[3] = localhost->word[3];
		tuple.ipv6.daddr[3] = localhost->word[3];
		tuple.ipv6.dport = port;
	}
	if (stream)
		sk = bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	bpf_sk_release(sk);
	return 1;
}

/* The interface that every network namespace has first: lo. */
#define LOOPBACK_INDEX 1

/* Does SO_BINDTODEVICE keep the socket from the proxy's listener on loopback? */
static __always_inline int bound_elsewhere(struct bpf_sock *sk)
{
	return sk->bound_dev_if && sk->bound_dev_if != LOOPBACK_INDEX;
}

/* The fail mode decides here too; a proxy that calls its own pod has nobody to be kept from. */
static __always_inline void leave_unproxied(const struct workload *w, struct decision *d,
					    enum reason reason)
{
	if (w->fail_mode == FAIL_MODE_DENY && d->reason != REASON_PROXY_TO_SELF)
		d->verdict = VERDICT_DENY;
	d->reason = reason;
}

/* Captured, but out of the proxy's reach: the fail mode has decided. */
static __always_inline int out_of_reach(const struct workload *w, struct decision *d,
					struct bpf_sock *sk)
{
	if (bound_elsewhere(sk))
		leave_unproxied(w, d, REASON_BOUND_DEVICE);
	else if (addr_is_link_local(&d->destination))
		leave_unproxied(w, d, REASON_LINK_LOCAL);
	else
		return 0;
	return 1;
}

/* Nobody is there: the fail mode decides. */
static __always_inline void apply_fail_mode(const struct workload *w, struct decision *d)
{
	if (w->fail_mode == FAIL_MODE_DIRECT) {
		d->reason = REASON_LISTENER_GONE_DIRECT;
	} else {
		d->reason = REASON_LISTENER_GONE_DENY;
		d->verdict = VERDICT_DENY;
	}
}

#endif
