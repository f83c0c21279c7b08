// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Splicing: what one of the proxies' sockets receives goes out by another one of them (a stream
 * verdict redirects it to the egress), so that sockets of applications are in no map.
 *
 * Order is kept because a leg opens only when the other leg's socket has been given every byte that
 * this one ever received, and its proxy does not read: nothing is then on its way anywhere.
 * Once it closes it stays closed until its proxy, which reads again when all that was redirected is
 * with the other socket, arms it anew.
 */
#define READS_BY_HELPER
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include "types.h"
#include "splice-maps.h"
#include "splice-leg.h"
#include "splice-enter.h"
#include "overlap.h"

static __always_inline enum splice_reason rights_of(__u64 scope, __u32 right)
{
	__u32 *rights = bpf_map_lookup_elem(&splice_scopes, &scope);

	if (!rights)
		return SPLICE_REASON_SWITCHED_OFF;
	return *rights & right ? SPLICE_REASON_NONE : SPLICE_REASON_POLICY;
}

/* Either workload may be forbidden to. */
static __always_inline enum splice_reason forbidden(const struct splice_flow *flow,
						    const struct splice_leg *own,
						    const struct splice_leg *peer)
{
	enum splice_reason reason = rights_of(own->scope, flow->right);

	return reason == SPLICE_REASON_NONE ? rights_of(peer->scope, flow->right) : reason;
}

static __always_inline enum splice_reason
hindrance(struct splice_flow *flow, struct splice_leg *own, const struct splice_leg *peer,
	  struct tcp_sock *self, struct tcp_sock *target, __u32 seen, __u32 len)
{
	__u8 state = ((struct sock *)target)->__sk_common.skc_state;
	__u32 behind = seen - given_to(peer, target);
	enum splice_reason reason = forbidden(flow, own, peer);

	if (reason != SPLICE_REASON_NONE)
		return reason;
	if (state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT)
		return SPLICE_REASON_PEER_GONE;
	if (own->state == SPLICE_STATE_ARMED && behind)
		return SPLICE_REASON_UNREAD;
	if (is_bulk(flow, own, self, len))
		return SPLICE_REASON_STREAM;
	if (behind + len > flow->budget || !has_room(target, behind + len))
		return SPLICE_REASON_SLOW_READER;
	return SPLICE_REASON_NONE;
}

static __always_inline enum splice_reason look_for_hindrance(struct splice_flow *flow,
							     struct splice_leg *own,
							     const struct splice_leg *peer,
							     struct __sk_buff *skb, __u32 seen)
{
	enum splice_reason reason = SPLICE_REASON_PEER_GONE;
	struct bpf_sock *socket = skb->sk, *other;
	struct tcp_sock *self, *target;
	__u64 cookie = peer->cookie;

	if (!socket)
		return reason;
	self = (struct tcp_sock *)bpf_skc_to_tcp_sock(socket);
	if (!self)
		return reason;
	other = bpf_map_lookup_elem(&splice_socks, &cookie);
	if (!other)
		return reason;
	target = (struct tcp_sock *)bpf_skc_to_tcp_sock(other);
	if (target)
		reason = hindrance(flow, own, peer, self, target, seen, skb->len);
	bpf_sk_release(other);
	return reason;
}

/* False: its proxy has taken it back meanwhile. */
static __always_inline int open_leg(struct splice_flow *flow, struct splice_leg *leg, __u32 end)
{
	int is_open;

	bpf_spin_lock(&flow->lock);
	is_open = is_armed(leg);
	if (is_open) {
		leg->state = SPLICE_STATE_OPEN;
		leg->redirected_end = end;
	}
	bpf_spin_unlock(&flow->lock);
	return is_open;
}

static __always_inline int close_leg(struct splice_flow *flow, struct splice_leg *leg,
				     enum splice_reason reason)
{
	void *ring;

	leg->reason = reason;
	take_back(flow, leg);
	ring = bpf_map_lookup_elem(&splice_wakers, &leg->waker);
	if (ring)
		bpf_ringbuf_output(ring, &leg->cookie, sizeof(leg->cookie), 0);
	return SK_PASS;
}

/* Runs for what a socket in splice_socks receives, with the socket locked. */
SEC("sk_skb/stream_verdict")
int splice(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb), to;
	struct splice_leg *own, *peer;
	enum splice_reason reason;
	struct splice_flow *flow;
	struct splice_ref *ref;
	__u32 seen, before, end;

	/*
	 * A bare FIN, which TCP has acted on already. Where it has to wait behind what is to be
	 * sent, nothing done is an error to the backlog's worker (EPIPE), and breaks the socket.
	 */
	if (!skb->len)
		return SK_DROP;
	ref = bpf_map_lookup_elem(&splice_refs, &cookie);
	if (!ref)
		return SK_PASS;
	flow = bpf_map_lookup_elem(&splice_flows, &ref->flow);
	if (!flow)
		return SK_PASS;
	own = &flow->legs[ref->side == ACCEL_SIDE_SERVER];
	peer = &flow->legs[ref->side != ACCEL_SIDE_SERVER];
	seen = own->seen;
	end = sequence_of(skb) + skb->len;
	/* What could not be taken off counts, and must not be taken off what is to come. */
	if (!drop_overlap(skb, own->received + seen))
		own->received = end - seen - skb->len;
	if (!skb->len)
		return SK_DROP;
	/* Atomic for its order: `hand_over` arms a leg and then looks whether bytes slipped by. */
	__sync_fetch_and_add(&own->seen, skb->len);
	if (!is_armed(own))
		return SK_PASS;
	reason = look_for_hindrance(flow, own, peer, skb, seen);
	if (reason != SPLICE_REASON_NONE)
		return close_leg(flow, own, reason);
	before = own->redirected_end;
	if (!open_leg(flow, own, seen + skb->len))
		return SK_PASS;
	to = peer->cookie;
	if (bpf_sk_redirect_hash(skb, &splice_socks, &to, 0) != SK_PASS) {
		own->redirected_end = before;
		return close_leg(flow, own, SPLICE_REASON_PEER_GONE);
	}
	own->redirected_bytes += skb->len;
	own->redirected_messages++;
	return SK_PASS;
}

