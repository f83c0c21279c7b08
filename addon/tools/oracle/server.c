// SPDX-License-Identifier: Apache-2.0
/* Accepts on all its ports and does in each connection what the client says. */
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "end.h"
#include "listeners.h"
#include "options.h"
#include "stream.h"
#include "watchdog.h"

/* Ends by itself as well when what has come so far does not end. */
#define PATIENCE_SECONDS 60

static _Atomic uint64_t active;
static _Atomic bool closing;

/* Bytes read, or -1. Waits with poll, whatever the socket is. */
static ssize_t read_up_to(int fd, uint8_t *buffer, size_t size, double seconds)
{
	size_t got = 0;

	while (got < size) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int count = poll(&ready, 1, seconds * 1000);
		if (count < 0 && errno == EINTR)
			continue;
		if (count == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		ssize_t part = recv(fd, buffer + got, size - got, 0);
		if (part < 0 && errno == EAGAIN)
			continue;
		if (part < 0)
			return -1;
		if (part == 0)
			break;
		got += part;
	}
	return got;
}

/* The header did not come first: does it come later, or not at all? */
static void judge_headless(int fd, const uint8_t *header)
{
	uint64_t magic = MAGIC;
	uint8_t *buffer = malloc(65536);
	struct connection_report report = {.bad_at = 0};

	if (!buffer)
		die("malloc");
	memcpy(buffer, header, HEADER_SIZE);
	size_t size = HEADER_SIZE;
	for (ssize_t part; size < 65536 && (part = read_up_to(fd, buffer + size, 1, 0.3)) > 0;
	     size += part)
		;
	if (memmem(buffer, size, &magic, sizeof(magic)))
		report.verdict.reordered = HEADER_SIZE;
	else
		report.verdict.corrupt = HEADER_SIZE;
	free(buffer);
	report_connection(&report);
	reset_on_close(fd);
}

/* False: there is no connection to go on with. */
static bool take_header(int fd, struct scenario *scenario)
{
	struct connection_report report = {0};
	ssize_t got = read_up_to(fd, (uint8_t *)scenario, HEADER_SIZE, options.stall);

	if (got == HEADER_SIZE && scenario->magic == MAGIC)
		return true;
	if (got == HEADER_SIZE) {
		judge_headless(fd, (uint8_t *)scenario);
	} else if (got < 0 && errno == ECONNRESET) {
		report_before_header();
	} else {
		report.stuck = got < 0;
		report.deviations[FALSE_EOF] = got >= 0;
		report_note("a header did not come: %zd bytes, %s", got,
			    got < 0 ? strerror(errno) : "then the end");
		report_connection(&report);
	}
	return false;
}

static void send_banner(int fd)
{
	uint8_t banner[BANNER_SIZE];

	stream_bytes(BANNER_SEED, 0, banner, sizeof(banner));
	/* An empty send queue takes it as a whole. */
	if (send(fd, banner, sizeof(banner), MSG_NOSIGNAL) < 0)
		report_note("the banner could not be sent: %s", strerror(errno));
}

struct accepted {
	int fd;
	uint8_t kind;
};

static void *serve(void *argument)
{
	struct accepted accepted = *(struct accepted *)argument;
	struct scenario scenario;
	struct end end = {.deaths = options.deaths};

	free(argument);
	if (accepted.kind / 2 * 2 == LISTEN_BANNER)
		send_banner(accepted.fd);
	if (take_header(accepted.fd, &scenario)) {
		end_open(&end, accepted.fd, true, &scenario, HEADER_SIZE);
		end_run(&end);
	} else {
		close(accepted.fd);
	}
	active--;
	return NULL;
}

static void *accept_all(void *argument)
{
	struct listener *listener = argument;
	bool polls = !(listener->kind & LISTEN_BLOCKING);

	for (uint64_t i = 0; !closing; i++) {
		/* Programs do it in either way: at once or afterwards. */
		bool at_once = i % 2;
		int fd = accept4(listener->fd, NULL, NULL,
				 SOCK_CLOEXEC | (polls && at_once ? SOCK_NONBLOCK : 0));
		if (fd < 0)
			continue;
		if (polls && !at_once)
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		struct accepted *accepted = malloc(sizeof(*accepted));
		if (!accepted)
			die("malloc");
		*accepted = (struct accepted){fd, listener->kind};
		active++;
		start_thread(serve, accepted);
	}
	return NULL;
}

int run_server(void)
{
	static struct listener listeners[LISTENERS];
	double start = now_seconds();
	uint16_t port = open_listeners(listeners, true);

	watchdog_start(options.stall);
	for (int i = 0; i < LISTENERS; i++)
		start_thread(accept_all, &listeners[i]);
	printf("ready %s %u\n", options.address_text, port);
	fflush(stdout);
	for (int signal; (signal = take_signal(1000)) != SIGTERM && signal != SIGINT;)
		if (signal == SIGUSR1)
			release_readers();
	release_readers();
	for (double end = now_seconds() + PATIENCE_SECONDS; active && now_seconds() < end;)
		take_pause(5000);
	closing = true;
	return !report_print("server", 0, now_seconds() - start);
}
