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

/* `inner`: the process is in the scope of another workload, further in, that lets its queries be.
 */
static __always_inline int sendmsg_workload(struct bpf_sock_addr *ctx, int v6, __u32 slot,
					    __u64 netns, int inner)
{
	struct workload *w = bpf_map_lookup_elem(&workloads, &slot);
	struct decision d = {.direction = DIRECTION_DNS, .verdict = VERDICT_PASS};
	struct flow_key flow = {.netns = netns};
	struct original *origin;
	struct ip_addr localhost;
	enum claimed claimed;

	if (!w || !ctx->sk || w->dns_capture == DNS_CAPTURE_OFF)
		return 1;
	d.destination_port = sockaddr_port(ctx);
	if (d.destination_port != bpf_htons(53))
		return 1;
	d.slot = slot;
	d.netns = netns;
	d.cookie = bpf_get_socket_cookie(ctx);
	d.pid = bpf_get_current_pid_tgid() >> 32;
	d.source = bound_address(ctx, v6);
	d.source_port = bpf_htons(ctx->sk->src_port);
	d.destination = sockaddr_address(ctx, v6);
	claimed = claim_of(&d);
	if (claimed == CLAIMED_DONE)
		return 1;
	if (claimed != CLAIMED_NOT || inner)
		d.reason = REASON_INNER_SCOPE;
	else if (is_proxy(w, ctx->sk->mark))
		d.reason = REASON_OWN_TRAFFIC;
	else
		d.reason = outbound_reason(w, netns, &d.destination, d.destination_port);
	if (d.reason != REASON_DNS)
		goto out;
	if (bound_elsewhere(ctx->sk)) {
		leave_unproxied(w, &d, REASON_BOUND_DEVICE);
		goto out;
	}
	if (addr_is_link_local(&d.destination)) {
		leave_unproxied(w, &d, REASON_LINK_LOCAL);
		goto out;
	}

	localhost = localhost_like(&d.destination);
	if (!listener_alive(ctx, 0, &localhost, w->dns_port)) {
		apply_fail_mode(w, &d);
		goto out;
	}
	origin = bpf_sk_storage_get(&origins, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!origin) {
		d.reason = REASON_MAP_FULL;
		d.verdict = w->fail_mode == FAIL_MODE_DIRECT ? VERDICT_PASS : VERDICT_DENY;
		goto out;
	}
	origin->cookie = d.cookie;
	origin->created_ns = bpf_ktime_get_ns();
	origin->address = d.destination;
	origin->port = d.destination_port;
	origin->slot = slot;
	origin->direction = DIRECTION_DNS;
	origin->reason = REASON_DNS;
	/* The source port is bound by now. */
	flow.local = localhost;
	flow.local_port = w->dns_port;
	flow.remote = source_address(&d.source, &localhost);
	flow.remote_port = d.source_port;
	bpf_map_update_elem(&dgram_origs, &flow, origin, BPF_ANY);
	d.verdict = VERDICT_REDIRECT;
	sockaddr_set(ctx, v6, &localhost, w->dns_port);
	claim_call(&d, &localhost, w->dns_port);
	record_verdict(w, &d);
	return 1;
out:
	if (d.reason != REASON_INNER_SCOPE)
		claim_call(&d, &d.destination, d.destination_port);
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
	return sendmsg_workload(ctx, v6, slot, netns, slot_of_cgroup() != 0);
}

static __always_inline int sendmsg_cgroup(struct bpf_sock_addr *ctx, int v6)
{
	__u32 slot = slot_of_cgroup();

	return slot ? sendmsg_workload(ctx, v6, slot, bpf_get_netns_cookie(ctx), 0) : 1;
}

SEC("cgroup/sendmsg4")
int sendmsg4_netns(struct bpf_sock_addr *ctx)
{
	return sendmsg_netns(ctx, 0);
}

SEC("cgroup/sendmsg6")
int sendmsg6_netns(struct bpf_sock_addr *ctx)
{
	return sendmsg_netns(ctx, 1);
}

SEC("cgroup/sendmsg4")
int sendmsg4_cgroup(struct bpf_sock_addr *ctx)
{
	return sendmsg_cgroup(ctx, 0);
}

SEC("cgroup/sendmsg6")
int sendmsg6_cgroup(struct bpf_sock_addr *ctx)
{
	return sendmsg_cgroup(ctx, 1);
}

/* Only a datagram from our DNS port is renamed: the socket may receive from others as well. */
static __always_inline int received(struct bpf_sock_addr *ctx, int v6)
{
	struct original *origin;
	struct workload *w;
	struct ip_addr from;

	if (!ctx->sk)
		return 1;
	origin = bpf_sk_storage_get(&origins, ctx->sk, 0, 0);
	if (!origin)
		return 1;
	w = bpf_map_lookup_elem(&workloads, &origin->slot);
	if (!w)
		return 1;
	from = sockaddr_address(ctx, v6);
	if (addr_is_localhost(&from) && sockaddr_port(ctx) == w->dns_port)
		sockaddr_set(ctx, v6, &origin->address, origin->port);
	return 1;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return received(ctx, 0);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return received(ctx, 1);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
