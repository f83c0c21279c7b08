/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A sender that is a little faster than its reader waits for it, as an adaptive lock does, instead
 * of leaving the short way: a stream that never pauses comes back to it only when all that it has
 * sent by TCP meanwhile has been read, and waiting is also what lets the proxies catch up. Time
 * spent so is earned by redirected bytes; who earns none gives up soon, and rests long.
 */
#ifndef SHUNT_WAIT_H
#define SHUNT_WAIT_H

#include "types.h"
#include "gate.h"

#define MOST_LOOKS 4096
/* ns that may be waited without a byte redirected. */
#define CREDIT 50000000ULL
/* Bytes that earn one ns: what is waited at most doubles the time of what is redirected. */
#define BYTES_PER_NS 2
/* ns of rest when the credit is spent; twice as long after each time that brought nothing. */
#define FIRST_REST   (4 * CREDIT)
#define LONGEST_REST (16 * FIRST_REST)

struct reader_wait {
	const struct accel_end *from;
	const struct accel_end *to;
	__u64 until;
	__u32 room; /* the message fits when no more than this is unread */
	__u32 done;
};

static __always_inline int gate_is_open(const struct accel_end *from, const struct accel_end *to)
{
	return all_read((struct tcp_sock *)from->socket, from->sent, (struct tcp_sock *)to->socket,
			to->read);
}

static long look_again(__u64 round, struct reader_wait *wait)
{
	if (waiting((struct sock *)wait->to->socket) <= wait->room &&
	    (wait->from->open || gate_is_open(wait->from, wait->to))) {
		wait->done = 1;
		return 1;
	}
	return bpf_ktime_get_ns() >= wait->until;
}

static __always_inline void earn(struct accel_end *from, __u32 redirected)
{
	__u64 earned = redirected / BYTES_PER_NS;

	if (!from->waited)
		return;
	from->waited = from->waited > earned ? from->waited - earned : 0;
	if (!from->waited)
		from->rest = 0;
}

/* The reader has made room for `size` bytes, and has read what TCP had brought. */
static __always_inline int wait_for_reader(const struct accel_flow *flow, struct accel_end *from,
					   const struct accel_end *to, __u32 size, __u32 most)
{
	struct reader_wait wait = {.from = from, .to = to};
	__u64 begun, now;

	if (!flow->patience || size > most)
		return 0;
	begun = bpf_ktime_get_ns();
	/* bpf_loop: Linux 5.17 */
	if (begun < from->next_wait || !bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
		return 0;
	wait.room = most - size;
	wait.until = begun + flow->patience;
	bpf_loop(MOST_LOOKS, look_again, &wait, 0);
	now = bpf_ktime_get_ns();
	from->waited += now - begun;
	if (wait.done) {
		from->waits++;
		return 1;
	}
	from->waits_in_vain++;
	if (from->waited >= CREDIT) {
		from->rest = from->rest ? 2 * from->rest : FIRST_REST;
		if (from->rest > LONGEST_REST)
			from->rest = LONGEST_REST;
		from->next_wait = now + from->rest;
		from->waited = 0;
	}
	return 0;
}

#endif
