// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/connect4 and connect6 (>= 4.17): the outbound decision. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "types.h"
#include "limits.h"
#include "maps.h"
#include "addr.h"
#include "context.h"
#include "policy.h"
#include "scope.h"
#include "self.h"
#include "verdict.h"
#include "sockaddr.h"
#include "flow.h"
#include "claim.h"
#include "listener.h"
#include "call.h"
#include "resolver.h"

#define SOCK_STREAM 1

/* How often a source port is guessed for a connected UDP socket before it goes without. */
#define PORT_ATTEMPTS 4

static __always_inline enum reason connect_reason(const struct workload *w, struct decision *d,
						  __u32 mark, __u32 device)
{
	if (is_proxy(w, mark))
		return proxy_reason(w, d, mark);
	if (addr_is_localhost(&d->destination) &&
	    (d->destination_port == w->outbound_port || d->destination_port == w->inbound_port))
		return REASON_OWN_LISTENER;
	if (from_passthrough(d))
		return REASON_PASSTHROUGH_SOURCE;
	return outbound_reason(w, d->netns, &d->destination, d->destination_port, device);
}

/* A UDP socket gets its source port here, since nothing later tells us which one it got. >= 5.8 */
static __always_inline int bind_source(struct bpf_sock_addr *ctx, int v6, const struct ip_addr *a,
				       __be16 port)
{
	struct sockaddr_v6 sa6 = {AF_INET6, port, 0, {0, 0, 0, 0}, 0};
	struct sockaddr_v4 sa4 = {AF_INET, port, a->word[3], 0};

	if (!v6)
		return bpf_bind(ctx, (struct sockaddr *)&sa4, sizeof(sa4));
	sa6.address[0] = a->word[0];
	sa6.address[1] = a->word[1];
	sa6.address[2] = a->word[2];
	sa6.address[3] = a->word[3];
	return bpf_bind(ctx, (struct sockaddr *)&sa6, sizeof(sa6));
}

/* The source port of a UDP socket that is being connected; 0 if none could be had. */
static __always_inline __be16 source_port(struct bpf_sock_addr *ctx, int v6,
					  const struct ip_addr *localhost)
{
	if (ctx->sk->src_port)
		return bpf_htons(ctx->sk->src_port);
#pragma unroll
	for (int i = 0; i < PORT_ATTEMPTS; i++) {
		__be16 guess = bpf_htons(32768 + (bpf_get_prandom_u32() & 0x3fff));

		if (!bind_source(ctx, v6, localhost, guess))
			return guess;
	}
	return 0;
}

