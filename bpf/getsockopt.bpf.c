// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cgroup/getsockopt (>= 5.3): answers SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST as conntrack would,
 * so that an unmodified proxy works behind the interception.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "types.h"
#include "limits.h"
#include "maps.h"
#include "addr.h"
#include "context.h"
#include "scope.h"
#include "sockaddr.h"
#include "flow.h"

#define SOL_IP		0
#define SOL_IPV6	41
#define SO_ORIGINAL_DST 80

/* The smallest page there is: what the kernel copies for the program. */
#define SEEN_BYTES 4096

/* The helper for the cgroups above the process' own is >= 5.15 here as well. */
static __always_inline int asked_by_proxy(const struct workload *w, __u32 mark, int ancestors)
{
	if (ancestors)
		return is_proxy(w, mark);
	return is_proxy_process(w, mark) || ((w->flags & WORKLOAD_FLAG_PROXY_CGROUP) &&
					     bpf_get_current_cgroup_id() == w->proxy_cgroup);
}

/*
 * Where the connection was meant to go; its own address if sk_lookup brought it here.
 * `cookie_helper` as in sockops.bpf.c.
 */
static __always_inline int find_original(struct bpf_sockopt *ctx, int cookie_helper,
					 struct ip_addr *address, __be16 *port)
{
	struct flow_key flow = {};
	struct original *original;
	struct workload *w;
	__u32 slot;

	if (cookie_helper) {
		flow.netns = bpf_get_netns_cookie(ctx);
		slot = slot_of_netns(flow.netns);
		if (!slot)
			slot = scope_of_cgroup(0).slot;
	} else {
		struct home home = home_of(ctx->sk);

		flow.netns = home.netns;
		slot = home.slot;
	}
	if (!slot)
		return 0;
	w = bpf_map_lookup_elem(&workloads, &slot);
	if (!w)
		return 0;
	flow_of_sock(&flow, ctx->sk);
	original = bpf_map_lookup_elem(&originals, &flow);
	if (original) {
		*address = original->address;
		*port = original->port;
		return 1;
	}
	/* Only the proxy may be told so: to anybody else the option stays what it was. */
	if (!(w->flags & WORKLOAD_FLAG_INBOUND) ||
	    !asked_by_proxy(w, ctx->sk->mark, cookie_helper) || !flow.remote_port ||
	    flow.local_port == w->outbound_port)
		return 0;
	*address = flow.local;
	*port = flow.local_port;
	return 1;
}

/*
 * The option stays what it was. The program sees 4096 bytes of a longer answer (iptables-legacy
 * asks for such), and before 6.5 the call fails with EFAULT unless the program says with length 0
 * that it changes nothing: Documentation/bpf/prog_cgroup_sockopt.rst.
 */
static __always_inline int not_ours(struct bpf_sockopt *ctx)
{
	if (ctx->optlen > SEEN_BYTES)
		CTX_STORE(struct bpf_sockopt, ctx, optlen, 0);
	return 1;
}

static __always_inline int answer(struct bpf_sockopt *ctx, int cookie_helper)
{
	struct ip_addr address;
	__be16 port;

	if (ctx->optname != SO_ORIGINAL_DST || !ctx->sk)
		return not_ours(ctx);
	if (ctx->level == SOL_IP) {
		struct sockaddr_v4 *out = ctx->optval;

		if ((void *)(out + 1) > ctx->optval_end ||
		    !find_original(ctx, cookie_helper, &address, &port) || !addr_is_v4(&address))
			return not_ours(ctx);
		out->family = AF_INET;
		out->port = port;
		out->address = address.word[3];
		out->zero = 0;
		CTX_STORE(struct bpf_sockopt, ctx, optlen, sizeof(*out));
		CTX_STORE(struct bpf_sockopt, ctx, retval, 0);
	} else if (ctx->level == SOL_IPV6) {
		struct sockaddr_v6 *out = ctx->optval;

		if ((void *)(out + 1) > ctx->optval_end ||
		    !find_original(ctx, cookie_helper, &address, &port))
			return not_ours(ctx);
		out->family = AF_INET6;
		out->port = port;
		out->flow_info = 0;
		out->address[0] = address.word[0];
		out->address[1] = address.word[1];
		out->address[2] = address.word[2];
		out->address[3] = address.word[3];
		out->scope = 0;
		CTX_STORE(struct bpf_sockopt, ctx, optlen, sizeof(*out));
		CTX_STORE(struct bpf_sockopt, ctx, retval, 0);
	} else {
		return not_ours(ctx);
	}
	return 1;
}

SEC("cgroup/getsockopt")
int getsockopt(struct bpf_sockopt *ctx)
{
	return answer(ctx, 1);
}

/* Before 5.15. */
SEC("cgroup/getsockopt")
int getsockopt_old(struct bpf_sockopt *ctx)
{
	return answer(ctx, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
