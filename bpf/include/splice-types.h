/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Included by types.h, after struct socket_key. */
#ifndef SHUNT_SPLICE_TYPES_H
#define SHUNT_SPLICE_TYPES_H

#include <linux/bpf.h>

/*
 * Splicing. What one of the proxies' own sockets receives goes out by another one of them, without
 * waking a proxy. Two legs of one flow are the sockets towards the two applications; with one proxy
 * they are its two sockets.
 */

/* A pair is named as the flows of accel_flows are, a proxy alone by the cookie of its socket. */
struct splice_key {
	__u64 id;
	__u64 alone; /* 1: one proxy */
};

/* Values of splice_scopes: what connections of a workload may do. */
enum splice_right {
	SPLICE_RIGHT_ALONE = 1, /* one proxy splices its own sockets */
	SPLICE_RIGHT_PAIR = 2,	/* no policy stands between it and other workloads' proxies */
};

enum splice_state {
	SPLICE_STATE_UNKNOWN, /* its proxy has not spoken yet */
	SPLICE_STATE_READY,   /* known, not in the map */
	SPLICE_STATE_PASSING, /* in the map; its proxy reads */
	SPLICE_STATE_ARMED,   /* its proxy reads no more; the next bytes open or close it */
	SPLICE_STATE_OPEN,    /* what it receives goes to the other leg */
	SPLICE_STATE_CLOSED,  /* as PASSING, after it was armed; its proxy has been told */
	SPLICE_STATE_NEVER,   /* final */
};

/* Why a leg is not open. */
enum splice_reason {
	SPLICE_REASON_NONE,
	SPLICE_REASON_PEER_UNKNOWN,    /* no other leg yet */
	SPLICE_REASON_NOT_FOUND,       /* no such socket in this namespace */
	SPLICE_REASON_NOT_ESTABLISHED, /* closing, or closed by one side */
	SPLICE_REASON_UNREAD,	       /* not all that it received is with the other leg's socket */
	SPLICE_REASON_REFUSED,	       /* the kernel did not take it into the map */
	SPLICE_REASON_SWITCHED_OFF,
	SPLICE_REASON_PEER_GONE,
	SPLICE_REASON_SLOW_READER, /* the other leg's application does not keep up */
	SPLICE_REASON_STREAM,	   /* much in one direction: copying is faster */
	SPLICE_REASON_MAP_FULL,
	SPLICE_REASON_POLICY, /* somebody decides about packets between the two proxies */
	SPLICE_REASON_MAX,
};

/* One leg, and what its socket receives. Counts of bytes are modulo 2^32 where they are 32 bits. */
struct splice_leg {
	__u64 cookie;
	__u64 scope; /* its entry in splice_scopes */
	__u64 redirected_bytes;
	__u64 redirected_messages;
	__u32 sent;	      /* write_seq of the first byte sent to its application */
	__u32 received;	      /* copied_seq of the first byte that came from it */
	__u32 seen;	      /* bytes that came from its application */
	__u32 redirected_end; /* `seen` after the last redirected byte */
	__u32 answered;	      /* its socket's write_seq when `run` began */
	__u32 run;	      /* bytes received since then */
	__u32 waker;	      /* its proxy's entry in splice_wakers */
	enum splice_state state;
	enum splice_reason reason;
	__u32 unused;
};

struct splice_flow {
	struct splice_leg legs[2]; /* enum accel_side */
	__u32 budget;		   /* bytes on their way from leg to leg */
	__u32 run_limit; /* bytes in one direction without an answer, beyond which they are copied
			  */
	__u32 left;	 /* bit of each side whose proxy is done with the flow */
	__u32 right;	 /* enum splice_right that both scopes must have */
	__u32 unused;
	struct bpf_spin_lock lock; /* of the states of the legs, from when they are armed */
};

struct splice_ref {
	struct splice_key flow;
	__u32 side;
	__u32 unused;
};

enum splice_action {
	SPLICE_ACTION_JOIN,  /* enters the leg `near` of a pair, as far as the other proxy allows */
	SPLICE_ACTION_ALONE, /* enters both sockets of one proxy; `near` is the client's leg */
	SPLICE_ACTION_ARM,   /* the leg's proxy reads no more */
	SPLICE_ACTION_LOOK,  /* and closes it where its proxy has to read again */
	SPLICE_ACTION_REFUSE, /* this side of a pair will never be a leg of it */
	SPLICE_ACTION_LEAVE,  /* this side's proxy is done */
};

/* One of the asking proxy's sockets, and what the proxy has read from and written to it. */
struct splice_socket {
	struct socket_key key;
	__u64 cookie;
	__u32 read;
	__u32 written;
};

/* What a proxy asks of the program `hand_over`, and what it answers, in place of a packet. */
struct splice_request {
	__u8 ethernet[16];
	struct splice_socket near;
	struct splice_socket outer;
	struct splice_key flow; /* answer of JOIN and ALONE, question of the others */
	__u64 scope;
	enum splice_action action;
	enum accel_side side;
	__u32 budget;
	__u32 run_limit;
	__u32 waker;
	enum splice_state state;      /* answer */
	enum splice_state peer_state; /* answer */
	enum splice_reason reason;    /* answer */
	__u32 drained; /* answer: all that was redirected from this leg is with the other socket */
	__u32 ended;   /* answer: its application has ended the connection, or half of it */
	__u32 pending; /* answer: bytes to be sent or read wait for the backlog's worker of its
			  socket */
	__u32 unused;
};

#endif
