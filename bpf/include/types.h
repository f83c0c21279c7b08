/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every structure and enumeration that user space shares with the programs, and nothing else.
 *
 * TypeScript learns these layouts from the BTF of the built objects (src/bpf/codec.ts and
 * src/bpf/generated/types.ts), so a change here needs no second change there. Rules:
 *   - network byte order is spelled __be16 or __be32, everything else is host order;
 *   - no implicit padding (-Wpadded -Werror), no unions, no bit-fields;
 *   - enumerators start with the name of their enumeration, in upper case: user space strips it.
 */
#ifndef SHUNT_TYPES_H
#define SHUNT_TYPES_H

#include <linux/types.h>

/* An IPv6 address, or an IPv4 address in its v4-mapped form ::ffff:a.b.c.d. */
struct ip_addr {
	__be32 word[4];
};

enum direction {
	DIRECTION_OUTBOUND,
	DIRECTION_INBOUND,
	DIRECTION_DNS,
};

enum verdict {
	VERDICT_PASS,	  /* the connection goes where the application meant it to go */
	VERDICT_REDIRECT, /* the connection goes to the proxy */
	VERDICT_DENY,	  /* the connection fails: EPERM outbound, a reset inbound */
};

/* Why a verdict was given; decision.ts answers with the same names. */
enum reason {
	REASON_NOT_ENROLLED,	   /* neither the namespace nor the cgroup belongs to a workload */
	REASON_INNER_SCOPE,	   /* another Shunt on an inner cgroup has decided already */
	REASON_OWN_TRAFFIC,	   /* made by the proxy itself: mark, cgroup, uid or gid */
	REASON_OWN_LISTENER,	   /* addressed to the proxy's own port */
	REASON_PASSTHROUGH_SOURCE, /* source 127.0.0.6 or ::6: the proxy handing on to the
				      application */
	REASON_DIRECTION_OFF,	   /* interception of this direction is off for the workload */
	REASON_PORT_EXCLUDED,
	REASON_CIDR_EXCLUDED,
	REASON_LOOPBACK,      /* to the loopback address, which this workload does not capture */
	REASON_LOCAL_ADDRESS, /* to an address of the namespace itself */
	REASON_NOT_INCLUDED,  /* neither port nor address is in an include list */
	REASON_PORT_INCLUDED,
	REASON_CIDR_INCLUDED,
	REASON_ALL_INCLUDED,
	REASON_DNS,		     /* a query to a captured resolver */
	REASON_PROXY_TO_SELF,	     /* the proxy calls its own pod: through the inbound listener */
	REASON_LISTENER_GONE_DENY,   /* nobody listens on the proxy's port; fail mode deny */
	REASON_LISTENER_GONE_DIRECT, /* nobody listens on the proxy's port; fail mode direct */
	REASON_MAP_FULL,	     /* the original destination could not be stored */
	REASON_BOUND_DEVICE, /* captured, but SO_BINDTODEVICE keeps it from the proxy: fail mode */
	REASON_LINK_LOCAL, /* captured, but to fe80::/10, whose scope the proxy does not learn: fail
			      mode */
	REASON_RESOLVERS_FULL, /* the socket waits for answers of RESOLVER_SLOTS others: fail mode
				*/
	REASON_FAMILY_OFF,     /* IPv6, which this workload leaves alone */
	REASON_INTERFACE_EXCLUDED,
	REASON_OWNER_GROUP,  /* the group of the caller is not one whose connections are captured */
	REASON_HOP_LEFT_OUT, /* the proxy of another workload of this agent has had it already */
	REASON_MAX,
};

enum fail_mode {
	FAIL_MODE_DENY,
	FAIL_MODE_DIRECT,
};

enum dns_capture {
	DNS_CAPTURE_OFF,
	DNS_CAPTURE_SERVERS, /* the resolvers listed for the workload's policy */
	DNS_CAPTURE_ALL,
};

