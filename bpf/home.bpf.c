// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cgroup/bind4 and bind6 (>= 4.17): writes down in which namespace a socket is, for sockops and
 * getsockopt, which can't ask before 5.15. Of use for listeners, whose connections inherit it.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "types.h"
#include "limits.h"
#include "maps.h"
#include "addr.h"
#include "context.h"
#include "scope.h"

#define SOCK_STREAM 1

static __always_inline int note_home(struct bpf_sock_addr *ctx)
{
	struct home home = {.netns = bpf_get_netns_cookie(ctx)}; /* >= 5.7 */

	if (!ctx->sk || CTX_LOAD(struct bpf_sock_addr, ctx, type) != SOCK_STREAM)
		return 1;
	home.slot = slot_of_netns(home.netns);
	if (!home.slot)
		home.slot = scope_of_cgroup(0).slot;
	if (home.slot)
		bpf_sk_storage_get(&homes, ctx->sk, &home, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

SEC("cgroup/bind4")
int note_home4(struct bpf_sock_addr *ctx)
{
	return note_home(ctx);
}

SEC("cgroup/bind6")
int note_home6(struct bpf_sock_addr *ctx)
{
	return note_home(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
