// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tells the agent the cookie of a network namespace where SO_NETNS_COOKIE is missing (before 5.14)
 * and connect hooks have it (>= 5.7): the agent connects a socket of that namespace to an address
 * of its own invention. Attached for that moment only; no call is changed.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "netns.h"
#include "context.h"

#define SA_LOAD(field) CTX_LOAD(struct bpf_sock_addr, ctx, field)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct netns_question);
} netns_asked SEC(".maps");

/* Socket cookies are unique within one namespace alone before 5.10: the address has to fit too. */
SEC("cgroup/connect4")
int learn_netns(struct bpf_sock_addr *ctx)
{
	__u32 zero = 0;
	struct netns_question *asked = bpf_map_lookup_elem(&netns_asked, &zero);

	if (asked && SA_LOAD(user_ip4) == asked->address.word[3] &&
	    (__be16)SA_LOAD(user_port) == asked->port &&
	    bpf_get_socket_cookie(ctx) == asked->socket)
		asked->netns = bpf_get_netns_cookie(ctx);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
