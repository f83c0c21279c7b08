/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sizes of the maps. User space may set others before it loads the object. */
#ifndef SHUNT_LIMITS_H
#define SHUNT_LIMITS_H

#define MAX_WORKLOADS	    1024
#define MAX_PORT_RULES	    65536
#define MAX_CIDR_RULES	    262144
#define MAX_LOCAL_ADDRESSES 16384
#define MAX_OWNERS	    65536
#define MAX_INTERFACES	    16384
#define MAX_FLOWS	    262144
#define MAX_CLAIMS	    65536
#define MAX_DATAGRAMS	    32768
#define MAX_ACCEL_FLOWS	    65536
#define MAX_ACCEL_WITHDRAWN 4096
#define MAX_ACCEL_STALE	    4096
#define MAX_SPLICE_WAKERS   256
#define SPLICE_RING_BYTES   (1 << 18)
#define EVENT_BYTES	    (1 << 18)

/* Listeners of one workload: two generations of two families of a reuseport group. */
#define LISTENER_GROUP	       8
#define MAX_EXT_LISTENERS      (MAX_WORKLOADS * 2 * LISTENER_GROUP)
#define LISTENERS_PER_WORKLOAD (2 * 2 * LISTENER_GROUP)

/* How deep the cgroup of a workload may lie below the root. */
#define MAX_CGROUP_DEPTH 16

#endif
