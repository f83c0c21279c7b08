// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the contract self-test attaches in its scratch namespace, to see what a kernel makes of
 * sockets in a sockhash. What is done with a connection is in the server's address,
 * 127.84.<how>.1, so that all checks can run side by side on one set of programs:
 *
 *   bit 0     the client's end goes into the map
 *   bit 1     the server's end goes into the map
 *   bits 2-3  enum how: what sk_msg does with what an end sends
 *   bits 4-7  connections with their own counters; enum contract_lane
 *
 * PROGRAM_GUARDED decides as bpf/accelerate.bpf.c does, by the same header.
 */
#define READS_BY_HELPER
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "context.h"
#include "gate.h"
#include "overlap.h"

#define CONTRACT_NET	    0x7f54
#define CONTRACT_SOCKETS    4096
#define CONTRACT_BUDGET	    (1 << 20)
#define SMALL_BUDGET	    (1 << 16)

#define HOW_CLIENT	    1
#define HOW_SERVER	    2
#define HOW_PROGRAM(how)    (((how) >> 2) & 3)
#define HOW_LANE(how)	    ((how) >> 4)

#define MSG_LOAD(field)	    CTX_LOAD(struct sk_msg_md, msg, field)
#define SKB_LOAD(field)	    CTX_LOAD(struct __sk_buff, skb, field)
#define SOCKOPS_LOAD(field) CTX_LOAD(struct bpf_sock_ops, ctx, field)

enum contract_program {
	PROGRAM_PASSING = 0, /* in the map, never redirected */
	PROGRAM_NAIVE = 1,   /* redirected whenever the other end is there, read as it comes */
	PROGRAM_GUARDED = 2, /* while nothing by TCP is unread there, up to a budget */
};

enum contract_lane {
	LANE_SMALL_BUDGET = 2, /* the way changes often */
};

/* Addresses as the socket sees them, ports as numbers. addon/tools/contract/maps.c has it too. */
struct contract_key {
	__be32 local;
	__be32 remote;
	__u32 local_port;
	__u32 remote_port;
};

struct contract_counts {
	__u64 enrolled;
	__u64 refused;
	__u64 redirected;
	__u64 passed;
};

/* One end, as it was when it was established. */
struct contract_end {
	__u64 socket;
	__u64 cookie;
	__u32 sent;
	__u32 read;
	__u64 open;
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, CONTRACT_SOCKETS);
	__type(key, struct contract_key);
	__type(value, __u64);
} contract_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CONTRACT_SOCKETS);
	__type(key, struct contract_key);
	__type(value, struct contract_end);
} contract_ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct contract_counts);
} contract_counts SEC(".maps");

static __always_inline int is_contract(__be32 address)
{
	return bpf_ntohl(address) >> 16 == CONTRACT_NET;
}

static __always_inline __u32 how_of(__be32 server)
{
	return bpf_ntohl(server) >> 8 & 0xff;
}

static __always_inline struct contract_counts *counts_of(__u32 how)
{
	return bpf_map_lookup_elem(&contract_counts, &how);
}

static __always_inline void note_end(struct bpf_sock_ops *ctx, const struct contract_key *key)
{
	struct contract_end end = {};
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp;

	if (!sk)
		return;
	tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	end.socket = (__u64)tp;
	end.cookie = bpf_get_socket_cookie(ctx);
	end.sent = tp->write_seq;
	end.read = tp->copied_seq;
	bpf_map_update_elem(&contract_ends, key, &end, BPF_ANY);
}

