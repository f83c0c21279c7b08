/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How a network namespace is known on kernels that tell less; shared with user space, by the rules
 * of types.h.
 */
#ifndef SHUNT_NETNS_H
#define SHUNT_NETNS_H

#include "types.h"

/* Of a listening socket: where it is, and whose proxy's it is. */
struct home {
	__u64 netns; /* cookie */
	__u32 slot;
	__u32 unused;
};

/* A connect() by which the agent learns the cookie of a namespace. */
struct netns_question {
	__u64 socket; /* cookie of the socket it is made with */
	__u64 netns;  /* the answer; 0: it has not been met */
	struct ip_addr address;
	__be16 port;
	__u16 unused[3];
};

#endif
