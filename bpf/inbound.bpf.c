// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Inbound: sk_lookup (>= 5.9) hands new TCP connections of one network namespace to the proxy's
 * listeners. The accepted socket's own address is the original destination. Each namespace has its
 * own copy of this program, because sk_lookup cannot ask for the namespace's cookie.
 */
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
#include "verdict.h"

#define FIELD(name) CTX_LOAD(struct bpf_sk_lookup, ctx, name)

/*
 * A connection is made within this time or not at all; an older note is one that a worker could not
 * take back, because it died, and its tuple may be a client's again.
 */
#define OWN_FLOW_NS 60000000000ULL

/* Listening sockets of this namespace: [generation][family][member of the reuseport group]. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, LISTENERS_PER_WORKLOAD);
	__type(key, __u32);
	__type(value, __u64);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lookup_self);
} lookup_self SEC(".maps");

/* The kernel picks a member of the reuseport group that sk belongs to. */
static __always_inline int assign_socket(struct bpf_sk_lookup *ctx, struct bpf_sock *sk)
{
	int error = bpf_sk_assign(ctx, sk, 0);

	bpf_sk_release(sk);
	return error;
}

/* A closed listener leaves the map by itself, so the first one found is alive. */
static __always_inline int assign_listener(struct bpf_sk_lookup *ctx, int v6)
{
#pragma unroll
	for (__u32 i = 0; i < 2 * LISTENER_GROUP; i++) {
		__u32 index = (i / LISTENER_GROUP) * 2 * LISTENER_GROUP +
			      (v6 ? LISTENER_GROUP : 0) + i % LISTENER_GROUP;
		struct bpf_sock *sk = bpf_map_lookup_elem(&listeners, &index);

		if (sk && !assign_socket(ctx, sk))
			return 0;
	}
	return -1;
}

/* One that user space has not found yet. */
static __always_inline int assign_new_listener(struct bpf_sk_lookup *ctx, const struct workload *w,
					       __u64 netns, int v6)
{
	struct listener_key key = {.netns = netns, .family = v6 ? AF_INET6 : AF_INET};

	if (!(w->flags & WORKLOAD_FLAG_EXTERNAL_PROXY))
		return -1;
#pragma unroll
	for (__u32 i = 0; i < LISTENER_GROUP; i++) {
		struct bpf_sock *sk;

		key.member = i;
		sk = bpf_map_lookup_elem(&ext_listeners, &key);
		if (sk && !assign_socket(ctx, sk))
			return 0;
	}
	return -1;
}

/* A proxy of ours makes this very connection, and has not been answered yet. */
static __always_inline int is_left_out(struct flow_key *flow, const struct decision *d)
{
	struct hop *hop;

	flow->netns = 0;
	hop = bpf_map_lookup_elem(&hops, flow);
	if (!hop || bpf_ktime_get_ns() - hop->noted_ns >= OWN_FLOW_NS)
		return 0;
	/* A SYN may come twice. */
	if (hop->slot && hop->netns != d->netns)
		return 0;
	hop->netns = d->netns;
	hop->slot = d->slot;
	return 1;
}

