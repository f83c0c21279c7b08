// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sockops: ties a redirected connection to its original destination as soon as the source port is
 * known, which is before its SYN leaves, so the proxy can never be too early.
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
#include "flow.h"
#include "scope.h"
#include "verdict.h"

#define SOCKOPS_LOAD(field) CTX_LOAD(struct bpf_sock_ops, ctx, field)

static __always_inline void flow_of_sockops(struct flow_key *flow, struct bpf_sock_ops *ctx)
{
	if (ctx->family == AF_INET) {
		flow->local = addr_v4(SOCKOPS_LOAD(local_ip4));
		flow->remote = addr_v4(SOCKOPS_LOAD(remote_ip4));
	} else {
		flow->local.word[0] = SOCKOPS_LOAD(local_ip6[0]);
		flow->local.word[1] = SOCKOPS_LOAD(local_ip6[1]);
		flow->local.word[2] = SOCKOPS_LOAD(local_ip6[2]);
		flow->local.word[3] = SOCKOPS_LOAD(local_ip6[3]);
		flow->remote.word[0] = SOCKOPS_LOAD(remote_ip6[0]);
		flow->remote.word[1] = SOCKOPS_LOAD(remote_ip6[1]);
		flow->remote.word[2] = SOCKOPS_LOAD(remote_ip6[2]);
		flow->remote.word[3] = SOCKOPS_LOAD(remote_ip6[3]);
	}
	flow->local_port = bpf_htons((__u16)SOCKOPS_LOAD(local_port));
	flow->remote_port = (__be16)bpf_htons((__u16)bpf_ntohl(SOCKOPS_LOAD(remote_port)));
}

static __always_inline void flow_reverse(struct flow_key *out, const struct flow_key *in)
{
	out->netns = in->netns;
	out->local = in->remote;
	out->remote = in->local;
	out->local_port = in->remote_port;
	out->remote_port = in->local_port;
}

/* There was a place a moment ago, in connect; where it is taken by now, the proxy refuses. */
static __always_inline void note_original(struct flow_key *key, struct original *origin)
{
	if (bpf_map_update_elem(&originals, key, origin, BPF_ANY))
		count_verdict(origin->slot, origin->direction, REASON_MAP_FULL);
}

static __always_inline void note_hop(struct flow_key *key)
{
	struct hop hop = {.noted_ns = bpf_ktime_get_ns()};

	key->netns = 0;
	bpf_map_update_elem(&hops, key, &hop, BPF_ANY);
}

/* Whoever was to let it pass has done so when its SYN is answered. */
static __always_inline void forget_hop(struct bpf_sock_ops *ctx, struct flow_key *key)
{
	struct hop *hop;

	key->netns = 0;
	if (ctx->args[1] == BPF_TCP_ESTABLISHED) {
		hop = bpf_map_lookup_elem(&hops, key);
		if (hop && hop->slot)
			return;
	} else if (ctx->args[1] != BPF_TCP_CLOSE) {
		return;
	}
	bpf_map_delete_elem(&hops, key);
}

static __always_inline void note_listener(struct bpf_sock_ops *ctx, struct listener_key *key)
{
#pragma unroll
	for (int i = 0; i < LISTENER_GROUP; i++) {
		key->member = i;
		if (!bpf_sock_hash_update(ctx, &ext_listeners, key, BPF_NOEXIST))
			return;
	}
}

/*
 * A proxy that is not ours begins to listen: sk_lookup must know before the first connection comes,
 * and user space may take its time. A socket on :: may be for IPv4 as well; where it is not, the
 * kernel refuses to assign it and the next one is tried.
 */
