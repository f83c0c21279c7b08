// SPDX-License-Identifier: Apache-2.0
/* A relay that does one thing wrong: proof that the oracle notices. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "end.h"
#include "listeners.h"
#include "options.h"

#define CHUNK 16384
/* Bytes that are swapped with as many, dropped, or repeated. */
#define PART 64

struct link {
	int fds[2]; /* client's, server's */
	bool faulty;
	_Atomic int pumps;
};

struct pump {
	struct link *link;
	bool down;
	uint64_t passed;
	bool done_wrong;
	uint8_t held[CHUNK + 2 * PART];
	size_t size;
};

static bool send_all(int fd, const uint8_t *data, size_t size)
{
	for (ssize_t sent; size > 0; data += sent, size -= sent)
		if ((sent = send(fd, data, size, MSG_NOSIGNAL)) <= 0)
			return false;
	return true;
}

static void break_off(struct link *link)
{
	for (int i = 0; i < 2; i++) {
		reset_on_close(link->fds[i]);
		/* Wakes the other pump, and is silent. */
		shutdown(link->fds[i], SHUT_RD);
	}
}

static void leave(struct link *link)
{
	if (--link->pumps > 0)
		return;
	close(link->fds[0]);
	close(link->fds[1]);
	free(link);
}

static void swap_halves(uint8_t *bytes, size_t half)
{
	uint8_t first[PART];

	memcpy(first, bytes, half);
	memmove(bytes, bytes + half, half);
	memcpy(bytes + half, first, half);
}

/* Changes what is held, of which `at` bytes precede the fault. */
static void spoil(struct pump *pump, size_t at)
{
	size_t there = pump->size - at, part = there / 2 < PART ? there / 2 : PART;
	uint8_t *bytes = pump->held + at;

	switch (options.fault) {
	case FAULT_SWAP:
		swap_halves(bytes, part);
		break;
	case FAULT_DROP:
		memmove(bytes, bytes + part, there - part);
		pump->size -= part;
		break;
	case FAULT_DUPLICATE:
		memmove(bytes + part, bytes, there);
		pump->size += part;
		break;
	case FAULT_INSERT:
		memmove(bytes + 1, bytes, there);
		bytes[0] = '!';
		pump->size++;
		break;
	case FAULT_FLIP:
		bytes[0] ^= 1;
		break;
	default:
		break;
	}
}

/* False: this direction is over. */
static bool do_wrong(struct pump *pump, int to, size_t at)
{
	pump->done_wrong = true;
	switch (options.fault) {
	case FAULT_STALL:
		send_all(to, pump->held, at);
		for (;;)
			take_pause(1000000);
	case FAULT_RESET:
		send_all(to, pump->held, at);
		break_off(pump->link);
		return false;
	case FAULT_EARLY_EOF:
		send_all(to, pump->held, at);
		shutdown(to, SHUT_WR);
		while (recv(pump->link->fds[pump->down], pump->held, CHUNK, 0) > 0)
			;
		return false;
	default:
		spoil(pump, at);
		return true;
	}
}

static bool comes_more(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, 20) > 0;
}

static void pump_bytes(struct pump *pump)
{
	int from = pump->link->fds[pump->down], to = pump->link->fds[!pump->down];
	bool wrong = pump->link->faulty && (pump->down ? options.downwards : options.upwards);

	for (;;) {
		ssize_t got = recv(from, pump->held + pump->size, CHUNK - pump->size, 0);
		if (got < 0)
			return break_off(pump->link);
		bool end = got == 0;
		pump->size += got;
		if (wrong && !pump->done_wrong && pump->passed + pump->size > options.after) {
			size_t at = options.after > pump->passed ? options.after - pump->passed : 0;
			if (pump->size - at < 2 * PART && !end && comes_more(from))
				continue;
			if (!do_wrong(pump, to, at))
				return;
		}
		if (!send_all(to, pump->held, pump->size))
			return break_off(pump->link);
		pump->passed += pump->size;
		pump->size = 0;
		if (!end)
			continue;
		/* Leaving would close, which tells the end as well. */
		while (wrong && options.fault == FAULT_SWALLOW_EOF)
			take_pause(1000000);
		shutdown(to, SHUT_WR);
		return;
	}
}

static void *run_pump(void *argument)
{
	struct pump *pump = argument;

	pump_bytes(pump);
	leave(pump->link);
	free(pump);
	return NULL;
}

static void start_pump(struct link *link, bool down)
{
	struct pump *pump = calloc(1, sizeof(*pump));

	if (!pump)
		die("calloc");
	pump->link = link;
	pump->down = down;
	start_thread(run_pump, pump);
}

static void relay(int client, uint16_t port, bool faulty)
{
	union address target = with_port(options.target, port);
	bool v6 = target.any.sa_family == AF_INET6;
	int server = socket(target.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct link *link = malloc(sizeof(*link));

	if (server < 0 || !link)
		die("socket");
	if (connect(server, &target.any, v6 ? sizeof(target.v6) : sizeof(target.v4)) < 0) {
		reset_on_close(client);
		close(client);
		close(server);
		free(link);
		return;
	}
	*link = (struct link){.fds = {client, server}, .faulty = faulty, .pumps = 2};
	start_pump(link, false);
	start_pump(link, true);
}

static void *accept_all(void *argument)
{
	struct listener *listener = argument;
	bool v6 = options.target.any.sa_family == AF_INET6;
	uint16_t first = ntohs(v6 ? options.target.v6.sin6_port : options.target.v4.sin_port);
	static _Atomic uint64_t accepted;

	for (;;) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			relay(fd, first + listener->kind, accepted++ % options.every == 0);
	}
	return NULL;
}

int run_relay(void)
{
	static struct listener listeners[LISTENERS];
	uint16_t port = open_listeners(listeners, false);

	for (int i = 0; i < LISTENERS; i++)
		start_thread(accept_all, &listeners[i]);
	printf("ready %s %u\n", options.address_text, port);
	fflush(stdout);
	while (take_signal(1000) == 0)
		;
	return 0;
}
