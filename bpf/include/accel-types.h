/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What acceleration and user space share; the last part of types.h. */
#ifndef SHUNT_ACCEL_TYPES_H
#define SHUNT_ACCEL_TYPES_H

/* One end of a connection as its own socket sees it; key of accel_socks. */
struct socket_key {
	__u64 netns; /* cookie of the network namespace */
	struct ip_addr local;
	struct ip_addr remote;
	__be16 local_port;
	__be16 remote_port;
	__u32 family; /* AF_INET, also of v4-mapped addresses, or AF_INET6 */
};

/* Where a TCP connection began, taken when it was established; socket storage. */
struct socket_start {
	__u64 cookie;
	__u32 sent; /* write_seq of the first byte to send */
	__u32 read; /* copied_seq of the first byte to read */
	__u64 flow; /* 0 until the socket belongs to one */
	__u32 side;
	__u32 unused;
};

enum accel_side {
	ACCEL_SIDE_CLIENT,
	ACCEL_SIDE_SERVER,
};

/* How far one application's socket has come. */
enum accel_state {
	ACCEL_STATE_UNKNOWN,  /* its proxy has not spoken yet */
	ACCEL_STATE_READY,    /* it may be enrolled, as soon as the other one is ready too */
	ACCEL_STATE_ENROLLED, /* in accel_socks: bytes may be redirected into it */
	ACCEL_STATE_NEVER,    /* final; `reason` says why */
};

/* Why an application's socket is what it is. */
enum accel_reason {
	ACCEL_REASON_NONE,
	ACCEL_REASON_PEER_UNKNOWN, /* no proxy of ours has spoken for the other end yet */
	ACCEL_REASON_NOT_FOUND,	   /* the application's socket is gone, or in another namespace */
	ACCEL_REASON_NOT_ACCEPTED, /* the application has not taken it yet */
	ACCEL_REASON_BLOCKING,	   /* O_NONBLOCK is not set: such readers would get EAGAIN */
	ACCEL_REASON_NO_START,	   /* it was established before acceleration was switched on */
	ACCEL_REASON_NOT_ESTABLISHED, /* closing, or closed by one side */
	ACCEL_REASON_UNREAD,	      /* bytes wait in its receive queue */
	ACCEL_REASON_REFUSED,	      /* the kernel did not take it into the map (MPTCP, kTLS) */
	ACCEL_REASON_SWITCHED_OFF,
	ACCEL_REASON_PEER_GONE,
	ACCEL_REASON_MAP_FULL,
	ACCEL_REASON_READER_UNKNOWN,  /* nobody has found out which program reads from it */
	ACCEL_REASON_PROGRAM_UNKNOWN, /* what this program may do cannot be seen in its file */
	ACCEL_REASON_MAY_SPLICE, /* the program can call splice(2), which sees no redirected byte */
	ACCEL_REASON_WITHDRAWN,	 /* the program has left redirected bytes unread while it ran */
	ACCEL_REASON_RECEIVE_LOW_WATER, /* SO_RCVLOWAT: redirected bytes wake regardless of it */
	ACCEL_REASON_ZERO_COPY,		/* SO_ZEROCOPY: completions would not come */
	ACCEL_REASON_UPPER_PROTOCOL,	/* TCP_ULP (kTLS) */
	ACCEL_REASON_PEEK_OFFSET,	/* SO_PEEK_OFF does not hold for redirected bytes */
	ACCEL_REASON_TIMESTAMPS,	/* redirected bytes have none */
	ACCEL_REASON_URGENT_INLINE,	/* SO_OOBINLINE: who sets it awaits urgent data */
	ACCEL_REASON_PATH_EXCLUDED,	/* the configuration does not allow this way */
	ACCEL_REASON_CONTRACT,		/* the kernel cannot be trusted with it */
	ACCEL_REASON_POLICY_CGROUP_SKB, /* a program decides about packets of its cgroup */
	ACCEL_REASON_POLICY_TC,		/* filters or limits on an interface that packets use */
	ACCEL_REASON_POLICY_XDP,
	ACCEL_REASON_POLICY_NETFILTER, /* rules that may drop packets */
	ACCEL_REASON_MAX,
};

/* What bytes need to leave a socket past TCP. */
enum accel_permission {
	ACCEL_PERMISSION_DIRECT_INSIDE, /* to an application in the same network namespace */
	ACCEL_PERMISSION_DIRECT_ACROSS, /* to one in another */
	ACCEL_PERMISSION_LEG,		/* from an application to its proxy */
	ACCEL_PERMISSION_LEG_BACK,	/* from a proxy to its application */
	ACCEL_PERMISSION_MAX,		/* a power of two */
};

