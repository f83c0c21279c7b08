/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ports and CIDRs of a workload's policy. src/intercept/decision.ts is the same in TypeScript. */
#ifndef SHUNT_POLICY_H
#define SHUNT_POLICY_H

#include "addr.h"
#include "maps.h"
#include "owner.h"

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

/* Led to another listener, the connection would be made anew by the proxy, without an end. */
static __always_inline int port_is_own(const struct workload *w, __be16 port)
{
	return port == w->outbound_port || port == w->inbound_port ||
	       (w->dns_ports[0] && port == w->dns_ports[0]);
}

/* IPv6, of a workload that leaves it alone. */
static __always_inline int family_off(const struct workload *w, const struct ip_addr *address)
{
	return (w->flags & WORKLOAD_FLAG_SKIP_V6) && !addr_is_v4(address);
}

static __always_inline int interface_listed(const struct workload *w, __u32 index)
{
	struct interface_key key = {.policy = w->policy, .index = index};

	return bpf_map_lookup_elem(&interfaces, &key) != 0;
}

/*
 * Will it leave by an excluded interface? `device` is the one that SO_BINDTODEVICE names; else the
 * routing table tells, of which user space keeps a copy. What is local leaves by lo, whatever the
 * route of its network.
 */
static __always_inline int leaves_excluded(const struct workload *w, __u64 netns,
					   const struct ip_addr *address, __u32 device)
{
	struct local_key own = {.netns = netns, .address = *address};

	if (!(w->flags & WORKLOAD_FLAG_INTERFACES))
		return 0;
	if (device)
		return interface_listed(w, device);
	if (addr_is_loopback(address) || bpf_map_lookup_elem(&local_addrs, &own))
		return 0;
	return cidr_listed(w, CIDR_KIND_INTERFACE_ROUTE, address);
}

/*
 * The order is istio-iptables': excluded interfaces and ports, groups, DNS, loopback, excluded
 * addresses, inclusions. Runs in the context of the caller.
 */
static __always_inline enum reason outbound_reason(const struct workload *w, __u64 netns,
						   const struct ip_addr *address, __be16 port,
						   __u32 device)
{
	int local_counts = 1;

	if (!(w->flags & WORKLOAD_FLAG_OUTBOUND))
		return REASON_DIRECTION_OFF;
	if (family_off(w, address))
		return REASON_FAMILY_OFF;
	if (leaves_excluded(w, netns, address, device))
		return REASON_INTERFACE_EXCLUDED;
	if (port_listed(w, DIRECTION_OUTBOUND, PORT_ACTION_EXCLUDE, port))
		return REASON_PORT_EXCLUDED;
	if (group_left_alone(w))
		return REASON_OWNER_GROUP;
	if (port == bpf_htons(53)) {
		if (w->dns_capture == DNS_CAPTURE_ALL)
			return REASON_DNS;
		if (w->dns_capture == DNS_CAPTURE_SERVERS &&
		    cidr_listed(w, CIDR_KIND_DNS_SERVER, address))
			return REASON_DNS;
		if (w->dns_capture != DNS_CAPTURE_OFF && (w->flags & WORKLOAD_FLAG_LOCAL_DNS))
			local_counts = 0;
	}
	if (local_counts && !(w->flags & WORKLOAD_FLAG_CAPTURE_LOOPBACK) &&
	    addr_is_loopback(address))
		return REASON_LOOPBACK;
	if (local_counts && !(w->flags & WORKLOAD_FLAG_CAPTURE_LOCAL)) {
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
	if (family_off(w, client))
		return REASON_FAMILY_OFF;
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
