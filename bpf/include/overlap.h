/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A stream verdict is given whole packets, also one that has been received, or even read, in part:
 * TCP keeps such a packet and skips what it has (tcp_data_queue, tcp_recvmsg_locked), tcp_read_skb
 * does not (net/ipv4/tcp_input.c, tcp.c; 6.18). There are two kinds: a packet that a reader was in
 * the midst of when its socket came into the map, and a retransmission that overlaps.
 */
#ifndef SHUNT_OVERLAP_H
#define SHUNT_OVERLAP_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "kernel.h"

/* bpf_skb_adjust_room takes no more at once (net/core/filter.c). */
#define MOST_TAKEN 4095
/* 4 MiB: more than fits into the fragments of a packet. */
#define MOST_PIECES 1024
/* The control block of a packet is nobody's type; this is what TCP makes of it. */
#define TCP_CB(skb) ((struct tcp_skb_cb *)&(skb)->cb)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
/* include/net/tcp.h */
struct tcp_skb_cb {
	__u32 seq;
	__u32 end_seq;
};

/* include/linux/skbuff.h */
struct sk_buff {
	char cb[48];
};
#pragma clang attribute pop

/* The sequence number of a packet's first byte; the context of a stream verdict is the packet. */
static __always_inline __u32 sequence_of(struct __sk_buff *skb)
{
	__u32 seq = 0;

	bpf_core_read(&seq, sizeof(seq), &TCP_CB((struct sk_buff *)skb)->seq);
	return seq;
}

/*
 * Takes the bytes before the sequence number `next` off. False when there was no memory for it; no
 * program can do anything about that.
 */
static __always_inline int drop_overlap(struct __sk_buff *skb, __u32 next)
{
	__s32 over = next - sequence_of(skb);
	__u32 left, piece;
	int i;

	if (over <= 0)
		return 1;
	left = over < (__s32)skb->len ? (__u32)over : skb->len;
	for (i = 0; i < MOST_PIECES && left; i++) {
		piece = left < MOST_TAKEN ? left : MOST_TAKEN;
		if (bpf_skb_adjust_room(skb, -(__s32)piece, 0, 0))
			return 0;
		left -= piece;
	}
	return !left;
}

/*
 * The verdict about a packet that passes but for what its socket has had. `ends` keeps, by the
 * socket's cookie, the sequence number after the last byte that passed; where it has none, what was
 * read tells.
 */
static __always_inline int pass_once(struct __sk_buff *skb, void *ends)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct bpf_sock *socket = skb->sk;
	__u32 *noted, next, end;
	struct tcp_sock *tp;

	/* The end of the stream by itself. */
	if (!skb->len || !socket)
		return SK_PASS;
	tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(socket);
	if (!tp)
		return SK_PASS;
	next = tp->copied_seq;
	end = sequence_of(skb) + skb->len;
	noted = bpf_map_lookup_elem(ends, &cookie);
	if (noted) {
		__u32 last = *(volatile __u32 *)noted;

		if ((__s32)(last - next) > 0)
			next = last;
		*noted = (__s32)(end - next) > 0 ? end : next;
	} else {
		bpf_map_update_elem(ends, &cookie, &end, BPF_ANY);
	}
	drop_overlap(skb, next);
	return skb->len ? SK_PASS : SK_DROP;
}

#endif
