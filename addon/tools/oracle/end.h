// SPDX-License-Identifier: Apache-2.0
/* One end of a connection while it lives. */
#ifndef SHUNT_ORACLE_END_H
#define SHUNT_ORACLE_END_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "check.h"
#include "random.h"
#include "report.h"
#include "scenario.h"

#define CALL_SIZE 131072

enum writer_state {
	WRITER_CAN_SEND,
	WRITER_WAITS,	 /* for bytes or the end of the other direction */
	WRITER_MUST_END, /* everything is sent */
	WRITER_DONE,
};

struct end {
	int fd;
	bool server;
	struct scenario scenario;
	const struct plan *plan, *other;
	struct random reader_random, writer_random;
	struct check check;
	struct gate out_gate, in_gate;
	struct connection_report result;
	bool deaths;
	/* Written by one thread, read by another and by the watchdog. */
	_Atomic uint64_t sent, received;
	_Atomic double progress;
	_Atomic bool eof, read_failed, write_failed, write_ended, over, aborted;
	_Atomic bool awaits_read, awaits_write, noted;
	pthread_t reader;
	_Atomic bool has_reader;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	/* How it writes and reads. */
	uint8_t *out, *in, *peeked;
	int file, out_pipe[2], in_pipe[2];
	uint64_t piped; /* bytes in out_pipe */
	uint32_t zerocopy_sent, zerocopy_done;
	int low_water;
	bool urgent_sent;
	int poller;
	struct end *next, **previous; /* of all that live */
};

/* SIGUSR1 lets idle readers read. */
extern _Atomic bool readers_released;
void release_readers(void);

void end_open(struct end *end, int fd, bool server, const struct scenario *scenario,
	      uint64_t received);
/* Lives through the connection to its end, closes the socket and reports. */
void end_run(struct end *end);
void end_moved(struct end *end);
enum writer_state end_writer_state(struct end *end);
/* Does what the plan says about the end of writing. */
void end_finish_writing(struct end *end);
static inline bool end_reading_done(struct end *end)
{
	return end->eof || end->read_failed || end->over || end->aborted;
}
bool end_is_over(struct end *end);
/* It leaves unread what there is. */
bool end_is_idle(const struct end *end);
/* An error of `operation`: counts it, and whether TCP would have given it. */
void end_error(struct end *end, enum operation operation, int error);
/* Whether a RST is part of the scenario, made by the other end. */
bool end_expects_reset(const struct end *end);

/* One call that writes; as write(2). Never more than the gate allows. */
void source_open(struct end *end);
ssize_t source_write(struct end *end, uint64_t limit);
void source_close(struct end *end);
/* Takes completions; true when all have come. */
bool zerocopy_drain(struct end *end);

/* One call that reads, and the check of what came; as read(2). */
void sink_open(struct end *end);
ssize_t sink_read(struct end *end);
void sink_close(struct end *end);

void run_polling(struct end *end);
void run_blocking(struct end *end);
void take_pause(uint32_t microseconds);
/* Bytes that an end was given and TCP does not know of: they went another way. */
void past_tcp(int fd, uint64_t sent, uint64_t received, uint64_t *past_sent,
	      uint64_t *past_received);

void watchdog_add(struct end *end);
void watchdog_remove(struct end *end);
double clock_now(void);

#endif
