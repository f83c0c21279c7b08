/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What redirection decides by, in the accelerator and in its self-test: bytes are put into the
 * other end's queue only while none that TCP has brought is unread there, and only so many.
 */
#ifndef SHUNT_GATE_H
#define SHUNT_GATE_H

#include "kernel.h"

#define TCP_ESTABLISHED 1

/*
 * The socket at a noted address is still the one that was noted. Its memory may have become that of
 * another socket (SLAB_TYPESAFE_BY_RCU), whose cookie differs.
 */
static __always_inline int is_established(struct sock *sk, __u64 cookie)
{
	return (__u64)READ(sk, __sk_common.skc_cookie.counter) == cookie &&
	       READ(sk, __sk_common.skc_state) == TCP_ESTABLISHED;
}

/*
 * Every byte that `sender` has sent by TCP has been read at `reader`. `sent` and `read` are where
 * the counters of the two began.
 */
static __always_inline int all_read(struct tcp_sock *sender, __u32 sent, struct tcp_sock *reader,
				    __u32 read)
{
	return READ(sender, write_seq) - sent == READ(reader, copied_seq) - read;
}

/* Memory of what waits to be read, redirected or not. */
static __always_inline __u32 waiting(struct sock *reader)
{
	return READ(reader, sk_backlog.rmem_alloc.counter);
}

/*
 * How much may wait to be read. More than the socket's own buffer must not, whatever the budget:
 * TCP drops what comes meanwhile (tcp_try_rmem_schedule, net/ipv4/tcp_input.c), and a reader that
 * has caught up then waits for the sender's retransmission timer, for seconds.
 */
static __always_inline __u32 most_waiting(struct sock *reader, __u32 budget)
{
	__u32 buffer = READ(reader, sk_rcvbuf);

	return buffer < budget ? buffer : budget;
}

/*
 * The machine's TCP sockets have more memory than net.ipv4.tcp_mem would like. Redirecting asks for
 * more, and where that is refused in the end the sender gets ENOMEM; TCP makes it wait instead.
 */
static __always_inline int is_memory_short(struct sock *reader)
{
	const unsigned long *pressure = READ(reader, __sk_common.skc_prot, memory_pressure);
	unsigned long since = 0;

	if (pressure)
		bpf_probe_read_kernel(&since, sizeof(since), pressure);
	return since != 0;
}

#endif