static __always_inline void begins_to_listen(struct bpf_sock_ops *ctx, __u64 netns)
{
	struct listener_key key = {.netns = netns, .family = ctx->family};
	__u32 slot = slot_of_netns(key.netns);
	struct workload *w = slot ? bpf_map_lookup_elem(&workloads, &slot) : 0;

	if (!w || !(w->flags & WORKLOAD_FLAG_INBOUND) ||
	    !(w->flags & WORKLOAD_FLAG_EXTERNAL_PROXY) ||
	    bpf_htons((__u16)SOCKOPS_LOAD(local_port)) != w->inbound_port)
		return;
	note_listener(ctx, &key);
	if (key.family != AF_INET6 || SOCKOPS_LOAD(local_ip6[0]) || SOCKOPS_LOAD(local_ip6[1]) ||
	    SOCKOPS_LOAD(local_ip6[2]) || SOCKOPS_LOAD(local_ip6[3]))
		return;
	key.family = AF_INET;
	note_listener(ctx, &key);
}

/*
 * The connecting end is known by its socket's storage. `cookie_helper`: the program may ask for the
 * namespace's cookie as well (>= 5.15), by which the accepting end is known; a constant. Without,
 * `homes` tells it, of proxies that are not ours: what our own does not take at accept, user space
 * sweeps.
 */
#define ACCEPTING_NETNS(ctx) (cookie_helper ? bpf_get_netns_cookie(ctx) : home_of((ctx)->sk).netns)

static __always_inline int tie(struct bpf_sock_ops *ctx, int cookie_helper)
{
	struct flow_key own = {}, key = {};
	struct original *origin;
	__u64 now;

	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		begins_to_listen(ctx, ACCEPTING_NETNS(ctx));
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		if (!ctx->sk)
			break;
		origin = bpf_sk_storage_get(&origins, ctx->sk, 0, 0);
		if (!origin)
			break;
		own.netns = origin->netns;
		flow_of_sockops(&own, ctx);
		flow_reverse(&key, &own);
		if (origin->reason == REASON_HOP_LEFT_OUT) {
			note_hop(&key);
		} else if (origin->reason == REASON_OWN_TRAFFIC) {
			now = bpf_ktime_get_ns();
			bpf_map_update_elem(&own_flows, &key, &now, BPF_ANY);
		} else {
			note_original(&key, origin);
		}
		bpf_sock_ops_cb_flags_set(ctx,
					  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		/*
		 * The proxy's end: its entry goes when it closes, unless the proxy took it at
		 * accept. Of a workload that is a cgroup, the namespace tells nothing.
		 */
		own.netns = ACCEPTING_NETNS(ctx);
		flow_of_sockops(&own, ctx);
		if (bpf_map_lookup_elem(&originals, &own))
			bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
							       BPF_SOCK_OPS_STATE_CB_FLAG);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		origin = ctx->sk ? bpf_sk_storage_get(&origins, ctx->sk, 0, 0) : 0;
		if (origin && origin->reason == REASON_HOP_LEFT_OUT) {
			flow_of_sockops(&own, ctx);
			flow_reverse(&key, &own);
			forget_hop(ctx, &key);
		} else if (ctx->args[0] == BPF_TCP_SYN_SENT) {
			if (!origin)
				break;
			own.netns = origin->netns;
			flow_of_sockops(&own, ctx);
			flow_reverse(&key, &own);
			/*
			 * A note that the proxy speaks for a client has served when the SYN is
			 * answered. Where the connection was going is forgotten here only if nobody
			 * answered: a client may come, write and be gone before the proxy has
			 * accepted it.
			 */
			if (origin->reason == REASON_OWN_TRAFFIC)
				bpf_map_delete_elem(&own_flows, &key);
			else if (ctx->args[1] == BPF_TCP_CLOSE)
				bpf_map_delete_elem(&originals, &key);
		} else if (ctx->args[1] == BPF_TCP_CLOSE) {
			own.netns = ACCEPTING_NETNS(ctx);
			flow_of_sockops(&own, ctx);
			bpf_map_delete_elem(&originals, &own);
		}
		break;
	default:
		break;
	}
	return 1;
}

SEC("sockops")
int tie_original(struct bpf_sock_ops *ctx)
{
	return tie(ctx, 1);
}

/* Before 5.15. */
SEC("sockops")
int tie_original_old(struct bpf_sock_ops *ctx)
{
	return tie(ctx, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