/* Ends that do not go into the map here are put there later, by shunt-contract. */
SEC("sockops")
int contract_enrol(struct bpf_sock_ops *ctx)
{
	struct contract_key key = {};
	struct contract_counts *counts;
	__u32 how, side;

	key.local = SOCKOPS_LOAD(local_ip4);
	key.remote = SOCKOPS_LOAD(remote_ip4);
	key.local_port = SOCKOPS_LOAD(local_port);
	key.remote_port = bpf_ntohl(SOCKOPS_LOAD(remote_port));
	switch (ctx->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		if (!is_contract(key.remote))
			return 1;
		how = how_of(key.remote);
		side = HOW_CLIENT;
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		if (!is_contract(key.local))
			return 1;
		how = how_of(key.local);
		side = HOW_SERVER;
		break;
	default:
		return 1;
	}
	note_end(ctx, &key);
	counts = counts_of(how);
	if (!counts || !(how & side))
		return 1;
	if (bpf_sock_hash_update(ctx, &contract_socks, &key, BPF_NOEXIST))
		__sync_fetch_and_add(&counts->refused, 1);
	else
		__sync_fetch_and_add(&counts->enrolled, 1);
	return 1;
}

static __always_inline int redirect(struct sk_msg_md *msg, struct contract_key *peer)
{
	return bpf_msg_redirect_hash(msg, &contract_socks, peer, BPF_F_INGRESS) == SK_PASS;
}

static __always_inline int redirect_guarded(struct sk_msg_md *msg, struct contract_key *own,
					    struct contract_key *peer, __u32 budget)
{
	struct contract_end *from = bpf_map_lookup_elem(&contract_ends, own);
	struct contract_end *to = bpf_map_lookup_elem(&contract_ends, peer);
	struct tcp_sock *sender, *reader;
	__u32 size = MSG_LOAD(size);

	if (!from || !to)
		return 0;
	sender = (struct tcp_sock *)from->socket;
	reader = (struct tcp_sock *)to->socket;
	if (!is_established((struct sock *)reader, to->cookie) ||
	    waiting((struct sock *)reader) + size > budget ||
	    (!from->open && !all_read(sender, from->sent, reader, to->read)) ||
	    !redirect(msg, peer)) {
		from->open = 0;
		return 0;
	}
	from->open = 1;
	return 1;
}

SEC("sk_msg")
int contract_steer(struct sk_msg_md *msg)
{
	struct contract_key own = {
		.local = MSG_LOAD(local_ip4),
		.remote = MSG_LOAD(remote_ip4),
		.local_port = MSG_LOAD(local_port),
		.remote_port = bpf_ntohl(MSG_LOAD(remote_port)),
	};
	struct contract_key peer = {
		.local = own.remote,
		.remote = own.local,
		.local_port = own.remote_port,
		.remote_port = own.local_port,
	};
	__u32 how = how_of(is_contract(peer.local) ? peer.local : peer.remote);
	struct contract_counts *counts = counts_of(how);
	int redirected = 0;

	if (!counts)
		return SK_PASS;
	if (HOW_PROGRAM(how) == PROGRAM_NAIVE)
		redirected = redirect(msg, &peer);
	else if (HOW_PROGRAM(how) == PROGRAM_GUARDED)
		redirected = redirect_guarded(msg, &own, &peer,
					      HOW_LANE(how) == LANE_SMALL_BUDGET ? SMALL_BUDGET
										 : CONTRACT_BUDGET);
	if (redirected)
		__sync_fetch_and_add(&counts->redirected, 1);
	else
		__sync_fetch_and_add(&counts->passed, 1);
	return SK_PASS;
}

/* The sequence number after the last byte that came to an end, by its cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CONTRACT_SOCKETS);
	__type(key, __u64);
	__type(value, __u32);
} contract_received SEC(".maps");

/* As that of bpf/accelerate.bpf.c; on some kernels FIONREAD is right only where there is one
 * (6.18).
 */
SEC("sk_skb/stream_verdict")
int contract_verdict(struct __sk_buff *skb)
{
	__be32 local = SKB_LOAD(local_ip4);

	if (HOW_PROGRAM(how_of(is_contract(local) ? local : SKB_LOAD(remote_ip4))) == PROGRAM_NAIVE)
		return SK_PASS;
	return pass_once(skb, &contract_received);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
