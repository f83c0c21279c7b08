// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Legs: the bytes between an application and the proxy go from socket to socket past TCP, and the
 * proxy copies them on. A leg is a flow as those of accelerate.bpf.c, whose other end is a socket
 * of the proxy, so that `steer` decides about it by the same gate.
 */
#define READS_BY_HELPER
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include "types.h"
#include "limits.h"
#include "accel-maps.h"
#include "addr.h"
#include "gate.h"
#include "reader.h"
#include "enrol.h"
#include "find-socket.h"

static __always_inline void answer(struct accel_request *request, enum accel_reason reason)
{
	request->reason = reason;
	if (reason == ACCEL_REASON_NONE)
		request->state = ACCEL_STATE_ENROLLED;
	else if (is_final(reason) || reason == ACCEL_REASON_REFUSED)
		request->state = ACCEL_STATE_NEVER;
}

static __always_inline void fill_end(struct accel_end *end, const struct socket_key *key,
				     const struct socket_start *start, const struct tcp_sock *tp,
				     enum accel_permission permission)
{
	end->key = *key;
	end->socket = (__u64)tp;
	end->cookie = start->cookie;
	end->sent = start->sent;
	end->read = start->read;
	end->permission = permission;
	end->state = ACCEL_STATE_READY;
}

static __always_inline int put(struct accel_request *request, const struct socket_key *key,
			       enum accel_side side, struct bpf_sock *sk,
			       struct socket_start *start)
{
	start->flow = request->flow;
	start->side = side;
	return bpf_map_update_elem(&accel_socks, key, sk, BPF_NOEXIST) == 0;
}

static __always_inline enum accel_reason
make_flow(struct accel_request *request, struct bpf_sock *app, struct socket_start *app_start,
	  struct bpf_sock *proxy, struct socket_start *proxy_start)
{
	struct tcp_sock *app_tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(app);
	struct tcp_sock *proxy_tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(proxy);
	struct accel_flow *flow;
	struct accel_end *near, *far;
	enum accel_reason reason;

	if (!app_tp || !proxy_tp)
		return ACCEL_REASON_NOT_FOUND;
	reason = forbidden(request->app.netns, ACCEL_PERMISSION_LEG);
	if (reason != ACCEL_REASON_NONE)
		return reason;
	reason = hindrance(app_tp);
	if (reason != ACCEL_REASON_NONE)
		return reason;
	if (!is_reader_known(request, app, (struct sock *)app_tp))
		return ACCEL_REASON_READER_UNKNOWN;
	reason = hindrance(proxy_tp);
	if (reason != ACCEL_REASON_NONE)
		return reason;
	/* It belongs to a flow already, and may have bytes on that way. */
	if (app_start->flow || proxy_start->flow)
		return ACCEL_REASON_REFUSED;
	if (bpf_map_update_elem(&accel_flows, &request->flow, &no_flow, BPF_NOEXIST))
		return ACCEL_REASON_MAP_FULL;
	flow = bpf_map_lookup_elem(&accel_flows, &request->flow);
	if (!flow)
		return ACCEL_REASON_MAP_FULL;
	/* No patience: while a proxy waits for one reader, it serves no other. */
	flow->budget = request->budget;
	near = &flow->ends[request->side == ACCEL_SIDE_SERVER];
	far = &flow->ends[request->side != ACCEL_SIDE_SERVER];
	fill_end(near, &request->app, app_start, app_tp, ACCEL_PERMISSION_LEG);
	near->reader = request->reader;
	near->inode = request->inode;
	fill_end(far, &request->outer, proxy_start, proxy_tp, ACCEL_PERMISSION_LEG_BACK);
	/* The proxy's first: where the kernel wants only one of them, it is not the application's.
	 */
	if (!put(request, &request->outer, !request->side, proxy, proxy_start) ||
	    !put(request, &request->app, request->side, app, app_start)) {
		bpf_map_delete_elem(&accel_flows, &request->flow);
		return ACCEL_REASON_REFUSED;
	}
	far->state = ACCEL_STATE_ENROLLED;
	near->state = ACCEL_STATE_ENROLLED;
	return ACCEL_REASON_NONE;
}

static __always_inline void join_sockets(struct accel_request *request, struct bpf_sock *app,
					 struct bpf_sock *proxy)
{
	struct socket_start *app_start = bpf_sk_storage_get(&accel_starts, app, 0, 0);
	struct socket_start *proxy_start = bpf_sk_storage_get(&accel_starts, proxy, 0, 0);
	struct accel_flow *flow;
	struct accel_end *end;

	if (!app_start || !proxy_start) {
		request->reason = ACCEL_REASON_NO_START;
		request->state = ACCEL_STATE_NEVER;
		return;
	}
	/* The other way round than for a flow between two proxies, which may be this connection. */
	request->flow = flow_of_start(app_start, !request->side);
	flow = bpf_map_lookup_elem(&accel_flows, &request->flow);
	if (!flow) {
		answer(request, make_flow(request, app, app_start, proxy, proxy_start));
		return;
	}
	end = &flow->ends[request->side == ACCEL_SIDE_SERVER];
	request->state = end->state;
	request->reason = end->reason;
}

/* As `advance`, for a leg: request->outer is the proxy's socket, at the other end of request->app.
 */
SEC("tc")
int join(struct __sk_buff *skb)
{
	struct accel_request *request = (void *)(long)skb->data;
	struct bpf_sock *app, *proxy;

	if ((void *)(request + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	if (request->action == ACCEL_ACTION_LEAVE) {
		bpf_map_delete_elem(&accel_flows, &request->flow);
		return TC_ACT_OK;
	}
	request->state = ACCEL_STATE_UNKNOWN;
	request->reason = ACCEL_REASON_NOT_FOUND;
	app = find_socket(skb, &request->app);
	if (!app)
		return TC_ACT_OK;
	request->unread = has_unread(app);
	proxy = find_socket(skb, &request->outer);
	if (proxy) {
		join_sockets(request, app, proxy);
		bpf_sk_release(proxy);
	}
	bpf_sk_release(app);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
