/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The key under which the accepting side finds the original destination of a connection. */
#ifndef SHUNT_FLOW_H
#define SHUNT_FLOW_H

#include "addr.h"
#include "context.h"

#define SK_LOAD(sk, field) CTX_LOAD(struct bpf_sock, sk, field)

/* A bpf_sock that is connected, seen from its own end. */
static __always_inline void flow_of_sock(struct flow_key *flow, struct bpf_sock *sk)
{
	if (sk->family == 2) {
		flow->local = addr_v4(SK_LOAD(sk, src_ip4));
		flow->remote = addr_v4(SK_LOAD(sk, dst_ip4));
	} else {
		flow->local.word[0] = SK_LOAD(sk, src_ip6[0]);
		flow->local.word[1] = SK_LOAD(sk, src_ip6[1]);
		flow->local.word[2] = SK_LOAD(sk, src_ip6[2]);
		flow->local.word[3] = SK_LOAD(sk, src_ip6[3]);
		flow->remote.word[0] = SK_LOAD(sk, dst_ip6[0]);
		flow->remote.word[1] = SK_LOAD(sk, dst_ip6[1]);
		flow->remote.word[2] = SK_LOAD(sk, dst_ip6[2]);
		flow->remote.word[3] = SK_LOAD(sk, dst_ip6[3]);
	}
	flow->local_port = bpf_htons((__u16)SK_LOAD(sk, src_port));
	flow->remote_port = (__be16)SK_LOAD(sk, dst_port);
}

/* The source address of the socket; unspecified when it is not bound to one. */
static __always_inline struct ip_addr bound_address(struct bpf_sock_addr *ctx, int v6)
{
	struct ip_addr a;

	if (!v6)
		return addr_v4(SK_LOAD(ctx->sk, src_ip4));
	a.word[0] = SK_LOAD(ctx->sk, src_ip6[0]);
	a.word[1] = SK_LOAD(ctx->sk, src_ip6[1]);
	a.word[2] = SK_LOAD(ctx->sk, src_ip6[2]);
	a.word[3] = SK_LOAD(ctx->sk, src_ip6[3]);
	return a;
}

/* What the forwarder will see: loopback, unless the application chose an address. */
static __always_inline struct ip_addr source_address(const struct ip_addr *bound,
						     const struct ip_addr *localhost)
{
	return addr_is_unspecified(bound) ? *localhost : *bound;
}

/*
 * By which a connection that has no source port yet finds out whether `originals` has a place for
 * it. No namespace has cookie 0, so it is never taken for a connection.
 */
static __always_inline struct flow_key trial_key(__u64 cookie)
{
	struct flow_key key = {};

	key.remote.word[0] = (__u32)cookie;
	key.remote.word[1] = cookie >> 32;
	return key;
}

#endif
