/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How sockets of proxies become legs of a flow. */
#ifndef SHUNT_SPLICE_ENTER_H
#define SHUNT_SPLICE_ENTER_H

#include "splice-maps.h"
#include "splice-leg.h"
#include "find-socket.h"

static __always_inline __u64 cookie_of(struct tcp_sock *tp)
{
	return (__u64)READ((struct sock *)tp, __sk_common.skc_cookie.counter);
}

/* What TCP has received in order and its proxy has not read, wherever it lies. */
static __always_inline int has_unread(struct tcp_sock *tp)
{
	return tp->rcv_nxt != tp->copied_seq;
}

/* What still keeps a socket from being a leg. */
static __always_inline enum splice_reason unfit(struct tcp_sock *tp, __u64 cookie)
{
	if (cookie_of(tp) != cookie)
		return SPLICE_REASON_NOT_FOUND;
	if (((struct sock *)tp)->__sk_common.skc_state != TCP_ESTABLISHED)
		return SPLICE_REASON_NOT_ESTABLISHED;
	return SPLICE_REASON_NONE;
}

/* The leg's state as far as it is known without the other one. */
static __always_inline void introduce(struct splice_leg *leg, const struct splice_socket *socket,
				      struct tcp_sock *tp, __u32 waker, __u64 scope)
{
	leg->cookie = socket->cookie;
	leg->scope = scope;
	leg->waker = waker;
	leg->sent = tp->write_seq - socket->written;
	leg->received = tp->copied_seq - socket->read;
	leg->state = SPLICE_STATE_READY;
}

/*
 * A socket enters only while nothing waits in its receive queue: the verdict would be given whole
 * packets again of which a part has been read.
 */
static __always_inline void enter(struct splice_leg *leg, const struct splice_socket *socket,
				  struct bpf_sock *sk, struct tcp_sock *tp,
				  const struct splice_ref *ref)
{
	__u64 cookie = socket->cookie;

	if (leg->state != SPLICE_STATE_READY)
		return;
	if (has_unread(tp)) {
		leg->reason = SPLICE_REASON_UNREAD;
		return;
	}
	/* In another map, by which bytes come to it that the verdict does not see. */
	if (((struct sock *)tp)->sk_user_data) {
		leg->state = SPLICE_STATE_NEVER;
		leg->reason = SPLICE_REASON_REFUSED;
		return;
	}
	leg->seen = socket->read;
	leg->redirected_end = socket->read;
	if (bpf_map_update_elem(&splice_refs, &cookie, ref, BPF_ANY)) {
		leg->state = SPLICE_STATE_NEVER;
		leg->reason = SPLICE_REASON_MAP_FULL;
		return;
	}
	leg->reason = SPLICE_REASON_NONE;
	leg->state = SPLICE_STATE_PASSING;
	if (bpf_map_update_elem(&splice_socks, &cookie, sk, BPF_NOEXIST)) {
		leg->state = SPLICE_STATE_NEVER;
		leg->reason = SPLICE_REASON_REFUSED;
		bpf_map_delete_elem(&splice_refs, &cookie);
	}
}

static __always_inline void enter_leg(struct __sk_buff *skb, const struct splice_request *request,
				      const struct splice_socket *socket, struct splice_leg *own,
				      const struct splice_leg *peer, __u32 side)
{
	struct splice_ref ref = {.flow = request->flow, .side = side};
	struct bpf_sock *sk = find_socket(skb, &socket->key);
	struct tcp_sock *tp;

	if (!sk) {
		own->reason = SPLICE_REASON_NOT_FOUND;
		return;
	}
	tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	if (tp) {
		own->reason = unfit(tp, socket->cookie);
		if (own->reason == SPLICE_REASON_NONE && own->state == SPLICE_STATE_UNKNOWN)
			introduce(own, socket, tp, request->waker, request->scope);
		if (own->reason == SPLICE_REASON_NONE) {
			if (peer->state == SPLICE_STATE_UNKNOWN ||
			    peer->state == SPLICE_STATE_NEVER)
				own->reason = SPLICE_REASON_PEER_UNKNOWN;
			else
				enter(own, socket, sk, tp, &ref);
		}
	}
	bpf_sk_release(sk);
}