static __always_inline int connect_workload(struct bpf_sock_addr *ctx, int v6, __u32 slot,
					    __u64 netns, __u32 programs)
{
	struct workload *w = bpf_map_lookup_elem(&workloads, &slot);
	struct decision d = {.direction = DIRECTION_OUTBOUND, .verdict = VERDICT_PASS};
	struct original *origin;
	struct ip_addr localhost;
	enum claimed claimed;
	int stream = SA_LOAD(type) == SOCK_STREAM;
	__u32 mark = 0;
	__be16 port;

	if (!w || !ctx->sk)
		return 1;
	read_call(&d, ctx, v6, slot, netns);
	mark = ctx->sk->mark;

	claimed = claim_of(&d, programs);
	if (claimed == CLAIMED_DONE)
		return 1;
	/* A socket may connect again, elsewhere: what it meant last time no longer counts. */
	if (claimed != CLAIMED_BY_SLOT) {
		origin = bpf_sk_storage_get(&origins, ctx->sk, 0, 0);
		if (origin)
			bpf_sk_storage_delete(&origins, ctx->sk);
	}
	if (claimed == CLAIMED_NOT)
		d.reason = connect_reason(w, &d, mark, ctx->sk->bound_dev_if);
	else
		d.reason = REASON_INNER_SCOPE;
	if (!stream && d.reason != REASON_DNS) {
		/* Of UDP, outer scopes take nothing but DNS either. */
		if (claimed == CLAIMED_NOT && d.destination_port == bpf_htons(53))
			claim_call(&d, &d.destination, d.destination_port);
		return 1;
	}
	if (d.reason == REASON_OWN_TRAFFIC && speaks_for_client(w, &d)) {
		origin = bpf_sk_storage_get(&origins, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (origin)
			fill_original(origin, &d);
	}
	if (stream && d.reason == REASON_OWN_TRAFFIC && is_first_hop(w, &d, mark)) {
		origin = bpf_sk_storage_get(&origins, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (origin) {
			fill_original(origin, &d);
			origin->reason = REASON_HOP_LEFT_OUT;
		}
	}
	if (!reason_captures(d.reason))
		goto out;
	if (out_of_reach(w, &d, ctx->sk))
		goto out;

	port = w->outbound_port;
	if (d.reason == REASON_PROXY_TO_SELF) {
		d.direction = DIRECTION_INBOUND;
		port = w->inbound_port;
	} else if (d.reason == REASON_DNS) {
		d.direction = DIRECTION_DNS;
		port = w->dns_ports[0];
	}
	if (!stream) {
		port = resolver_port(ctx->sk, w, slot, &d.destination, 1);
		if (!port) {
			leave_unproxied(w, &d, REASON_RESOLVERS_FULL);
			goto out;
		}
	}
	localhost = localhost_like(&d.destination);
	if (!listener_alive(ctx, stream, &localhost, port)) {
		apply_fail_mode(w, &d);
		goto out;
	}
	origin = bpf_sk_storage_get(&origins, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!origin) {
		leave_unproxied(w, &d, REASON_MAP_FULL);
		goto out;
	}
	fill_original(origin, &d);
	if (stream) {
		struct flow_key trial = trial_key(d.cookie);

		/*
		 * sockops comes too late for another way: a full map has to show here. The place is
		 * not kept, because connect() may fail without a word to anybody (EADDRNOTAVAIL).
		 */
		if (bpf_map_update_elem(&originals, &trial, origin, BPF_ANY)) {
			bpf_sk_storage_delete(&origins, ctx->sk);
			leave_unproxied(w, &d, REASON_MAP_FULL);
			goto out;
		}
		bpf_map_delete_elem(&originals, &trial);
	} else {
		struct flow_key flow = {
			.netns = netns,
			.remote = source_address(&d.source, &localhost),
			.local = localhost,
			.remote_port = source_port(ctx, v6, &localhost),
			.local_port = port,
		};

		if (flow.remote_port)
			bpf_map_update_elem(&dgram_origs, &flow, origin, BPF_ANY);
	}
	d.verdict = VERDICT_REDIRECT;
	if (d.transparent) {
		/* sk_lookup finds the tuple among the originals. */
		localhost = d.destination;
		port = d.destination_port;
	} else {
		sockaddr_set(ctx, v6, &localhost, port);
	}
	claim_call(&d, &localhost, port);
	record_verdict(w, &d);
	return 1;
out:
	if (claimed == CLAIMED_NOT)
		claim_call(&d, &d.destination, d.destination_port);
	if (d.runs < 2)
		record_verdict(w, &d);
	return d.verdict == VERDICT_DENY ? 0 : 1;
}

static __always_inline int connect_netns(struct bpf_sock_addr *ctx, int v6)
{
	__u64 netns = bpf_get_netns_cookie(ctx); /* >= 5.7 */
	__u32 slot = slot_of_netns(netns);

	return slot ? connect_workload(ctx, v6, slot, netns, 1) : 1;
}

static __always_inline int connect_cgroup(struct bpf_sock_addr *ctx, int v6)
{
	struct scope scope = scope_of_cgroup(0);

	return scope.slot ? connect_workload(ctx, v6, scope.slot, bpf_get_netns_cookie(ctx),
					     scope.programs)
			  : 1;
}

FOR_BOTH_FAMILIES(connect, _netns, connect_netns)
FOR_BOTH_FAMILIES(connect, _cgroup, connect_cgroup)

/* getpeername (>= 5.8): the application sees the peer it connected to. */
static __always_inline int peer_name(struct bpf_sock_addr *ctx, int v6)
{
	struct original *origin;

	if (!ctx->sk)
		return 1;
	origin = bpf_sk_storage_get(&origins, ctx->sk, 0, 0);
	if (origin)
		sockaddr_set(ctx, v6, &origin->address, origin->port);
	return 1;
}

FOR_BOTH_FAMILIES(getpeername, , peer_name)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