/* `with_interfaces`: some are excluded; a constant, because ingress_ifindex is >= 5.17. */
static __always_inline int take_inbound(struct bpf_sk_lookup *ctx, int with_interfaces)
{
	struct decision d = {.direction = DIRECTION_INBOUND, .verdict = VERDICT_PASS};
	struct lookup_self *self;
	struct workload *w;
	struct flow_key flow = {};
	__u32 zero = 0;
	int v6;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	self = bpf_map_lookup_elem(&lookup_self, &zero);
	if (!self)
		return SK_PASS;
	d.slot = self->slot;
	d.netns = self->netns;
	w = bpf_map_lookup_elem(&workloads, &d.slot);
	if (!w || !d.slot)
		return SK_PASS;

	v6 = ctx->family != AF_INET;
	if (v6) {
		d.source.word[0] = FIELD(remote_ip6[0]);
		d.source.word[1] = FIELD(remote_ip6[1]);
		d.source.word[2] = FIELD(remote_ip6[2]);
		d.source.word[3] = FIELD(remote_ip6[3]);
		d.destination.word[0] = FIELD(local_ip6[0]);
		d.destination.word[1] = FIELD(local_ip6[1]);
		d.destination.word[2] = FIELD(local_ip6[2]);
		d.destination.word[3] = FIELD(local_ip6[3]);
	} else {
		d.source = addr_v4(FIELD(remote_ip4));
		d.destination = addr_v4(FIELD(local_ip4));
	}
	d.source_port = ctx->remote_port;
	d.destination_port = bpf_htons(ctx->local_port);

	if (port_is_own(w, d.destination_port)) {
		/* Redirected connections end here by design; only strangers at the door are
		 * counted. */
		if (addr_is_localhost(&d.source))
			return SK_PASS;
		d.reason = REASON_OWN_LISTENER;
		goto out;
	}
	if (addr_is_passthrough(&d.source)) {
		d.reason = REASON_PASSTHROUGH_SOURCE;
		goto out;
	}
	/*
	 * The namespace talks to itself. Not to be told by ingress_ifindex, which names the real
	 * device of the address and not lo.
	 */
	flow.netns = d.netns;
	flow.remote = d.source;
	flow.local = d.destination;
	flow.remote_port = d.source_port;
	flow.local_port = d.destination_port;
	if (addr_is_loopback(&d.source) || addr_equal(&d.source, &d.destination)) {
		struct original *original = 0;

		d.reason = REASON_LOOPBACK;
		if (w->flags & WORKLOAD_FLAG_SELF_TRANSPARENT)
			original = bpf_map_lookup_elem(&originals, &flow);
		if (!original || original->reason != REASON_PROXY_TO_SELF)
			goto out;
		d.reason = REASON_PROXY_TO_SELF;
		goto assign;
	}
	if (w->flags & (WORKLOAD_FLAG_PROXY_MARK | WORKLOAD_FLAG_CLIENT_SOURCE)) {
		__u64 *noted_ns = bpf_map_lookup_elem(&own_flows, &flow);

		if (noted_ns && bpf_ktime_get_ns() - *noted_ns < OWN_FLOW_NS) {
			d.reason = REASON_OWN_TRAFFIC;
			goto out;
		}
	}
	if (with_interfaces && (w->flags & WORKLOAD_FLAG_INTERFACES) &&
	    interface_listed(w, ctx->ingress_ifindex)) {
		d.reason = REASON_INTERFACE_EXCLUDED;
		goto out;
	}

	d.reason = inbound_reason(w, &d.source, d.destination_port);
	if (!reason_captures(d.reason))
		goto out;
	if ((w->flags & WORKLOAD_FLAG_ONE_HOP) && is_left_out(&flow, &d)) {
		d.reason = REASON_HOP_LEFT_OUT;
		goto out;
	}
	/* The proxy could not connect there: it does not learn the scope of the address. */
	if (addr_is_link_local(&d.destination)) {
		if (w->fail_mode == FAIL_MODE_DENY)
			d.verdict = VERDICT_DENY;
		d.reason = REASON_LINK_LOCAL;
		goto out;
	}
assign:
	if (!assign_listener(ctx, v6) || !assign_new_listener(ctx, w, d.netns, v6)) {
		/* The connect program has counted it. */
		if (d.reason == REASON_PROXY_TO_SELF)
			return SK_PASS;
		d.verdict = VERDICT_REDIRECT;
		goto out;
	}
	if (w->fail_mode == FAIL_MODE_DIRECT) {
		d.reason = REASON_LISTENER_GONE_DIRECT;
	} else {
		d.reason = REASON_LISTENER_GONE_DENY;
		d.verdict = VERDICT_DENY;
	}
out:
	record_verdict(w, &d);
	return d.verdict == VERDICT_DENY ? SK_DROP : SK_PASS;
}

SEC("sk_lookup")
int inbound(struct bpf_sk_lookup *ctx)
{
	return take_inbound(ctx, 0);
}

SEC("sk_lookup")
int inbound_interfaces(struct bpf_sk_lookup *ctx)
{
	return take_inbound(ctx, 1);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
