/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ports and CIDRs of a workload's policy. src/intercept/decision.ts is the same in TypeScript. */
#ifndef SHUNT_POLICY_H
#define SHUNT_POLICY_H

#include "addr.h"
#include "maps.h"

static __always_inline int port_listed(const struct workload *w, enum direction direction,
				       enum port_action action, __be16 port)
{
	struct port_key key = {
		.policy = w->policy,
		.direction = direction,
		.action = action,
		.port = port,
	};

	return bpf_map_lookup_elem(&ports, &key) != 0;
}

static __always_inline int cidr_listed(const struct workload *w, enum cidr_kind kind,
				       const struct ip_addr *address)
{
	struct cidr_key key = {
		.prefix_length = 64 + 128,
		.policy = w->policy,
		.kind = kind,
		.address = *address,
	};

	__u32 *rule = bpf_map_lookup_elem(&cidrs, &key);

	/* 0 stands in the way of a short IPv6 prefix that would cover the v4-mapped addresses. */
	return rule && *rule;
}

/* The order is istio-iptables': exclusions of ports, loopback, exclusions of addresses, inclusions.
 */
static __always_inline enum reason outbound_reason(const struct workload *w, __u64 netns,
						   const struct ip_addr *address, __be16 port)
{
	if (!(w->flags & WORKLOAD_FLAG_OUTBOUND))
		return REASON_DIRECTION_OFF;
	if (port_listed(w, DIRECTION_OUTBOUND, PORT_ACTION_EXCLUDE, port))
		return REASON_PORT_EXCLUDED;
	if (port == bpf_htons(53)) {
		if (w->dns_capture == DNS_CAPTURE_ALL)
			return REASON_DNS;
		if (w->dns_capture == DNS_CAPTURE_SERVERS &&
		    cidr_listed(w, CIDR_KIND_DNS_SERVER, address))
			return REASON_DNS;
	}
	if (!(w->flags & WORKLOAD_FLAG_CAPTURE_LOOPBACK) && addr_is_loopback(address))
		return REASON_LOOPBACK;
	if (!(w->flags & WORKLOAD_FLAG_CAPTURE_LOCAL)) {
		struct local_key key = {.netns = netns, .address = *address};

		if (bpf_map_lookup_elem(&local_addrs, &key))
			return REASON_LOCAL_ADDRESS;
	}
	if (cidr_listed(w, CIDR_KIND_OUTBOUND_EXCLUDE, address))
		return REASON_CIDR_EXCLUDED;
	if (port_listed(w, DIRECTION_OUTBOUND, PORT_ACTION_INCLUDE, port))
		return REASON_PORT_INCLUDED;
	if (w->flags & WORKLOAD_FLAG_OUTBOUND_ALL)
		return REASON_ALL_INCLUDED;
	if (cidr_listed(w, CIDR_KIND_OUTBOUND_INCLUDE, address))
		return REASON_CIDR_INCLUDED;
	return REASON_NOT_INCLUDED;
}

static __always_inline enum reason inbound_reason(const struct workload *w,
						  const struct ip_addr *client, __be16 port)
{
	if (!(w->flags & WORKLOAD_FLAG_INBOUND))
		return REASON_DIRECTION_OFF;
	if (port_listed(w, DIRECTION_INBOUND, PORT_ACTION_EXCLUDE, port))
		return REASON_PORT_EXCLUDED;
	if (cidr_listed(w, CIDR_KIND_INBOUND_EXCLUDE, client))
		return REASON_CIDR_EXCLUDED;
	if (!(w->flags & WORKLOAD_FLAG_INBOUND_ALL_PORTS) &&
	    !port_listed(w, DIRECTION_INBOUND, PORT_ACTION_INCLUDE, port))
		return REASON_NOT_INCLUDED;
	if (w->flags & WORKLOAD_FLAG_INBOUND_ALL_SOURCES)
		return (w->flags & WORKLOAD_FLAG_INBOUND_ALL_PORTS) ? REASON_ALL_INCLUDED
								    : REASON_PORT_INCLUDED;
	if (cidr_listed(w, CIDR_KIND_INBOUND_INCLUDE, client))
		return REASON_CIDR_INCLUDED;
	return REASON_NOT_INCLUDED;
}

static __always_inline int reason_captures(enum reason r)
{
	return r == REASON_PORT_INCLUDED || r == REASON_CIDR_INCLUDED || r == REASON_ALL_INCLUDED ||
	       r == REASON_DNS || r == REASON_PROXY_TO_SELF;
}

#endif
