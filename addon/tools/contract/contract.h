// SPDX-License-Identifier: Apache-2.0
/* What the files of shunt-contract share. A check runs in a process of its own and ends it. */
#ifndef SHUNT_CONTRACT_H
#define SHUNT_CONTRACT_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include "../net.h"

/* What sk_msg does with what is sent; the numbers are those of bpf/contract.bpf.c. */
enum steering { STEER_PASSING = 0, STEER_NAIVE = 1, STEER_GUARDED = 2, STEER_NONE };

/* What a faulty kernel would do, done by io.c: the proof that a check can fail. */
enum fault {
	FAULT_NONE,
	FAULT_REORDER,	   /* two halves of what is read change places */
	FAULT_LOSE,	   /* the last byte of what is read is dropped */
	FAULT_EAGAIN,	   /* a blocking read that had to wait fails with EAGAIN */
	FAULT_SWALLOW_EOF, /* the end of a stream is never told */
	FAULT_FALSE_EOF,   /* a reset is told as the end of the stream */
	FAULT_DEAF,	   /* one wake-up of poll and epoll in three gets lost */
	FAULT_FIONREAD,	   /* FIONREAD answers 0 */
	FAULT_PEEK,	   /* MSG_PEEK takes what it shows */
	FAULT_TCP,	   /* MPTCP sockets are TCP sockets, which the map takes */
	FAULT_SILENT,	   /* room to write and completions are never told */
	FAULT_EARLY,	   /* readable, and read, before as much is there as was asked for */
	FAULT_INLINE,	   /* urgent bytes are among the others */
};

struct settings {
	enum fault fault;
	/* Instead of what the check asks for, when `steered`. */
	enum steering steering;
	bool steered;
	/* Seconds that something may take that happens at once on a good kernel. */
	double deadline;
	uint32_t sockets_id, counts_id;
};
extern struct settings settings;

struct check {
	const char *name;
	void (*run)(void);
};

/* The end of a check, and of its process. */
__attribute__((noreturn, format(printf, 1, 2))) void ok(const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void broken(const char *format, ...);
/* The check could not be made; errno's text is added when it is not 0. */
__attribute__((noreturn, format(printf, 1, 2))) void untested(const char *format, ...);

/* pair.c: two connected sockets */
#define CLIENT	  1
#define SERVER	  2
#define BOTH_ENDS (CLIENT | SERVER)

/* Of the map's key; bpf/contract.bpf.c has it too. */
struct entry_key {
	uint32_t local, remote;
	uint32_t local_port, remote_port;
};

struct pair_options {
	enum steering steering;
	/* Who is in the map. */
	int ends;
	/* Whose reads and writes block. */
	int blocking;
	/* Connections that the programs tell apart; 0 to 15. */
	int lane;
	/* SO_SNDBUF and SO_RCVBUF; 0 leaves them. */
	int buffer;
	int protocol;
	/* Sockets of IPv6 with IPv4-mapped addresses, as of servers that listen on ::. */
	bool mapped;
};
struct pair {
	int client, server;
	unsigned how;
};
/* Of bpf/contract.bpf.c. */
enum lane { LANE_MPTCP = 1, LANE_SMALL_BUDGET = 2 };
struct pair open_pair(struct pair_options options);
struct pair guarded_pair(void);
int open_listener(unsigned how, struct pair_options options, union address *address);
unsigned how_of(struct pair_options options);
void close_pair(struct pair *pair);
void set_blocking(int fd, bool blocking);
struct entry_key key_of(int fd);

/* path.c: which way bytes went, as TCP_INFO tells */
uint32_t segments_received(int fd);
uint64_t bytes_received(int fd);
bool is_fin_wait2(int fd);
/* Ends the check as untested when bytes went another way than it is about. */
void expect_redirected(int receiver);
void expect_plain(int receiver);

/* maps.c */
struct counts {
	uint64_t enrolled, refused, redirected, passed;
};
struct counts read_counts(unsigned how);
bool has_maps(void);
int delete_entry(const struct entry_key *key);
/* Into the map when established and used already, as the agent does; nothing without programs. */
void enrol_late(const struct pair *pair, int ends);

/* io.c: system calls, with the fault that was asked for */
ssize_t io_receive(int fd, void *buffer, size_t size, int flags);
int io_poll(struct pollfd *fds, int count, double seconds);
int io_epoll(int epoll, struct epoll_event *event, double seconds);
int io_available(int fd);
ssize_t io_splice_out(int socket, int pipe, size_t size);
void io_before_oob(int fd);
int io_mptcp(void);

/* stream.c: checked bytes */
enum ending { END_LIMIT, END_EOF, END_ERROR, END_TIMEOUT };
struct received {
	uint64_t bytes;
	/* Offset of the first byte that is another than was sent; UINT64_MAX: none. */
	uint64_t wrong;
	enum ending ending;
	int error;
};
/* Until `limit` bytes, a wrong one, the end, or the deadline without any. */
struct received receive_stream(int fd, uint64_t seed, uint64_t limit);
void receive_more(int fd, uint64_t seed, uint64_t limit, struct received *so_far);
/* Ends the check unless exactly `bytes` came, in order, and ended so. */
void expect_received(const struct received *got, uint64_t bytes, enum ending ending,
		     const char *when);
/* All at once, or the check ends: for what a budget and the buffers hold. */
void send_stream(int fd, uint64_t seed, uint64_t offset, size_t size);
size_t random_below(size_t bound);
/* False when the deadline came first. */
bool await(int fd, short events);
/* Looks again and again instead: some kernels crash when redirected bytes are polled for
 * (RHEL 8.1). */
void never_poll(void);
bool readable_now(int fd);

/* reader.c: a thread that reads blocking */
struct reader {
	pthread_t thread;
	int fd, flags;
	size_t size;
	int done;
	atomic_int tid;
	ssize_t result;
	int error;
	char bytes[4096];
};
void start_reader(struct reader *reader, int fd, size_t size, int flags);
/* Sleeps in the kernel where a signal would wake it. */
bool thread_sleeps(int tid);
/* True when it sleeps in the kernel, false when it has returned. */
bool reader_sleeps(struct reader *reader);
/* Waits until it has returned, or the check ends as broken. */
void join_reader(struct reader *reader, const char *when);

/* calibrate.c: the slowest wake-up of this machine just now, in seconds */
double slowest_wake_up(void);

#endif
