/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a leg of a spliced flow tells of itself and of its socket. */
#ifndef SHUNT_SPLICE_LEG_H
#define SHUNT_SPLICE_LEG_H

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "types.h"
#include "gate.h"
#include "reader.h"

#define TCP_CLOSE_WAIT 8

/* Bytes that `leg`, whose socket is `tp`, has been given to send to its application. */
static __always_inline __u32 given_to(const struct splice_leg *leg, const struct tcp_sock *tp)
{
	return tp->write_seq - leg->sent;
}

/* Much in one direction, and no answer. Any byte sent to the leg's own application is one. */
static __always_inline int is_bulk(const struct splice_flow *flow, struct splice_leg *own,
				   const struct tcp_sock *tp, __u32 len)
{
	if (tp->write_seq != own->answered) {
		own->answered = tp->write_seq;
		own->run = 0;
	}
	own->run += len;
	return own->run > flow->run_limit;
}

/*
 * The backlog's worker (sk_psock_backlog, net/core/skmsg.c) takes turns with nobody: while it waits
 * for room to send, what comes to the same socket to be read waits behind it, and the other way
 * round. So nothing is redirected to where either could become full.
 */
static __always_inline int has_room(struct tcp_sock *tp, __u32 on_their_way)
{
	struct sock *sk = (struct sock *)tp;
	__u32 queued = sk->sk_wmem_queued;

	return 2 * (queued + on_their_way) <= (__u32)sk->sk_sndbuf &&
	       2 * sk->sk_backlog.rmem_alloc.counter <= sk->sk_rcvbuf && !is_memory_short(sk);
}

/* Packets that wait for the worker, to be sent by the socket or to be read from it. */
static __always_inline __u32 backlog_of(struct sock *sk)
{
	struct sk_psock *psock =
		(struct sk_psock *)((__u64)READ(sk, sk_user_data) & ~USER_DATA_FLAGS);

	return psock ? READ(psock, ingress_skb.qlen) : 0;
}

static __always_inline int is_armed(const struct splice_leg *leg)
{
	return leg->state == SPLICE_STATE_ARMED || leg->state == SPLICE_STATE_OPEN;
}

static __always_inline void take_back(struct splice_flow *flow, struct splice_leg *leg)
{
	bpf_spin_lock(&flow->lock);
	if (is_armed(leg))
		leg->state = SPLICE_STATE_CLOSED;
	bpf_spin_unlock(&flow->lock);
}

/* The leg's proxy has read `read` bytes from its socket: all that the verdict has passed to it. */
static __always_inline int is_read_up(const struct splice_leg *leg, const struct tcp_sock *tp,
				      __u32 read)
{
	return tp->rcv_nxt == tp->copied_seq && leg->seen - (__u32)leg->redirected_bytes == read;
}

#endif
