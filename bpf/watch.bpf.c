// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Finds readers that leave redirected bytes unread, and flows that nobody has left: those of a
 * worker that has crashed. The agent runs `look` about once in a second
 * (BPF_PROG_TEST_RUN); it is attached nowhere. Needs bpf_for_each_map_elem (>= 5.13).
 */
#define READS_BY_HELPER
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "types.h"
#include "accel-maps.h"
#include "gate.h"
#include "reader.h"

#define TCP_CLOSE 7

struct bpf_map;

static __always_inline void tell(const struct look_request *asked, __u64 flow, __u32 side,
				 const struct accel_end *reader)
{
	struct stale_reader stale = {
		.flow = flow,
		.side = side,
		.pid = reader->reader,
		.looks = reader->look.repeated,
		.round = asked->round,
	};
	__u64 inode = reader->inode;

	/* A proxy's own socket has none: the proxy is no program that could be withdrawn. */
	if (inode && stale.looks >= asked->looks)
		bpf_map_update_elem(&accel_stale, &inode, &stale, BPF_ANY);
}

/*
 * Nothing came and nothing was read since the last look where the same message is the first one,
 * and as many bytes have come and as many wait. A reader at work never looks like that: what it
 * reads between two looks, it can only be given again by bytes that came.
 */
static __always_inline void look_at(struct accel_end *reader, const struct accel_end *sender)
{
	struct sock *sk = (struct sock *)reader->socket;
	struct unread_look *last = &reader->look;
	__u64 first = 0, came = sender->redirected_bytes;
	__u32 held;

	if (reader->state == ACCEL_STATE_ENROLLED && is_established(sk, reader->cookie))
		first = first_redirected(sk);
	held = first ? waiting(sk) : 0;
	if (first && first == last->first && came == last->came && held == last->waiting)
		last->repeated++;
	else
		last->repeated = 0;
	last->first = first;
	last->came = came;
	last->waiting = held;
}

static __always_inline int is_open(const struct accel_end *end)
{
	struct sock *sk = (struct sock *)end->socket;

	return sk && (__u64)READ(sk, __sk_common.skc_cookie.counter) == end->cookie &&
	       READ(sk, __sk_common.skc_state) != TCP_CLOSE;
}

static long look_at_flow(struct bpf_map *map, const __u64 *id, struct accel_flow *flow,
			 struct look_request *asked)
{
	struct accel_end *client = &flow->ends[ACCEL_SIDE_CLIENT];
	struct accel_end *server = &flow->ends[ACCEL_SIDE_SERVER];

	look_at(client, server);
	look_at(server, client);
	tell(asked, *id, ACCEL_SIDE_CLIENT, client);
	tell(asked, *id, ACCEL_SIDE_SERVER, server);
	if (is_open(client) || is_open(server))
		flow->dead = 0;
	else if (++flow->dead >= asked->dead)
		bpf_map_delete_elem(&accel_flows, id);
	return 0;
}

SEC("tc")
int look(struct __sk_buff *skb)
{
	struct look_request *request = (void *)(long)skb->data, asked;

	if ((void *)(request + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	asked = *request;
	bpf_for_each_map_elem(&accel_flows, look_at_flow, &asked, 0);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
