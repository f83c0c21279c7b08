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

/* The place that connect kept goes to the connection; in a full map it has to be given up first. */
static __always_inline void note_original(struct flow_key *key, struct original *origin)
{
	struct flow_key reserved = reserved_key(origin->cookie);
	long failed = bpf_map_update_elem(&originals, key, origin, BPF_ANY);

	bpf_map_delete_elem(&originals, &reserved);
	if (failed && bpf_map_update_elem(&originals, key, origin, BPF_ANY))
		count_verdict(origin->slot, origin->direction, REASON_MAP_FULL);
}

SEC("sockops")
int tie_original(struct bpf_sock_ops *ctx)
{
	struct flow_key own = {}, key = {};
	struct original *origin;

	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		if (!ctx->sk)
			break;
		origin = bpf_sk_storage_get(&origins, ctx->sk, 0, 0);
		if (!origin)
			break;
		own.netns = bpf_get_netns_cookie(ctx); /* >= 5.15 */
		flow_of_sockops(&own, ctx);
		flow_reverse(&key, &own);
		note_original(&key, origin);
		bpf_sock_ops_cb_flags_set(ctx,
					  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		/* The proxy's end: its entry goes when it closes, unless the proxy took it at
		 * accept. */
		own.netns = bpf_get_netns_cookie(ctx);
		if (!bpf_map_lookup_elem(&netns_slots, &own.netns))
			break;
		flow_of_sockops(&own, ctx);
		if (bpf_map_lookup_elem(&originals, &own))
			bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
							       BPF_SOCK_OPS_STATE_CB_FLAG);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] != BPF_TCP_CLOSE)
			break;
		own.netns = bpf_get_netns_cookie(ctx);
		flow_of_sockops(&own, ctx);
		/*
		 * The client's end counts only if nobody answered: a client may come, write and be
		 * gone before the proxy has accepted it.
		 */
		if (ctx->args[0] == BPF_TCP_SYN_SENT) {
			flow_reverse(&key, &own);
			bpf_map_delete_elem(&originals, &key);
		} else {
			bpf_map_delete_elem(&originals, &own);
		}
		break;
	default:
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
