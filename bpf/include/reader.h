/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a socket itself tells of how its program reads: whether it can bear redirected bytes. */
#ifndef SHUNT_READER_H
#define SHUNT_READER_H

#include "types.h"
#include "kernel.h"

/* include/uapi/asm-generic/fcntl.h; sparc and mips have others, and are not supported. */
#define O_NONBLOCK 04000
/* Low bits of sk_user_data that are flags (include/net/sock.h). */
#define USER_DATA_FLAGS 7UL

static __always_inline int is_non_blocking(struct sock *sk)
{
	return (READ(sk, sk_socket, file, f_flags) & O_NONBLOCK) != 0;
}

#define SOCKET_FLAG(flag) (1UL << bpf_core_enum_value(enum sock_flags, flag))

/*
 * What the program has asked of its socket that redirected bytes do not honour. The socket's own
 * state tells it, also of options set before acceleration was switched on.
 */
static __always_inline enum accel_reason unbearable_option(struct sock *sk)
{
	__u64 flags = READ(sk, __sk_common.skc_flags);

	if (flags & SOCKET_FLAG(SOCK_ZEROCOPY))
		return ACCEL_REASON_ZERO_COPY;
	if (flags & SOCKET_FLAG(SOCK_URGINLINE))
		return ACCEL_REASON_URGENT_INLINE;
	if (flags & SOCKET_FLAG(SOCK_RCVTSTAMP) || BPF_CORE_READ_BITFIELD_PROBED(sk, sk_tsflags))
		return ACCEL_REASON_TIMESTAMPS;
	if (READ(sk, sk_peek_off) >= 0)
		return ACCEL_REASON_PEEK_OFFSET;
	if (READ((struct inet_connection_sock *)sk, icsk_ulp_ops))
		return ACCEL_REASON_UPPER_PROTOCOL;
	return ACCEL_REASON_NONE;
}

static __always_inline int has_low_water(struct sock *sk)
{
	return READ(sk, sk_rcvlowat) > 1;
}

/* Address of the first redirected message that waits to be read, 0 where none does. */
static __always_inline __u64 first_redirected(struct sock *sk)
{
	struct sk_psock *psock =
		(struct sk_psock *)((__u64)READ(sk, sk_user_data) & ~USER_DATA_FLAGS);
	__u64 first;

	if (!psock)
		return 0;
	first = (__u64)READ(psock, ingress_msg.next);
	return first == (__u64)psock + bpf_core_field_offset(struct sk_psock, ingress_msg) ? 0
											   : first;
}

#endif
