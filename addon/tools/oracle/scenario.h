// SPDX-License-Identifier: Apache-2.0
/* What the two ends of one connection do. The client makes it up from a seed and tells it in the
 * first bytes. */
#ifndef SHUNT_ORACLE_SCENARIO_H
#define SHUNT_ORACLE_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum reading {
	READ_RECV,
	READ_READV,
	READ_PEEK,
	READ_FIONREAD,
	READ_WAITALL,
	READ_LOWAT,
	READ_SPLICE
};
enum writing { WRITE_SEND, WRITE_WRITEV, WRITE_MORE, WRITE_SENDFILE, WRITE_ZEROCOPY, WRITE_SPLICE };
enum waiting { WAIT_POLL, WAIT_LEVEL, WAIT_EDGE };

enum finish {
	FINISH_AT_ONCE,	  /* shutdown() after the last byte */
	FINISH_AFTER_ALL, /* shutdown() when everything has been received as well */
	FINISH_AFTER_EOF, /* shutdown() when the other end has done so */
	FINISH_CLOSE,	  /* close() after the last byte, all bytes having been received */
	FINISH_RESET,	  /* RST at `reset_at` */
};

/* What one end does. */
struct plan {
	uint64_t total;			  /* bytes it sends */
	uint64_t reset_at;		  /* of them before a RST */
	uint32_t read_size, write_size;	  /* at most, in one call */
	uint32_t read_pause, write_pause; /* microseconds */
	uint16_t read_burst, write_burst; /* calls between pauses; 0: none */
	uint8_t reading, writing, waiting, finish;
	uint8_t blocking; /* the socket when it is connected or accepted */
	uint8_t late;	  /* O_NONBLOCK is changed afterwards */
	uint8_t threads;  /* of a blocking end: 1 or 2 */
	uint8_t signals, small_buffers, nodelay;
	uint8_t idle; /* leaves the last turn unread until SIGUSR1 */
};

struct scenario {
	uint64_t magic, seed;
	uint32_t number;
	uint32_t turns; /* 0: both ends send as they like */
	uint64_t turn_size;
	uint64_t last_turn; /* bytes more in the last one */
	uint64_t oob_at;    /* of the client's bytes; 0: no urgent byte */
	uint8_t listener;
	uint8_t padding[7];
	struct plan client, server;
};

#define MAGIC	    0x736874726f72636cull
#define HEADER_SIZE sizeof(struct scenario)
#define BANNER_SIZE 256
#define BANNER_SEED 0xba77e5ull

/* Listeners, as ports from the first one on. */
enum { LISTEN_PLAIN = 0, LISTEN_DEFERRED = 2, LISTEN_BANNER = 4, LISTEN_URGENT = 6, LISTENERS = 8 };
#define LISTEN_BLOCKING 1 /* added to each */

/* In the order of `feature_names`. */
enum feature {
	HAS_TURNS,
	HAS_HALF_CLOSE,
	HAS_CLOSE,
	HAS_RESET,
	HAS_SLOW,
	HAS_DEFERRED,
	HAS_BANNER,
	HAS_WRITEV,
	HAS_MORE,
	HAS_SENDFILE,
	HAS_ZEROCOPY,
	HAS_READV,
	HAS_PEEK,
	HAS_FIONREAD,
	HAS_WAITALL,
	HAS_LOWAT,
	HAS_SPLICE,
	HAS_SIGNALS,
	HAS_LATE,
	HAS_BUFFERS,
	HAS_EDGE,
	HAS_OOB,
	FEATURES,
};
extern const char *const feature_names[FEATURES];

enum side { SIDE_ANY, SIDE_POLLING, SIDE_BLOCKING };

struct wishes {
	uint64_t seed, min_size, max_size;
	uint32_t features; /* bits */
	enum side client, server;
	bool idle;
};

void make_scenario(struct scenario *scenario, const struct wishes *wishes, uint32_t number);
/* For people. */
void describe_scenario(const struct scenario *scenario, char *text, size_t size);

/* The seed of one direction's bytes. */
static inline uint64_t stream_seed(const struct scenario *scenario, bool from_server)
{
	return scenario->seed ^ (from_server ? 0x5e12f00dull : 0);
}

/* How much an end may send, seen the bytes it has received: takes turns forward, never back. */
struct gate {
	uint32_t turn;
	uint64_t own, other; /* bytes of turns so far, in either direction */
};
uint64_t gate_limit(struct gate *gate, const struct scenario *scenario, bool server,
		    uint64_t received);

#endif
