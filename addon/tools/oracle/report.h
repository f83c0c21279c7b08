// SPDX-License-Identifier: Apache-2.0
/* What the connections of this process came to, as one line of JSON. */
#ifndef SHUNT_ORACLE_REPORT_H
#define SHUNT_ORACLE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "scenario.h"

/* What plain TCP does not do, counted by kind. */
enum deviation {
	FALSE_EOF,	  /* end of the stream before its last byte */
	WAITALL_SHORT,	  /* MSG_WAITALL returned fewer bytes than were to come */
	LOWAT_EARLY,	  /* readable below SO_RCVLOWAT */
	FIONREAD_WRONG,	  /* another number of bytes than could be read */
	PEEK_DIFFERS,	  /* MSG_PEEK showed other bytes than were read */
	EMPTY_READABLE,	  /* readable, with nothing to read */
	ZEROCOPY_MISSING, /* completions that never came */
	DEVIATIONS,
};

enum operation { OP_CONNECT, OP_RECV, OP_SEND, OP_SHUTDOWN, OP_POLL, OPERATIONS };

struct connection_report {
	const struct scenario *scenario; /* NULL: it was never told */
	struct verdict verdict;
	uint64_t sent, received;
	uint64_t past_sent, past_received; /* of them, not seen by TCP */
	uint64_t bad_at;
	uint32_t deviations[DEVIATIONS];
	bool stuck, reset, died, urgent;
	uint16_t local_port;
};

void report_error(enum operation operation, int error, bool as_tcp);
void report_connection(const struct connection_report *connection);
void report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A connection that ended in RST before its scenario was known. */
void report_before_header(void);
/* How often a local port had to be waited for. */
void report_port_wait(void);
/* Prints it; true when nothing is wrong. */
bool report_print(const char *end, uint64_t seed, double seconds);

#endif
