/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Maps of acceleration, apart from the others: an object creates every map that it sees, and these
 * are large.
 */
#ifndef SHUNT_ACCEL_MAPS_H
#define SHUNT_ACCEL_MAPS_H

#include "types.h"
#include "limits.h"

/*
 * Namespaces, by cookie, whose connections may be accelerated; the kill switch: without its entry a
 * connection goes by TCP from the next message on.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, struct accel_rights);
} accel_netns SEC(".maps");

/* Sockets whose bytes are redirected: applications', and proxies' of legs. They leave when they are
 * closed, never before. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2 * MAX_ACCEL_FLOWS);
	__type(key, struct socket_key);
	__type(value, __u64);
} accel_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ACCEL_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct accel_flow);
} accel_flows SEC(".maps");

/*
 * The sequence number after the last byte that TCP has handed to a socket, by its cookie. Programs
 * that see packets cannot have socket storage; whose row has had to make room is known by what was
 * read.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2 * MAX_ACCEL_FLOWS);
	__type(key, __u64);
	__type(value, __u32);
} accel_received SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct socket_start);
} accel_starts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, __u32);
	__type(value, struct socket_opener);
} accel_openers SEC(".maps");

/* Executables that have left redirected bytes unread, by a hash: all threads of the agent see it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ACCEL_WITHDRAWN);
	__type(key, __u64);
	__type(value, __u32);
} accel_withdrawn SEC(".maps");

/* Readers that leave redirected bytes unread, by the inode of their socket. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ACCEL_STALE);
	__type(key, __u64);
	__type(value, struct stale_reader);
} accel_stale SEC(".maps");

#endif
