// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cgroup/sendmsg (>= 4.18) and recvmsg (>= 5.2): DNS queries of unconnected UDP sockets go to the
 * agent's DNS port, and the answers seem to come from the resolver.
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
#include "scope.h"
#include "verdict.h"
#include "sockaddr.h"
#include "flow.h"
#include "claim.h"
#include "listener.h"
#include "call.h"
#include "resolver.h"
#include "self.h"

/* `inner`: the process is in the scope of another workload, further in, that lets its queries be.
 */
static __always_inline int sendmsg_workload(struct bpf_sock_addr *ctx, int v6, __u32 slot,
					    __u64 netns, __u32 programs, int inner)
{
	struct workload *w = bpf_map_lookup_elem(&workloads, &slot);
	struct decision d = {.direction = DIRECTION_DNS, .verdict = VERDICT_PASS};
	struct flow_key flow = {.netns = netns};
	struct original origin = {};
	struct ip_addr localhost;
	enum claimed claimed;
	__be16 port;

	if (!w || !ctx->sk || w->dns_capture == DNS_CAPTURE_OFF)
		return 1;
	if (sockaddr_port(ctx) != bpf_htons(53))
		return 1;
	read_call(&d, ctx, v6, slot, netns);
	claimed = claim_of(&d, programs);
	if (claimed == CLAIMED_DONE)
		return 1;
	if (claimed != CLAIMED_NOT || inner)
		d.reason = REASON_INNER_SCOPE;
	else if (is_proxy(w, ctx->sk->mark))
		d.reason = REASON_OWN_TRAFFIC;
	else if (from_passthrough(&d))
		d.reason = REASON_PASSTHROUGH_SOURCE;
	else
		d.reason = outbound_reason(w, netns, &d.destination, d.destination_port,
					   ctx->sk->bound_dev_if);
	if (d.reason != REASON_DNS)
		goto out;
	if (out_of_reach(w, &d, ctx->sk))
		goto out;

	port = resolver_port(ctx->sk, w, slot, &d.destination, 0);
	if (!port) {
		leave_unproxied(w, &d, REASON_RESOLVERS_FULL);
		goto out;
	}
	localhost = localhost_like(&d.destination);
	if (!listener_alive(ctx, 0, &localhost, port)) {
		apply_fail_mode(w, &d);
		goto out;
	}
	fill_original(&origin, &d);
	/* The source port is bound by now. */
	flow.local = localhost;
	flow.local_port = port;
	flow.remote = source_address(&d.source, &localhost);
	flow.remote_port = d.source_port;
	bpf_map_update_elem(&dgram_origs, &flow, &origin, BPF_ANY);
	d.verdict = VERDICT_REDIRECT;
	sockaddr_set(ctx, v6, &localhost, port);
	claim_call(&d, &localhost, port);
	record_verdict(w, &d);
	return 1;
out:
	if (d.reason != REASON_INNER_SCOPE)
		claim_call(&d, &d.destination, d.destination_port);
	if (d.runs < 2)
		record_verdict(w, &d);
	return d.verdict == VERDICT_DENY ? 0 : 1;
}

static __always_inline int sendmsg_netns(struct bpf_sock_addr *ctx, int v6)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	__u32 slot = slot_of_netns(netns);

	if (!slot || sockaddr_port(ctx) != bpf_htons(53))
		return 1;
	/* One that captures no DNS has no hook here that could have left a claim. */
	return sendmsg_workload(ctx, v6, slot, netns, 1, scope_of_cgroup(1).slot != 0);
}

static __always_inline int sendmsg_cgroup(struct bpf_sock_addr *ctx, int v6)
{
	struct scope scope = scope_of_cgroup(1);

	return scope.slot ? sendmsg_workload(ctx, v6, scope.slot, bpf_get_netns_cookie(ctx),
					     scope.programs, 0)
			  : 1;
}

FOR_BOTH_FAMILIES(sendmsg, _netns, sendmsg_netns)
FOR_BOTH_FAMILIES(sendmsg, _cgroup, sendmsg_cgroup)

/*
 * Only a datagram from the port that a resolver was asked by is renamed: the socket may receive
 * from others as well. A connected socket keeps its port, whatever the workload's is by now.
 */
static __always_inline int received(struct bpf_sock_addr *ctx, int v6)
{
	struct resolvers *all;
	struct ip_addr from;
	__be16 port;

	if (!ctx->sk)
		return 1;
	all = bpf_sk_storage_get(&resolvers, ctx->sk, 0, 0);
	if (!all)
		return 1;
	from = sockaddr_address(ctx, v6);
	port = sockaddr_port(ctx);
	if (!addr_is_localhost(&from) || !port)
		return 1;
#pragma unroll
	for (int i = 0; i < RESOLVER_SLOTS; i++) {
		struct resolver *r = &all->asked[i];

		if (port != r->port || !r->asked_ns)
			continue;
		if (r->unanswered)
			r->unanswered--;
		sockaddr_set(ctx, v6, &r->address, bpf_htons(53));
		break;
	}
	return 1;
}

FOR_BOTH_FAMILIES(recvmsg, , received)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
