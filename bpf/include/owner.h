/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Users and groups of a workload's policy. Those of the calling thread count, as
 * bpf_get_current_uid_gid has them: the real ids, in the initial user namespace.
 */
#ifndef SHUNT_OWNER_H
#define SHUNT_OWNER_H

#include "maps.h"

/* What the policy says of a user or group: bits of enum owner_flag. */
static __always_inline __u32 owner_flags(const struct workload *w, enum owner_kind kind, __u32 id)
{
	struct owner_key key = {.policy = w->policy, .kind = kind, .id = id};
	__u32 *flags = bpf_map_lookup_elem(&owners, &key);

	return flags ? *flags : 0;
}

/* Is the group of the caller one whose connections are left alone? */
static __always_inline int group_left_alone(const struct workload *w)
{
	__u32 groups = WORKLOAD_FLAG_OWNER_GROUPS_EXCEPT | WORKLOAD_FLAG_OWNER_GROUPS_ONLY;
	__u32 gid;
	int listed;

	if (!(w->flags & groups))
		return 0;
	gid = bpf_get_current_uid_gid() >> 32;
	listed = !!(owner_flags(w, OWNER_KIND_GID, gid) & OWNER_FLAG_GROUP);
	return (w->flags & WORKLOAD_FLAG_OWNER_GROUPS_ONLY) ? !listed : listed;
}

#endif
