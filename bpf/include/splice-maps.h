/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps of splicing, apart from the others: an object creates every map that it sees. */
#ifndef SHUNT_SPLICE_MAPS_H
#define SHUNT_SPLICE_MAPS_H

#include "types.h"
#include "limits.h"

/* Workloads whose connections may be spliced; the kill switch, as accel_netns. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, __u32);
} splice_scopes SEC(".maps");

/* Sockets of proxies by cookie. They leave when they are closed, never before. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2 * MAX_ACCEL_FLOWS);
	__type(key, __u64);
	__type(value, __u64);
} splice_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ACCEL_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct splice_key);
	__type(value, struct splice_flow);
} splice_flows SEC(".maps");

/* socket cookie → which leg it is */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * MAX_ACCEL_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct splice_ref);
} splice_refs SEC(".maps");

/* One ring buffer for each thread of proxies: cookies of legs that have closed. */
struct splice_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SPLICE_RING_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, MAX_SPLICE_WAKERS);
	__type(key, __u32);
	__array(values, struct splice_ring);
} splice_wakers SEC(".maps");

#endif