/* Of a network namespace; value of accel_netns. */
struct accel_rights {
	/* by enum accel_permission: ACCEL_REASON_NONE where it has it, else why not */
	enum accel_reason hindrances[ACCEL_PERMISSION_MAX];
};

/* What was unread in a socket when it was looked at last. */
struct unread_look {
	__u64 first;	/* address of the first redirected message in its queue; 0: none waits */
	__u64 came;	/* bytes redirected to it by then */
	__u32 waiting;	/* memory of what waited */
	__u32 repeated; /* looks in a row that have found the very same */
};

/* One application's socket in a flow, and what has been sent from it. */
struct accel_end {
	struct socket_key key;
	__u64 socket; /* address of its struct tcp_sock, believed only while the cookie is right */
	__u64 cookie;
	__u32 sent; /* as in struct socket_start */
	__u32 read;
	enum accel_state state;
	enum accel_reason reason;
	__u64 redirected_bytes;	   /* handed to the other end's socket */
	__u64 redirected_messages; /* calls of send() */
	__u64 tcp_messages;	   /* calls of send() since it was enrolled that went by TCP */
	__u64 over_budget;	   /* of these because the reader had budget bytes unread */
	__u32 open;		   /* the last message was redirected */
	__u32 reader;		   /* process that reads from it */
	__u64 inode;		   /* of the socket */
	__u64 waits;		   /* for the reader, after which a message was redirected */
	__u64 waits_in_vain;
	__u64 waited;	 /* ns, not yet earned by redirected bytes */
	__u64 next_wait; /* ns of CLOCK_MONOTONIC: none before */
	__u64 rest;	 /* ns, the last one */
	enum accel_permission permission;
	__u32 unused;
	struct unread_look look;
};

struct accel_flow {
	struct accel_end ends[2]; /* enum accel_side */
	__u32 budget;		  /* bytes that a reader may leave unread */
	__u32 left;		  /* bit of each side whose proxy is done with the flow */
	__u32 patience;		  /* ns that a message may wait for the reader */
	__u32 dead;		  /* looks in a row that have found neither socket */
};

/* Which process has begun to listen or connect; socket storage, accepted sockets inherit it. */
struct socket_opener {
	__u32 pid; /* in the first pid namespace */
	__u32 unused;
};

enum accel_action {
	ACCEL_ACTION_ADVANCE, /* as far as the sockets allow */
	ACCEL_ACTION_LEAVE,   /* this side's proxy is done */
	ACCEL_ACTION_REFUSE,  /* nothing is redirected to the socket from now on, for `reason` */
};

/* A reader that has not read from a socket for some looks; value of accel_stale, key is the inode.
 */
struct stale_reader {
	__u64 flow;
	__u32 side;
	__u32 pid;
	__u32 looks; /* in a row, without a byte read */
	__u32 round; /* in which this was written */
};

/* What the agent tells the program `look`, in place of a packet. */
struct look_request {
	__u8 ethernet[16];
	__u32 round;
	__u32 looks; /* fewer are not told */
	__u32 dead;  /* looks after which a flow without sockets goes: nobody has left it */
	__u32 unused;
};

/* What a proxy asks of the programs `advance` and `join`, and what it answers, in place of a
 * packet. */
struct accel_request {
	__u8 ethernet[16];	 /* the kernel wants a link-layer header */
	struct socket_key app;	 /* the application's socket */
	struct socket_key outer; /* the proxy's: towards the other proxy; of a leg its other end */
	__u64 flow;		 /* answer, and question of LEAVE */
	enum accel_action action;
	enum accel_side side;
	__u32 budget;
	enum accel_state state;	     /* answer */
	enum accel_reason reason;    /* answer, and question of REFUSE */
	enum accel_state peer_state; /* answer */
	__u32 unread;		     /* answer: the application has redirected bytes to read */
	__u32 reader;		     /* process that reads from it and may get redirected bytes */
	__u64 inode;	   /* of the socket: answer; question: the one that `reader` reads from */
	__u64 credentials; /* answer: the same number for sockets that one process took in one life
			    */
	__u32 opener;	   /* answer: socket_opener.pid, 0 where it was not seen */
	__u32 patience;	   /* as in struct accel_flow */
};

#endif
