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

/* A closed listener leaves the map by itself, so the first one found is alive. */
static __always_inline int assign_listener(struct bpf_sk_lookup *ctx, int v6)
{
	int error = -1;

#pragma unroll
	for (__u32 i = 0; i < 2 * LISTENER_GROUP; i++) {
		__u32 index = (i / LISTENER_GROUP) * 2 * LISTENER_GROUP +
			      (v6 ? LISTENER_GROUP : 0) + i % LISTENER_GROUP;
		struct bpf_sock *sk = bpf_map_lookup_elem(&listeners, &index);

		if (!sk)
			continue;
		/* The kernel picks a member of the reuseport group that sk belongs to. */
		error = bpf_sk_assign(ctx, sk, 0);
		bpf_sk_release(sk);
		if (!error)
			return 0;
	}
	return error;
}

SEC("sk_lookup")
int inbound(struct bpf_sk_lookup *ctx)
{
	struct decision d = {.direction = DIRECTION_INBOUND, .verdict = VERDICT_PASS};
	struct lookup_self *self;
	struct workload *w;
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

	if (d.destination_port == w->outbound_port || d.destination_port == w->inbound_port ||
	    (w->dns_ports[0] && d.destination_port == w->dns_ports[0])) {
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
	if (addr_is_loopback(&d.source) || addr_equal(&d.source, &d.destination)) {
		d.reason = REASON_LOOPBACK;
		goto out;
	}
	if (w->flags & WORKLOAD_FLAG_PROXY_MARK) {
		struct flow_key flow = {
			.netns = d.netns,
			.remote = d.source,
			.local = d.destination,
			.remote_port = d.source_port,
			.local_port = d.destination_port,
		};

		__u64 *noted_ns = bpf_map_lookup_elem(&own_flows, &flow);

		if (noted_ns && bpf_ktime_get_ns() - *noted_ns < OWN_FLOW_NS) {
			d.reason = REASON_OWN_TRAFFIC;
			goto out;
		}
	}

	d.reason = inbound_reason(w, &d.source, d.destination_port);
	if (!reason_captures(d.reason))
		goto out;
	/* The proxy could not connect there: it does not learn the scope of the address. */
	if (addr_is_link_local(&d.destination)) {
		if (w->fail_mode == FAIL_MODE_DENY)
			d.verdict = VERDICT_DENY;
		d.reason = REASON_LINK_LOCAL;
		goto out;
	}
	if (!assign_listener(ctx, v6)) {
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

char LICENSE[] SEC("license") = "Dual BSD/GPL";
