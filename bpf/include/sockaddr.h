/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads and rewrites the address of a bpf_sock_addr context (connect, sendmsg, recvmsg,
 * getpeername). */
#ifndef SHUNT_SOCKADDR_H
#define SHUNT_SOCKADDR_H

#include "addr.h"
#include "context.h"

/* The C library's sockaddr_in and sockaddr_in6. */
struct sockaddr_v4 {
	__u16 family;
	__be16 port;
	__be32 address;
	__u64 zero;
};

struct sockaddr_v6 {
	__u16 family;
	__be16 port;
	__be32 flow_info;
	__be32 address[4];
	__u32 scope;
};

#define SA_LOAD(field)	       CTX_LOAD(struct bpf_sock_addr, ctx, field)
#define SA_STORE(field, value) CTX_STORE(struct bpf_sock_addr, ctx, field, value)

static __always_inline struct ip_addr sockaddr_address(struct bpf_sock_addr *ctx, int v6)
{
	struct ip_addr a;

	if (!v6)
		return addr_v4(SA_LOAD(user_ip4));
	a.word[0] = SA_LOAD(user_ip6[0]);
	a.word[1] = SA_LOAD(user_ip6[1]);
	a.word[2] = SA_LOAD(user_ip6[2]);
	a.word[3] = SA_LOAD(user_ip6[3]);
	return a;
}

static __always_inline __be16 sockaddr_port(struct bpf_sock_addr *ctx)
{
	return (__be16)SA_LOAD(user_port);
}

static __always_inline void sockaddr_set(struct bpf_sock_addr *ctx, int v6, const struct ip_addr *a,
					 __be16 port)
{
	if (v6) {
		SA_STORE(user_ip6[0], a->word[0]);
		SA_STORE(user_ip6[1], a->word[1]);
		SA_STORE(user_ip6[2], a->word[2]);
		SA_STORE(user_ip6[3], a->word[3]);
	} else {
		SA_STORE(user_ip4, a->word[3]);
	}
	SA_STORE(user_port, port);
}

/* The loopback address of the family that `like` is of: a v4-mapped destination stays v4-mapped. */
static __always_inline struct ip_addr localhost_like(const struct ip_addr *like)
{
	struct ip_addr v6 = {{0, 0, 0, bpf_htonl(1)}};

	return addr_is_v4(like) ? addr_v4(bpf_htonl(0x7f000001)) : v6;
}

#endif
