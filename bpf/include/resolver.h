/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Several resolvers asked by one UDP socket: each is given one of the forwarder's ports for as long
 * as an answer of it may come, so that both ends know by the port who is meant. Hooks of one socket
 * hold its lock, so nothing here happens twice at once.
 */
#ifndef SHUNT_RESOLVER_H
#define SHUNT_RESOLVER_H

#include "addr.h"
#include "maps.h"

/* The forwarder has answered by then: DEFAULT_DNS_LIMITS, two tries of two seconds. */
#define ANSWERED_NS 5000000000ULL

static __always_inline int is_awaited(const struct resolver *r, __u64 now)
{
	return r->connected || (r->unanswered && now - r->asked_ns < ANSWERED_NS);
}

/*
 * The index that stands for a resolver: its own, else the one unused for longest of which no answer
 * can come any more. RESOLVER_SLOTS if there is none.
 */
static __always_inline __u32 resolver_index(const struct workload *w, const struct resolvers *all,
					    const struct ip_addr *address, __u64 now)
{
	__u32 chosen = RESOLVER_SLOTS;
	__u64 oldest = ~0ULL;

	/* A forwarder that is not ours has one port, and does not ask which resolver was meant. */
	if (!w->dns_ports[1])
		return 0;
#pragma unroll
	for (__u32 i = 0; i < RESOLVER_SLOTS; i++) {
		const struct resolver *r = &all->asked[i];

		if (!w->dns_ports[i])
			break;
		if (r->asked_ns && addr_equal(&r->address, address))
			return i;
		if (!is_awaited(r, now) && r->asked_ns < oldest) {
			oldest = r->asked_ns;
			chosen = i;
		}
	}
	return chosen;
}

/*
 * The forwarder's port for queries of the socket to `address`, network order; 0 if it waits for too
 * many others, or there is no memory. `connected`: from now on to this one alone.
 */
static __always_inline __be16 resolver_port(struct bpf_sock *sk, const struct workload *w,
					    __u32 slot, const struct ip_addr *address,
					    int connected)
{
	struct resolvers *all = bpf_sk_storage_get(&resolvers, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u64 now = bpf_ktime_get_ns();
	struct resolver *r;
	__u32 at;

	if (!all)
		return 0;
#pragma unroll
	for (int i = 0; i < RESOLVER_SLOTS; i++) {
		/* The ports of another workload say nothing here. */
		if (all->slot != slot)
			all->asked[i].asked_ns = all->asked[i].unanswered = 0;
		if (connected || all->slot != slot)
			all->asked[i].connected = 0;
	}
	all->slot = slot;
	at = resolver_index(w, all, address, now);
	if (at >= RESOLVER_SLOTS)
		return 0;
	/* Lets the verifier see the bound wherever the compiler keeps the index. */
	at &= RESOLVER_SLOTS - 1;
	asm volatile("" : "+r"(at));
	r = &all->asked[at];
	if (!r->asked_ns || !addr_equal(&r->address, address)) {
		r->address = *address;
		r->unanswered = 0;
	}
	r->asked_ns = now;
	r->port = w->dns_ports[at];
	if (connected)
		r->connected = 1;
	else
		r->unanswered++;
	return r->port;
}

#endif