/* The sequence numbers that the connection between the proxies began with: the same at both ends.
 */
static __always_inline __u64 pair_of(struct __sk_buff *skb, const struct splice_request *request)
{
	struct bpf_sock *outer = find_socket(skb, &request->outer.key);
	__u64 sent, read, id = 0;
	struct tcp_sock *tp;

	if (!outer)
		return 0;
	tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(outer);
	if (tp && cookie_of(tp) == request->outer.cookie) {
		sent = (__u32)(tp->write_seq - request->outer.written);
		read = (__u32)(tp->copied_seq - request->outer.read);
		id = request->side == ACCEL_SIDE_CLIENT ? sent << 32 | read : read << 32 | sent;
	}
	bpf_sk_release(outer);
	return id;
}

static __always_inline struct splice_flow *flow_for(const struct splice_request *request)
{
	struct splice_flow *flow = bpf_map_lookup_elem(&splice_flows, &request->flow);
	struct splice_flow fresh = {};

	if (flow)
		return flow;
	fresh.right = request->flow.alone ? SPLICE_RIGHT_ALONE : SPLICE_RIGHT_PAIR;
	fresh.budget = request->budget;
	fresh.run_limit = request->run_limit;
	bpf_map_update_elem(&splice_flows, &request->flow, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&splice_flows, &request->flow);
}

static __always_inline void answer(struct splice_request *request, const struct splice_leg *own,
				   const struct splice_leg *peer)
{
	request->state = own->state;
	request->reason = own->reason;
	request->peer_state = peer->state;
}

static __always_inline void join(struct __sk_buff *skb, struct splice_request *request)
{
	struct splice_leg *own, *peer;
	__u32 *rights;
	struct splice_flow *flow;

	request->reason = SPLICE_REASON_SWITCHED_OFF;
	rights = bpf_map_lookup_elem(&splice_scopes, &request->scope);
	if (!rights)
		return;
	request->reason = SPLICE_REASON_POLICY;
	if (!(*rights & SPLICE_RIGHT_PAIR))
		return;
	request->reason = SPLICE_REASON_NOT_FOUND;
	if (!request->flow.id)
		request->flow.id = pair_of(skb, request);
	if (!request->flow.id)
		return;
	request->reason = SPLICE_REASON_MAP_FULL;
	flow = flow_for(request);
	if (!flow)
		return;
	own = &flow->legs[request->side == ACCEL_SIDE_SERVER];
	peer = &flow->legs[request->side != ACCEL_SIDE_SERVER];
	if (request->action == SPLICE_ACTION_REFUSE)
		own->state = SPLICE_STATE_NEVER;
	else if (own->state == SPLICE_STATE_UNKNOWN || own->state == SPLICE_STATE_READY)
		enter_leg(skb, request, &request->near, own, peer, request->side);
	answer(request, own, peer);
}

static __always_inline void alone(struct __sk_buff *skb, struct splice_request *request)
{
	struct splice_leg *near, *outer;
	struct splice_flow *flow;

	request->reason = SPLICE_REASON_SWITCHED_OFF;
	if (!bpf_map_lookup_elem(&splice_scopes, &request->scope))
		return;
	request->flow.id = request->near.cookie;
	request->flow.alone = 1;
	request->reason = SPLICE_REASON_MAP_FULL;
	flow = flow_for(request);
	if (!flow)
		return;
	near = &flow->legs[0];
	outer = &flow->legs[1];
	/* The first one needs to know the second one, which is known after that. */
	enter_leg(skb, request, &request->near, near, outer, 0);
	enter_leg(skb, request, &request->outer, outer, near, 1);
	enter_leg(skb, request, &request->near, near, outer, 0);
	answer(request, near, outer);
}

#endif