static __always_inline void arm(struct splice_flow *flow, struct splice_leg *own,
				const struct splice_leg *peer, const struct tcp_sock *self,
				__u32 read)
{
	enum splice_reason reason;

	if (own->state != SPLICE_STATE_PASSING && own->state != SPLICE_STATE_CLOSED)
		return;
	if (peer->state == SPLICE_STATE_UNKNOWN || peer->state == SPLICE_STATE_READY ||
	    peer->state == SPLICE_STATE_NEVER) {
		own->reason = SPLICE_REASON_PEER_UNKNOWN;
		return;
	}
	reason = forbidden(flow, own, peer);
	if (reason != SPLICE_REASON_NONE) {
		own->reason = reason;
		return;
	}
	if (!is_read_up(own, self, read)) {
		own->reason = SPLICE_REASON_UNREAD;
		return;
	}
	own->run = 0;
	own->answered = self->write_seq;
	own->reason = SPLICE_REASON_NONE;
	bpf_spin_lock(&flow->lock);
	own->state = SPLICE_STATE_ARMED;
	bpf_spin_unlock(&flow->lock);
}

static __always_inline void look_at(struct splice_request *request, struct splice_flow *flow,
				    struct splice_leg *own, const struct splice_leg *peer,
				    struct tcp_sock *self, struct tcp_sock *target)
{
	if (request->action == SPLICE_ACTION_ARM && !request->ended)
		arm(flow, own, peer, self, request->near.read);
	/* Bytes that came while it was being armed have gone to the proxy. */
	if (own->state == SPLICE_STATE_ARMED && !is_read_up(own, self, request->near.read)) {
		own->reason = SPLICE_REASON_UNREAD;
		take_back(flow, own);
	}
	request->drained = (__s32)(given_to(peer, target) - own->redirected_end) >= 0;
}

static __always_inline void look(struct splice_request *request, struct splice_flow *flow,
				 struct splice_leg *own, const struct splice_leg *peer)
{
	__u64 own_cookie = own->cookie, peer_cookie = peer->cookie;
	struct bpf_sock *one, *other;
	struct tcp_sock *self, *target;

	one = bpf_map_lookup_elem(&splice_socks, &own_cookie);
	if (!one) {
		take_back(flow, own);
		return;
	}
	self = (struct tcp_sock *)bpf_skc_to_tcp_sock(one);
	request->ended = !self || ((struct sock *)self)->sk_err ||
			 ((struct sock *)self)->__sk_common.skc_state != TCP_ESTABLISHED;
	/* First of all: from here on nothing more is redirected, so that `drained` is final. */
	if (request->ended)
		take_back(flow, own);
	request->pending = self && backlog_of((struct sock *)self);
	other = bpf_map_lookup_elem(&splice_socks, &peer_cookie);
	if (other) {
		target = (struct tcp_sock *)bpf_skc_to_tcp_sock(other);
		if (self && target)
			look_at(request, flow, own, peer, self, target);
		bpf_sk_release(other);
	} else {
		take_back(flow, own);
	}
	bpf_sk_release(one);
}

/* A socket that was to be a leg of a pair can have become one of its proxy alone. */
static __always_inline void forget(__u64 cookie, const struct splice_key *flow)
{
	struct splice_ref *ref = bpf_map_lookup_elem(&splice_refs, &cookie);

	if (ref && ref->flow.id == flow->id && ref->flow.alone == flow->alone)
		bpf_map_delete_elem(&splice_refs, &cookie);
}

static __always_inline void leave(const struct splice_request *request, struct splice_flow *flow)
{
	__u32 both = 1 << ACCEL_SIDE_CLIENT | 1 << ACCEL_SIDE_SERVER;
	__u64 client = flow->legs[0].cookie, server = flow->legs[1].cookie;

	flow->left |= 1 << (request->side == ACCEL_SIDE_SERVER);
	if (!request->flow.alone && flow->left != both &&
	    flow->legs[request->side != ACCEL_SIDE_SERVER].state != SPLICE_STATE_UNKNOWN)
		return;
	forget(client, &request->flow);
	forget(server, &request->flow);
	bpf_map_delete_elem(&splice_flows, &request->flow);
}

static __always_inline void ask_flow(struct splice_request *request)
{
	struct splice_flow *flow = bpf_map_lookup_elem(&splice_flows, &request->flow);
	struct splice_leg *own, *peer;

	request->drained = 1;
	request->ended = 1;
	if (!flow)
		return;
	if (request->action == SPLICE_ACTION_LEAVE) {
		leave(request, flow);
		return;
	}
	own = &flow->legs[request->side == ACCEL_SIDE_SERVER];
	peer = &flow->legs[request->side != ACCEL_SIDE_SERVER];
	look(request, flow, own, peer);
	answer(request, own, peer);
}

/* Run by proxies as `advance` of accelerate.bpf.c is, with a struct splice_request for a packet. */
SEC("tc")
int hand_over(struct __sk_buff *skb)
{
	struct splice_request *request = (void *)(long)skb->data;

	if ((void *)(request + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	if (request->action == SPLICE_ACTION_JOIN || request->action == SPLICE_ACTION_REFUSE)
		join(skb, request);
	else if (request->action == SPLICE_ACTION_ALONE)
		alone(skb, request);
	else
		ask_flow(request);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