/* Bits of workload.flags. */
enum workload_flag {
	WORKLOAD_FLAG_OUTBOUND = 1,		/* intercept outbound connections */
	WORKLOAD_FLAG_INBOUND = 2,		/* intercept inbound connections */
	WORKLOAD_FLAG_OUTBOUND_ALL = 4,		/* every address is included outbound */
	WORKLOAD_FLAG_INBOUND_ALL_PORTS = 8,	/* every port is included inbound */
	WORKLOAD_FLAG_INBOUND_ALL_SOURCES = 16, /* every client address is included inbound */
	WORKLOAD_FLAG_CAPTURE_LOOPBACK = 32,	/* 127.0.0.0/8 and ::1 are captured outbound */
	WORKLOAD_FLAG_CAPTURE_LOCAL = 64,   /* addresses of the namespace are captured outbound */
	WORKLOAD_FLAG_EXTERNAL_PROXY = 128, /* the proxy is not ours: it asks for SO_ORIGINAL_DST */
	WORKLOAD_FLAG_PROXY_MARK = 256,	    /* proxy_mark and proxy_mark_mask are set */
	WORKLOAD_FLAG_PROXY_UID = 512,
	WORKLOAD_FLAG_PROXY_GID = 1024,
	WORKLOAD_FLAG_PROXY_CGROUP = 2048,
	WORKLOAD_FLAG_TRACE = 4096,		  /* an event for every verdict */
	WORKLOAD_FLAG_OWNER_GROUPS_EXCEPT = 8192, /* the listed groups are not captured outbound */
	WORKLOAD_FLAG_OWNER_GROUPS_ONLY = 16384,  /* only the listed groups are captured outbound */
	WORKLOAD_FLAG_SKIP_V6 = 32768,		  /* IPv6 is left alone */
	WORKLOAD_FLAG_INTERFACES = 65536,	  /* some interfaces are excluded */
	WORKLOAD_FLAG_LOCAL_DNS = 131072,  /* with DNS capture, port 53 of own addresses is no
					      exception */
	WORKLOAD_FLAG_SELF_ENTRY = 262144, /* roles in `owners` tell who enters the pod itself */
	WORKLOAD_FLAG_SELF_TRANSPARENT = 524288, /* and the inbound policy tells, for the rest */
	WORKLOAD_FLAG_CLIENT_SOURCE = 1048576,	 /* the proxy hands on with the client's address */
	WORKLOAD_FLAG_ONE_HOP = 2097152, /* one proxy is enough where both ends have this flag */
};

/*
 * How many resolvers one UDP socket can wait for at once. Each has a port of the DNS forwarder, by
 * which queries and answers are told apart: ::1 is the only address of lo in IPv6. A C library asks
 * three at most (MAXNS of musl and glibc).
 */
#define RESOLVER_SLOTS 4

/*
 * One enrolled workload; its index in the map is its slot, slot 0 is never used. `policy` names the
 * set of ports and CIDRs in force: a change writes a new set and then this one number.
 */
struct workload {
	__u64 netns;	    /* cookie of the network namespace, 0 if it is enrolled by cgroup */
	__u64 proxy_cgroup; /* cgroup id of the proxy */
	__u32 flags;	    /* enum workload_flag */
	__u32 policy;
	__u32 proxy_mark;
	__u32 proxy_mark_mask;
	__u32 preserve_mark; /* of connections that the proxy makes with the client's address */
	__u32 preserve_mark_mask;
	__be16 outbound_port;
	__be16 inbound_port;
	__be16 dns_ports[RESOLVER_SLOTS]; /* the first for TCP and UDP, the others for UDP; 0: none
					   */
	__u32 unused;
	enum fail_mode fail_mode;
	enum dns_capture dns_capture;
};

/* Facts about this loaded instance of the programs. */
struct settings {
	__u64 instance; /* random; tells our claims from those of another Shunt */
};

enum port_action {
	PORT_ACTION_EXCLUDE,
	PORT_ACTION_INCLUDE,
	/* Ports of own addresses that decide whether the proxy's connections enter there. */
	PORT_ACTION_SELF_BY_UID,
	PORT_ACTION_SELF_BY_GID,
};

struct port_key {
	__u32 policy;
	enum direction direction;
	enum port_action action;
	__u16 unused;
	__be16 port;
};

enum cidr_kind {
	CIDR_KIND_OUTBOUND_EXCLUDE,
	CIDR_KIND_OUTBOUND_INCLUDE,
	CIDR_KIND_INBOUND_EXCLUDE,
	CIDR_KIND_INBOUND_INCLUDE,
	CIDR_KIND_DNS_SERVER,
	CIDR_KIND_SELF_EXCLUDE,	   /* where the proxy's connections to itself never enter the pod */
	CIDR_KIND_INTERFACE_ROUTE, /* destinations that an excluded interface leads to */
};

