/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses: everything is 16 bytes, IPv4 in its v4-mapped form, so that one map serves both. */
#ifndef SHUNT_ADDR_H
#define SHUNT_ADDR_H

#include "types.h"

#define AF_INET		 2
#define AF_INET6	 10

#define V4_MAPPED_PREFIX bpf_htonl(0x0000ffff)

static __always_inline struct ip_addr addr_v4(__be32 address)
{
	struct ip_addr out = {{0, 0, V4_MAPPED_PREFIX, address}};

	return out;
}

static __always_inline int addr_is_v4(const struct ip_addr *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == V4_MAPPED_PREFIX;
}

/* 127.0.0.0/8, ::1, and the unspecified addresses, which connect() takes for loopback. */
static __always_inline int addr_is_loopback(const struct ip_addr *a)
{
	if (addr_is_v4(a))
		return a->word[3] == 0 || (bpf_ntohl(a->word[3]) >> 24) == 127;
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 && bpf_ntohl(a->word[3]) <= 1;
}

/* 127.0.0.1 and ::1, where the proxy listens. */
static __always_inline int addr_is_localhost(const struct ip_addr *a)
{
	if (addr_is_v4(a))
		return a->word[3] == bpf_htonl(0x7f000001);
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 && a->word[3] == bpf_htonl(1);
}

/* 127.0.0.6 and ::6: what Istio's sidecars bind to when they hand on to the application. */
static __always_inline int addr_is_passthrough(const struct ip_addr *a)
{
	if (addr_is_v4(a))
		return a->word[3] == bpf_htonl(0x7f000006);
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 && a->word[3] == bpf_htonl(6);
}

/* fe80::/10: means nothing without the interface, which a redirected connection does not keep. */
static __always_inline int addr_is_link_local(const struct ip_addr *a)
{
	return (a->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* 0.0.0.0 and ::, as the source address of a socket that is bound to none. */
static __always_inline int addr_is_unspecified(const struct ip_addr *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[3] == 0 &&
	       (a->word[2] == 0 || a->word[2] == V4_MAPPED_PREFIX);
}

static __always_inline int addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

#endif
