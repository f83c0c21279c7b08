/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map. An object creates those that its programs use; objects of one instance share them by
 * name. Names have at most 15 characters, as the kernel keeps no more.
 */
#ifndef SHUNT_MAPS_H
#define SHUNT_MAPS_H

#include "types.h"
#include "netns.h"
#include "limits.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_WORKLOADS);
	__type(key, __u32);
	__type(value, struct workload);
} workloads SEC(".maps");

/* network-namespace cookie → slot */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, __u32);
} netns_slots SEC(".maps");

/* cgroup id → slot */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, __u32);
} cgroup_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PORT_RULES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct port_key);
	__type(value, __u32);
} ports SEC(".maps");

/* value: 1, or 0 where a longer prefix takes addresses out of a shorter one */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_CIDR_RULES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cidr_key);
	__type(value, __u32);
} cidrs SEC(".maps");

/* users and groups → enum owner_flag */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_OWNERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct owner_key);
	__type(value, __u32);
} owners SEC(".maps");

/* interfaces whose traffic is left alone */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_INTERFACES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct interface_key);
	__type(value, __u32);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_LOCAL_ADDRESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct local_key);
	__type(value, __u32);
} local_addrs SEC(".maps");

/*
 * the accepted connection → where the client meant to go; the proxy takes its entry at accept
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, struct original);
} originals SEC(".maps");

/*
 * The UDP socket that a query comes from and the port it came to → the resolver it was meant for.
 * Nothing tells when such a socket is done, so the oldest make room for new ones, and those of TCP
 * are safe from them.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_DATAGRAMS);
	__type(key, struct flow_key);
	__type(value, struct original);
} dgram_origs SEC(".maps");

/*
 * Upstream connections of our proxy that carry the client's address, while they are being made →
 * when the note was written, CLOCK_MONOTONIC in ns.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, __u64);
} own_flows SEC(".maps");

/*
 * Upstream connections of our proxies as their other ends see them, without a namespace: it may be
 * another one of this machine. From the SYN on, and once somebody has let one pass until it closes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, struct hop);
} hops SEC(".maps");

/* the application's socket → where it meant to go */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct original);
} origins SEC(".maps");

/*
 * A listening socket, and by inheritance what it accepts → its namespace and workload, for
 * programs that can't ask (before 5.15). Written by home.bpf.c, and for older listeners by user
 * space.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, __u32);
	__type(value, struct home);
} homes SEC(".maps");

/* the application's UDP socket → the resolvers it asks */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct resolvers);
} resolvers SEC(".maps");

/* socket cookie → who decided; pinned once for all instances of the machine */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CLAIMS);
	__type(key, __u64);
	__type(value, struct claim);
} claims SEC(".maps");

/* listeners of proxies that are not ours, from the moment they listen on; see inbound.bpf.c */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, MAX_EXT_LISTENERS);
	__type(key, struct listener_key);
	__type(value, __u64);
} ext_listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_WORKLOADS);
	__type(key, __u32);
	__type(value, struct counters);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event);
} event_scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_BYTES);
} events SEC(".maps");

#endif
