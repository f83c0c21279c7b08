/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whose traffic is it: which workload, and does it come from the workload's own proxy. */
#ifndef SHUNT_SCOPE_H
#define SHUNT_SCOPE_H

#include "maps.h"
#include "owner.h"

/* Whose call it is, and how many programs of this instance meet it. */
struct scope {
	__u32 slot;
	__u32 programs;
};

/*
 * The innermost enrolled cgroup of the calling process. Levels count from the root, so the last hit
 * is the innermost. `dns`: of the programs, only those of workloads that capture DNS are meant.
 * bpf_get_current_ancestor_cgroup_id: >= 5.7.
 */
static __always_inline struct scope scope_of_cgroup(int dns)
{
	struct scope scope = {};

#pragma unroll
	for (int level = 1; level <= MAX_CGROUP_DEPTH; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);
		struct workload *w;
		__u32 *found;

		if (!id)
			break;
		found = bpf_map_lookup_elem(&cgroup_slots, &id);
		if (!found)
			continue;
		scope.slot = *found;
		w = dns ? bpf_map_lookup_elem(&workloads, found) : 0;
		if (!dns || (w && w->dns_capture != DNS_CAPTURE_OFF))
			scope.programs++;
	}
	return scope;
}

static __always_inline __u32 slot_of_netns(__u64 netns)
{
	__u32 *found = bpf_map_lookup_elem(&netns_slots, &netns);

	return found ? *found : 0;
}

/* Of an accepted socket, or of its listener; all 0 where nobody has noted it. */
static __always_inline struct home home_of(struct bpf_sock *sk)
{
	struct home *noted = sk ? bpf_sk_storage_get(&homes, sk, 0, 0) : 0;
	struct home none = {};

	return noted ? *noted : none;
}

/* By mark, user or group. */
static __always_inline int is_proxy_process(const struct workload *w, __u32 mark)
{
	if ((w->flags & WORKLOAD_FLAG_PROXY_MARK) && (mark & w->proxy_mark_mask) == w->proxy_mark)
		return 1;
	if (w->flags & (WORKLOAD_FLAG_PROXY_UID | WORKLOAD_FLAG_PROXY_GID)) {
		__u64 id = bpf_get_current_uid_gid();

		if ((w->flags & WORKLOAD_FLAG_PROXY_UID) &&
		    (owner_flags(w, OWNER_KIND_UID, id) & OWNER_FLAG_PROXY))
			return 1;
		if ((w->flags & WORKLOAD_FLAG_PROXY_GID) &&
		    (owner_flags(w, OWNER_KIND_GID, id >> 32) & OWNER_FLAG_PROXY))
			return 1;
	}
	return 0;
}

/* Made by the proxy: any of the marks of identity that are set is enough. */
static __always_inline int is_proxy(const struct workload *w, __u32 mark)
{
	if (is_proxy_process(w, mark))
		return 1;
	if (w->flags & WORKLOAD_FLAG_PROXY_CGROUP) {
#pragma unroll
		for (int level = 1; level <= MAX_CGROUP_DEPTH; level++) {
			__u64 id = bpf_get_current_ancestor_cgroup_id(level);

			if (!id)
				break;
			if (id == w->proxy_cgroup)
				return 1;
		}
	}
	return 0;
}

#endif