enum owner_kind {
	OWNER_KIND_UID,
	OWNER_KIND_GID,
};

struct owner_key {
	__u32 policy;
	enum owner_kind kind;
	__u32 id;
};

/* Bits of the value of `owners`. */
enum owner_flag {
	OWNER_FLAG_PROXY = 1,	      /* it is the proxy */
	OWNER_FLAG_GROUP = 2,	      /* listed in the owner groups */
	OWNER_FLAG_ENTERS_EXCEPT = 4, /* enters the pod itself, but for the listed ports */
	OWNER_FLAG_ENTERS_ONLY = 8,   /* enters the pod itself, at the listed ports */
};

struct interface_key {
	__u32 policy;
	__u32 index;
};

/* Key of a longest-prefix-match trie: prefix_length counts from `policy`, so at least 64 bits. */
struct cidr_key {
	__u32 prefix_length;
	__u32 policy;
	enum cidr_kind kind;
	struct ip_addr address;
};

/* An address of a workload's own network namespace. */
struct local_key {
	__u64 netns;
	struct ip_addr address;
};

/* A connection as the accepting side sees it. */
struct flow_key {
	__u64 netns;
	struct ip_addr remote;
	struct ip_addr local;
	__be16 remote_port;
	__be16 local_port;
	__u32 unused;
};

/* Where the application meant a connection to go. */
struct original {
	__u64 cookie;	  /* of the application's socket */
	__u64 netns;	  /* where that socket is; its cookie */
	__u64 created_ns; /* CLOCK_MONOTONIC */
	struct ip_addr address;
	__be16 port;
	__u16 unused;
	__u32 slot;
	enum direction direction;
	enum reason reason;
};

/* A connection that a proxy of ours makes, told to whoever intercepts it at the other end. */
struct hop {
	__u64 noted_ns; /* CLOCK_MONOTONIC */
	__u64 netns;	/* of the workload that has let it pass its own proxy; its cookie */
	__u32 slot;	/* of that workload, 0: none has */
	__u32 unused;
};

/* A resolver that a UDP socket asks, by the port of the same index in workload.dns_ports. */
struct resolver {
	struct ip_addr address;
	__u64 asked_ns; /* the last time, CLOCK_MONOTONIC; 0: there is none */
	__u32 unanswered;
	__u16 connected; /* the socket is connected to it */
	__be16 port;	 /* asked by; the workload may have another by now */
};

struct resolvers {
	struct resolver asked[RESOLVER_SLOTS];
	__u32 slot; /* of the workload that the ports are of */
	__u32 unused;
};

/* Who decided about a call, and what came of it; shared by all instances on the machine. */
struct claim {
	__u64 instance;
	__u64 pid_tgid;	     /* the calling thread */
	__u64 created_ns;    /* CLOCK_MONOTONIC */
	struct ip_addr left; /* the destination as the next program finds it */
	__be16 left_port;
	__u8 redirected;
	__u8 runs;  /* of that slot's programs that have met the call */
	__u32 slot; /* of that instance */
};

/* A listening socket on a workload's inbound port, put there as it begins to listen. */
struct listener_key {
	__u64 netns;
	__u32 family;
	__u32 member;
};

/* Which namespace a loaded sk_lookup program stands in. */
struct lookup_self {
	__u64 netns;
	__u32 slot;
	__u32 unused;
};

/* Room for reasons to come; a power of two, so that a mask satisfies every verifier. */
#define REASON_SLOTS 32

/* Verdicts of one workload on one CPU, indexed by reason. */
struct counters {
	__u64 outbound[REASON_SLOTS];
	__u64 inbound[REASON_SLOTS];
};

struct event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 netns;
	__u64 cookie;
	struct ip_addr source;
	struct ip_addr destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 slot;
	__u32 pid;
	enum direction direction;
	enum verdict verdict;
	enum reason reason;
};

/*
 * Acceleration. Two sockets of applications whose connection goes through two of our proxies hand
 * their bytes to each other. A flow is named by the sequence numbers that the connection between
 * the two proxies began with, which both of them see, also through address translation.
 */

#include "accel-types.h"
#include "splice-types.h"

#endif
