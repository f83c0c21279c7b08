/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a socket must be like to get into accel_socks, for the programs that put it there. */
#ifndef SHUNT_ENROL_H
#define SHUNT_ENROL_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "types.h"
#include "accel-maps.h"
#include "gate.h"
#include "reader.h"

/* A new one; too large for the stack. */
static const struct accel_flow no_flow;

/* What forbids a namespace to send so; ACCEL_REASON_NONE when nothing does. */
static __always_inline enum accel_reason forbidden(__u64 netns, enum accel_permission permission)
{
	struct accel_rights *rights = bpf_map_lookup_elem(&accel_netns, &netns);

	if (!rights)
		return ACCEL_REASON_SWITCHED_OFF;
	return rights->hindrances[permission & (ACCEL_PERMISSION_MAX - 1)];
}

/* The same number at both ends of the connection between the proxies. */
static __always_inline __u64 flow_of_start(const struct socket_start *start, enum accel_side side)
{
	__u64 client = side == ACCEL_SIDE_CLIENT ? start->sent : start->read;
	__u64 server = side == ACCEL_SIDE_CLIENT ? start->read : start->sent;

	return client << 32 | server;
}

/* What still keeps a socket out of the map; ACCEL_REASON_NONE when nothing does. */
static __always_inline enum accel_reason hindrance(struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	enum accel_reason option;

	if (READ(sk, __sk_common.skc_state) != TCP_ESTABLISHED)
		return ACCEL_REASON_NOT_ESTABLISHED;
	if (!READ(sk, sk_socket, file))
		return ACCEL_REASON_NOT_ACCEPTED;
	if (!is_non_blocking(sk))
		return ACCEL_REASON_BLOCKING;
	option = unbearable_option(sk);
	if (option != ACCEL_REASON_NONE)
		return option;
	if (has_low_water(sk))
		return ACCEL_REASON_RECEIVE_LOW_WATER;
	/* It is in another map: a proxy's own socket that is spliced. */
	if (READ(sk, sk_user_data))
		return ACCEL_REASON_REFUSED;
	if (READ(tp, rcv_nxt) != BPF_CORE_READ(tp, copied_seq))
		return ACCEL_REASON_UNREAD;
	return ACCEL_REASON_NONE;
}

/*
 * Which process reads from the socket is for user space to find out, with what is answered here.
 * The inode proves that what it has found out is about this socket.
 */
static __always_inline int is_reader_known(struct accel_request *request, struct bpf_sock *app,
					   struct sock *sk)
{
	__u64 inode = READ(sk, sk_socket, file, f_inode, i_ino);
	struct socket_opener *opener = bpf_sk_storage_get(&accel_openers, app, 0, 0);
	int known = inode && request->inode == inode;

	request->inode = inode;
	request->credentials = (__u64)READ(sk, sk_socket, file, f_cred);
	request->opener = opener ? opener->pid : 0;
	return known;
}

static __always_inline int has_unread(struct bpf_sock *app)
{
	struct tcp_sock *tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(app);

	return tp && first_redirected((struct sock *)tp) != 0;
}

static __always_inline int is_final(enum accel_reason reason)
{
	return reason == ACCEL_REASON_NOT_ESTABLISHED || reason == ACCEL_REASON_BLOCKING ||
	       reason > ACCEL_REASON_RECEIVE_LOW_WATER;
}

#endif
