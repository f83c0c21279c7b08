// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Acceleration: bytes go from the socket of one application straight into the receive queue of the
 * other one's, past both proxies and the TCP stack.
 *
 * Order is kept because a message is redirected only while no byte sent by TCP is unread at the
 * other end (`gate_is_open`): what goes by TCP later is read after what was redirected earlier, as
 * the kernel's recvmsg drains the redirected queue first (tcp_bpf_recvmsg, net/ipv4/tcp_bpf.c).
 * Everything else goes by TCP through the proxies, as if there were no acceleration.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "types.h"
#include "limits.h"
#include "accel-maps.h"
#include "addr.h"
#include "gate.h"
#include "reader.h"
#include "wait.h"
#include "enrol.h"
#include "find-socket.h"
#include "overlap.h"

static __always_inline int is_alive(const struct accel_end *end)
{
	return is_established((struct sock *)end->socket, end->cookie);
}

static __always_inline int never(struct accel_end *end, enum accel_reason reason)
{
	end->state = ACCEL_STATE_NEVER;
	end->reason = reason;
	end->open = 0;
	return SK_PASS;
}

static __always_inline int by_tcp(struct accel_end *end)
{
	end->tcp_messages++;
	end->open = 0;
	return SK_PASS;
}

/* Runs for each send() on a socket in accel_socks, in the sender's context with its socket locked.
 */
SEC("sk_msg")
int steer(struct sk_msg_md *msg)
{
	struct socket_start *start;
	struct accel_end *from, *to;
	struct accel_flow *flow;
	struct sock *reader;
	struct bpf_sock *sk = msg->sk;
	enum accel_reason option;
	__u32 most;

	if (!sk)
		return SK_PASS;
	start = bpf_sk_storage_get(&accel_starts, sk, 0, 0);
	if (!start)
		return SK_PASS;
	flow = bpf_map_lookup_elem(&accel_flows, &start->flow);
	if (!flow)
		return SK_PASS;
	if (start->side == ACCEL_SIDE_CLIENT) {
		from = &flow->ends[ACCEL_SIDE_CLIENT];
		to = &flow->ends[ACCEL_SIDE_SERVER];
	} else {
		from = &flow->ends[ACCEL_SIDE_SERVER];
		to = &flow->ends[ACCEL_SIDE_CLIENT];
	}
	if (from->state != ACCEL_STATE_ENROLLED)
		return SK_PASS;
	option = forbidden(from->key.netns, from->permission);
	if (option == ACCEL_REASON_SWITCHED_OFF)
		return never(from, option);
	if (option != ACCEL_REASON_NONE) {
		from->reason = option;
		return by_tcp(from);
	}
	if (to->state != ACCEL_STATE_ENROLLED)
		return by_tcp(from);
	if (!is_alive(to))
		return never(from, ACCEL_REASON_PEER_GONE);
	reader = (struct sock *)to->socket;
	if (!is_non_blocking(reader))
		return never(from, ACCEL_REASON_BLOCKING);
	option = unbearable_option(reader);
	if (option == ACCEL_REASON_NONE)
		option = unbearable_option((struct sock *)from->socket);
	if (option != ACCEL_REASON_NONE)
		return never(from, option);
	if (has_low_water(reader)) {
		from->reason = ACCEL_REASON_RECEIVE_LOW_WATER;
		return by_tcp(from);
	}
	if (waiting(reader) && is_memory_short(reader)) {
		from->over_budget++;
		return by_tcp(from);
	}
	most = most_waiting(reader, flow->budget);
	if (waiting(reader) + msg->size > most || (!from->open && !gate_is_open(from, to))) {
		if (!wait_for_reader(flow, from, to, msg->size, most)) {
			from->over_budget += from->open;
			return by_tcp(from);
		}
	}
	if (bpf_msg_redirect_hash(msg, &accel_socks, &to->key, BPF_F_INGRESS) != SK_PASS)
		return never(from, ACCEL_REASON_PEER_GONE);
	from->open = 1;
	from->redirected_bytes += msg->size;
	from->redirected_messages++;
	earn(from, msg->size);
	return SK_PASS;
}

