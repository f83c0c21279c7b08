/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An established socket by its addresses, for programs that a proxy runs (SCHED_CLS). */
#ifndef SHUNT_FIND_SOCKET_H
#define SHUNT_FIND_SOCKET_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "types.h"
#include "addr.h"

/* In the namespace that the program runs in. The caller releases it. */
static __always_inline struct bpf_sock *find_socket(struct __sk_buff *skb,
						    const struct socket_key *key)
{
	struct bpf_sock_tuple tuple = {};

	/* The tuple is that of a packet to the socket. */
	if (key->family == AF_INET) {
		tuple.ipv4.saddr = key->remote.word[3];
		tuple.ipv4.daddr = key->local.word[3];
		tuple.ipv4.sport = key->remote_port;
		tuple.ipv4.dport = key->local_port;
		return bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, &key->remote, sizeof(key->remote));
	__builtin_memcpy(tuple.ipv6.daddr, &key->local, sizeof(key->local));
	tuple.ipv6.sport = key->remote_port;
	tuple.ipv6.dport = key->local_port;
	return bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

#endif
