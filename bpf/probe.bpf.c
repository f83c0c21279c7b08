// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One small program for each thing the kernel must be able to do; src/intercept/probe loads them
 * one at a time, attaches them to a scratch cgroup or namespace and looks whether they do what they
 * say. Nothing here needs a map unless the feature is about maps, so that one refusal means one
 * thing.
 *
 * The address programs send what goes to 127.84.0.1 or fd84:5348::1 to the loopback address
 * instead, and show those addresses to whoever asks for the peer.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "context.h"

#define MAGIC_V4	       bpf_htonl(0x7f540001)
#define MAGIC_V6_HIGH	       bpf_htonl(0xfd845348)
#define LOOPBACK_V4	       bpf_htonl(0x7f000001)
#define ONE		       bpf_htonl(1)

#define SA_LOAD(field)	       CTX_LOAD(struct bpf_sock_addr, ctx, field)
#define SA_STORE(field, value) CTX_STORE(struct bpf_sock_addr, ctx, field, value)

static __always_inline int is_v6(struct bpf_sock_addr *ctx, __u32 high)
{
	return SA_LOAD(user_ip6[0]) == high && SA_LOAD(user_ip6[1]) == 0 &&
	       SA_LOAD(user_ip6[2]) == 0 && SA_LOAD(user_ip6[3]) == ONE;
}

static __always_inline int redirect4(struct bpf_sock_addr *ctx)
{
	if (SA_LOAD(user_ip4) == MAGIC_V4)
		SA_STORE(user_ip4, LOOPBACK_V4);
	return 1;
}

static __always_inline int redirect6(struct bpf_sock_addr *ctx)
{
	if (is_v6(ctx, MAGIC_V6_HIGH))
		SA_STORE(user_ip6[0], 0);
	return 1;
}

static __always_inline int restore4(struct bpf_sock_addr *ctx)
{
	if (SA_LOAD(user_ip4) == LOOPBACK_V4)
		SA_STORE(user_ip4, MAGIC_V4);
	return 1;
}

static __always_inline int restore6(struct bpf_sock_addr *ctx)
{
	if (is_v6(ctx, 0))
		SA_STORE(user_ip6[0], MAGIC_V6_HIGH);
	return 1;
}

SEC("cgroup/connect4")
int probe_connect4(struct bpf_sock_addr *ctx)
{
	return redirect4(ctx);
}

SEC("cgroup/connect6")
int probe_connect6(struct bpf_sock_addr *ctx)
{
	return redirect6(ctx);
}

SEC("cgroup/sendmsg4")
int probe_sendmsg4(struct bpf_sock_addr *ctx)
{
	return redirect4(ctx);
}

SEC("cgroup/sendmsg6")
int probe_sendmsg6(struct bpf_sock_addr *ctx)
{
	return redirect6(ctx);
}

SEC("cgroup/recvmsg4")
int probe_recvmsg4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/recvmsg6")
int probe_recvmsg6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}

SEC("cgroup/getpeername4")
int probe_peer4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/getpeername6")
int probe_peer6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}

/* Answers option 80 (SO_ORIGINAL_DST) of level 0 (SOL_IP) with 127.84.0.1, port 4660. */
SEC("cgroup/getsockopt")
int probe_sockopt(struct bpf_sockopt *ctx)
{
	__u8 *value = ctx->optval;

	if (ctx->level != 0 || ctx->optname != 80 || value + 16 > (__u8 *)ctx->optval_end)
		return 1;
	__builtin_memset(value, 0, 16);
	value[0] = 2;
	value[2] = 0x12;
	value[3] = 0x34;
	value[4] = 127;
	value[5] = 84;
	value[7] = 1;
	CTX_STORE(struct bpf_sockopt, ctx, optlen, 16);
	CTX_STORE(struct bpf_sockopt, ctx, retval, 0);
	return 1;
}

/* How many connections were seen to begin. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} probe_seen SEC(".maps");

SEC("sockops")
int probe_sockops(struct bpf_sock_ops *ctx)
{
	__u32 zero = 0;
	__u64 *seen = bpf_map_lookup_elem(&probe_seen, &zero);

	if (seen && ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		__sync_fetch_and_add(seen, 1);
	return 1;
}

/* Values of 4 bytes: 8 are refused before 5.7. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} probe_socks SEC(".maps");

SEC("sockops")
int probe_sockhash(struct bpf_sock_ops *ctx)
{
	__u32 port = ctx->local_port;

	if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		bpf_sock_hash_update(ctx, &probe_socks, &port, BPF_ANY);
	return 1;
}

SEC("sk_msg")
int probe_msg(struct sk_msg_md *ctx)
{
	return SK_PASS;
}

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} probe_storage SEC(".maps");

SEC("cgroup/connect4")
int probe_storage4(struct bpf_sock_addr *ctx)
{
	if (ctx->sk)
		bpf_sk_storage_get(&probe_storage, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

SEC("cgroup/connect4")
int probe_cookie4(struct bpf_sock_addr *ctx)
{
	return bpf_get_netns_cookie(ctx) != 0;
}

SEC("sockops")
int probe_cookie_ops(struct bpf_sock_ops *ctx)
{
	return bpf_get_netns_cookie(ctx) != 0;
}

SEC("sockops")
int probe_storage_ops(struct bpf_sock_ops *ctx)
{
	if (ctx->sk)
		bpf_sk_storage_get(&probe_storage, ctx->sk, 0, 0);
	return 1;
}

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, __u32);
	__type(value, __u64);
} probe_homes SEC(".maps");

SEC("cgroup/bind4")
int probe_bind4(struct bpf_sock_addr *ctx)
{
	__u64 netns = bpf_get_netns_cookie(ctx);

	if (ctx->sk)
		bpf_sk_storage_get(&probe_homes, ctx->sk, &netns, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

/* The listener that takes every connection to a port nobody listens on. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} probe_listener SEC(".maps");

SEC("sk_lookup")
int probe_lookup(struct bpf_sk_lookup *ctx)
{
	__u32 zero = 0;
	struct bpf_sock *sk = bpf_map_lookup_elem(&probe_listener, &zero);

	if (!sk)
		return SK_PASS;
	bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
