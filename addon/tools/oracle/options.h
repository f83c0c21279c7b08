// SPDX-License-Identifier: Apache-2.0
/* The command line of shunt-oracle. */
#ifndef SHUNT_ORACLE_OPTIONS_H
#define SHUNT_ORACLE_OPTIONS_H

#include "../net.h"
#include "scenario.h"

enum command { COMMAND_SERVE, COMMAND_RUN, COMMAND_RELAY };

enum fault {
	FAULT_NONE,
	FAULT_SWAP,
	FAULT_DROP,
	FAULT_DUPLICATE,
	FAULT_FLIP,
	FAULT_INSERT,
	FAULT_STALL,
	FAULT_SWALLOW_EOF,
	FAULT_EARLY_EOF,
	FAULT_RESET,
	FAULTS,
};

struct options {
	enum command command;
	union address address, target;
	socklen_t address_size;
	const char *address_text;
	uint16_t port;
	struct wishes wishes;
	uint64_t connections, concurrency;
	int64_t number; /* the only one; -1: all */
	double stall;
	bool deaths, until_stdin_closes;
	enum fault fault;
	uint64_t after, every;
	bool upwards, downwards;
};

extern struct options options;

void parse_command_line(int argc, char **argv);
/* `address` with another port. */
union address with_port(union address address, uint16_t port);

int run_server(void);
int run_client(void);
int run_relay(void);

/* Starts a thread nobody waits for. */
void start_thread(void *(*run)(void *), void *argument);
/* SIGTERM, SIGINT and SIGUSR1 are taken by take_signal alone. */
void block_signals(void);
/* The next one, or 0 when `milliseconds` are over. */
int take_signal(int milliseconds);

#endif
