/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The proxy calls its own pod. A proxy that is not ours enters it by the inbound port, as a
 * stranger would; src/intercept/decision.ts is the same in TypeScript.
 */
#ifndef SHUNT_SELF_H
#define SHUNT_SELF_H

#include "addr.h"
#include "maps.h"
#include "owner.h"
#include "policy.h"
#include "verdict.h"

static __always_inline int address_is_own(__u64 netns, const struct ip_addr *address)
{
	struct local_key key = {.netns = netns, .address = *address};

	return bpf_map_lookup_elem(&local_addrs, &key) != 0;
}

/* To ::6 the route gives ::6 as the source as well; to 127.0.0.6 it gives 127.0.0.1. */
static __always_inline int from_passthrough(const struct decision *d)
{
	if (!addr_is_unspecified(&d->source))
		return addr_is_passthrough(&d->source);
	return addr_is_passthrough(&d->destination) && !addr_is_loopback(&d->destination) &&
	       address_is_own(d->netns, &d->destination);
}

/* The rules of istio-iptables: users come before groups, and one that is found ends the search. */
static __always_inline int enters_by_owner(const struct workload *w, __be16 port)
{
	__u64 id = bpf_get_current_uid_gid();
	enum port_action action = PORT_ACTION_SELF_BY_UID;
	__u32 flags = owner_flags(w, OWNER_KIND_UID, id);

	if (!(flags & OWNER_FLAG_PROXY)) {
		action = PORT_ACTION_SELF_BY_GID;
		flags = owner_flags(w, OWNER_KIND_GID, id >> 32);
	}
	if (flags & OWNER_FLAG_ENTERS_EXCEPT)
		return !port_listed(w, DIRECTION_OUTBOUND, action, port);
	if (flags & OWNER_FLAG_ENTERS_ONLY)
		return port_listed(w, DIRECTION_OUTBOUND, action, port);
	return 0;
}

/* Where the proxy's own connection to `destination` should enter it again, or why not. */
static __always_inline enum reason proxy_reason(const struct workload *w, struct decision *d,
						__u32 mark)
{
	if (!(w->flags & WORKLOAD_FLAG_EXTERNAL_PROXY) || from_passthrough(d) ||
	    family_off(w, &d->destination))
		return REASON_OWN_TRAFFIC;
	if (!(w->flags & WORKLOAD_FLAG_SELF_ENTRY)) {
		if (addr_is_localhost(&d->destination) || addr_is_link_local(&d->destination) ||
		    !address_is_own(d->netns, &d->destination) ||
		    port_is_own(w, d->destination_port) ||
		    !reason_captures(inbound_reason(w, &d->destination, d->destination_port)))
			return REASON_OWN_TRAFFIC;
		return REASON_PROXY_TO_SELF;
	}
	/* Link-local addresses keep their scope only where nothing is redirected. */
	if (addr_is_link_local(&d->destination) || addr_is_unspecified(&d->destination) ||
	    (!addr_is_loopback(&d->destination) && !address_is_own(d->netns, &d->destination)) ||
	    cidr_listed(w, CIDR_KIND_SELF_EXCLUDE, &d->destination))
		return REASON_OWN_TRAFFIC;
	if (enters_by_owner(w, d->destination_port))
		return REASON_PROXY_TO_SELF;
	if ((w->flags & WORKLOAD_FLAG_SELF_TRANSPARENT) &&
	    !((w->flags & WORKLOAD_FLAG_CLIENT_SOURCE) &&
	      (mark & w->preserve_mark_mask) == w->preserve_mark) &&
	    reason_captures(inbound_reason(w, &d->destination, d->destination_port))) {
		d->transparent = 1;
		return REASON_PROXY_TO_SELF;
	}
	return REASON_OWN_TRAFFIC;
}

/*
 * Does the proxy hand on to the application with the client's address? The SYN will look like the
 * client's to sk_lookup, so its tuple has to be noted.
 */
static __always_inline int speaks_for_client(const struct workload *w, const struct decision *d)
{
	__u32 both = WORKLOAD_FLAG_CLIENT_SOURCE | WORKLOAD_FLAG_EXTERNAL_PROXY;

	return (w->flags & both) == both && !addr_is_unspecified(&d->source) &&
	       !addr_is_loopback(&d->source) && !addr_equal(&d->source, &d->destination) &&
	       address_is_own(d->netns, &d->destination);
}

/*
 * Has our proxy taken this connection from an application of the workload? Others whose traffic is
 * left alone as the proxy's (users, groups, a cgroup) have no proxy before them, and it hands on
 * inbound connections from the pass-through address.
 */
static __always_inline int is_first_hop(const struct workload *w, const struct decision *d,
					__u32 mark)
{
	__u32 both = WORKLOAD_FLAG_ONE_HOP | WORKLOAD_FLAG_PROXY_MARK;

	return (w->flags & both) == both && (mark & w->proxy_mark_mask) == w->proxy_mark &&
	       !from_passthrough(d);
}

#endif