/*
 * Lets everything pass, once. It is attached where the kernel counts unread bytes (FIONREAD) of
 * sockets in a map rightly only if they have such a program (since 929e30f93125).
 */
SEC("sk_skb/stream_verdict")
int pass_stream(struct __sk_buff *skb)
{
	return pass_once(skb, &accel_received);
}

/* Runs in the context of the process that calls listen() or connect(). */
static __always_inline void note_opener(struct bpf_sock_ops *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct socket_opener *opener;
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return;
	opener = bpf_sk_storage_get(&accel_openers, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (opener)
		opener->pid = READ(task, tgid);
}

/*
 * Notes where the byte counters of a connection begin, while nobody can have sent anything yet, and
 * who has begun it.
 */
SEC("sockops")
int note_start(struct bpf_sock_ops *ctx)
{
	struct socket_start *start;
	struct bpf_sock *sk;
	struct tcp_sock *tp;
	__u64 netns;

	int opens = ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB || ctx->op == BPF_SOCK_OPS_TCP_LISTEN_CB;

	if (!opens && ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	netns = bpf_get_netns_cookie(ctx);
	if (!bpf_map_lookup_elem(&accel_netns, &netns))
		return 1;
	if (opens) {
		note_opener(ctx);
		return 1;
	}
	sk = ctx->sk;
	if (!sk)
		return 1;
	tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 1;
	start = bpf_sk_storage_get(&accel_starts, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!start)
		return 1;
	start->cookie = bpf_get_socket_cookie(ctx);
	start->sent = tp->write_seq;
	start->read = tp->copied_seq;
	return 1;
}

static __always_inline __u64 flow_of_outer(struct __sk_buff *skb,
					   const struct accel_request *request)
{
	struct bpf_sock *outer = find_socket(skb, &request->outer);
	struct socket_start *start;
	__u64 flow = 0;

	if (!outer)
		return 0;
	start = bpf_sk_storage_get(&accel_starts, outer, 0, 0);
	if (start)
		flow = flow_of_start(start, request->side);
	bpf_sk_release(outer);
	return flow;
}

static __always_inline void advance_end(struct accel_request *request, struct bpf_sock *app,
					struct socket_start *start, struct accel_end *own,
					const struct accel_end *peer)
{
	struct tcp_sock *tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(app);
	enum accel_reason reason;

	if (!tp)
		return;
	reason = hindrance(tp);
	if (reason == ACCEL_REASON_NONE && !is_reader_known(request, app, (struct sock *)tp))
		reason = ACCEL_REASON_READER_UNKNOWN;
	if (reason != ACCEL_REASON_NONE) {
		own->reason = reason;
		if (is_final(reason))
			own->state = ACCEL_STATE_NEVER;
		return;
	}
	if (own->state == ACCEL_STATE_UNKNOWN) {
		own->key = request->app;
		own->socket = (__u64)tp;
		own->cookie = start->cookie;
		own->sent = start->sent;
		own->read = start->read;
		own->reader = request->reader;
		own->inode = request->inode;
		own->state = ACCEL_STATE_READY;
	}
	if (peer->state != ACCEL_STATE_READY && peer->state != ACCEL_STATE_ENROLLED) {
		own->reason = ACCEL_REASON_PEER_UNKNOWN;
		return;
	}
	own->permission = own->key.netns == peer->key.netns ? ACCEL_PERMISSION_DIRECT_INSIDE
							    : ACCEL_PERMISSION_DIRECT_ACROSS;
	reason = forbidden(own->key.netns, own->permission);
	if (reason != ACCEL_REASON_NONE) {
		own->state = ACCEL_STATE_NEVER;
		own->reason = reason;
		return;
	}
	start->flow = request->flow;
	start->side = request->side;
	if (bpf_map_update_elem(&accel_socks, &own->key, app, BPF_NOEXIST)) {
		own->state = ACCEL_STATE_NEVER;
		own->reason = ACCEL_REASON_REFUSED;
		return;
	}
	own->reason = ACCEL_REASON_NONE;
	own->state = ACCEL_STATE_ENROLLED;
}

static __always_inline void advance_flow(struct __sk_buff *skb, struct accel_request *request)
{
	struct accel_flow *flow;
	struct socket_start *start;
	struct accel_end *own, *peer;
	struct bpf_sock *app;

	request->reason = ACCEL_REASON_NO_START;
	if (!request->flow)
		request->flow = flow_of_outer(skb, request);
	if (!request->flow)
		return;
	flow = bpf_map_lookup_elem(&accel_flows, &request->flow);
	if (!flow) {
		bpf_map_update_elem(&accel_flows, &request->flow, &no_flow, BPF_NOEXIST);
		flow = bpf_map_lookup_elem(&accel_flows, &request->flow);
		request->reason = ACCEL_REASON_MAP_FULL;
		if (!flow)
			return;
		flow->budget = request->budget;
		flow->patience = request->patience;
	}
	own = &flow->ends[request->side == ACCEL_SIDE_SERVER];
	peer = &flow->ends[request->side != ACCEL_SIDE_SERVER];
	app = find_socket(skb, &request->app);
	if (!app) {
		/* One that was enrolled has closed, and what it read is history. */
		if (own->state == ACCEL_STATE_UNKNOWN || own->state == ACCEL_STATE_READY)
			own->reason = ACCEL_REASON_NOT_FOUND;
	} else {
		start = bpf_sk_storage_get(&accel_starts, app, 0, 0);
		if (!start) {
			own->state = ACCEL_STATE_NEVER;
			own->reason = ACCEL_REASON_NO_START;
		} else if (own->state == ACCEL_STATE_UNKNOWN || own->state == ACCEL_STATE_READY) {
			advance_end(request, app, start, own, peer);
		}
		request->unread = has_unread(app);
		bpf_sk_release(app);
	}
	request->state = own->state;
	request->reason = own->reason;
	request->peer_state = peer->state;
}

static __always_inline void refuse_end(struct accel_request *request)
{
	struct accel_flow *flow = bpf_map_lookup_elem(&accel_flows, &request->flow);
	struct accel_end *own;

	if (!flow)
		return;
	own = &flow->ends[request->side == ACCEL_SIDE_SERVER];
	own->state = ACCEL_STATE_NEVER;
	own->reason = request->reason;
	request->state = own->state;
	request->reason = own->reason;
}

static __always_inline void leave_flow(const struct accel_request *request)
{
	struct accel_flow *flow = bpf_map_lookup_elem(&accel_flows, &request->flow);
	__u32 both = 1 << ACCEL_SIDE_CLIENT | 1 << ACCEL_SIDE_SERVER;

	if (!flow)
		return;
	flow->left |= 1 << (request->side == ACCEL_SIDE_SERVER);
	if (flow->left == both ||
	    flow->ends[request->side != ACCEL_SIDE_SERVER].state == ACCEL_STATE_UNKNOWN)
		bpf_map_delete_elem(&accel_flows, &request->flow);
}

/*
 * Not attached anywhere: a proxy runs it (BPF_PROG_TEST_RUN) in the namespace of its workload, with
 * a struct accel_request for a packet. A program of this type may look sockets up and put them into
 * a map, also sockets that are not the caller's, and sees their state while nothing can change it.
 */
SEC("tc")
int advance(struct __sk_buff *skb)
{
	struct accel_request *request = (void *)(long)skb->data;

	if ((void *)(request + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	if (request->action == ACCEL_ACTION_LEAVE)
		leave_flow(request);
	else if (request->action == ACCEL_ACTION_REFUSE)
		refuse_end(request);
	else
		advance_flow(skb, request);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
