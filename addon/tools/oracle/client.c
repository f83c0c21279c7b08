// SPDX-License-Identifier: Apache-2.0
/* Makes connections, so many at a time, each by its own scenario. */
#include <poll.h>
#include <stdatomic.h>

#include "end.h"
#include "options.h"
#include "stream.h"
#include "watchdog.h"

static _Atomic uint64_t next_number, working;
static _Atomic bool stopped;

static int connect_once(const struct scenario *scenario)
{
	union address address = with_port(options.address, options.port + scenario->listener);
	bool polls = !scenario->client.blocking;
	int fd = socket(address.any.sa_family,
			SOCK_STREAM | SOCK_CLOEXEC | (polls ? SOCK_NONBLOCK : 0), 0);
	int error = 0;
	socklen_t size = sizeof(error);

	if (fd < 0)
		die("socket");
	int done = connect(fd, &address.any, options.address_size);
	if (done < 0 && polls && errno == EINPROGRESS) {
		struct pollfd ready = {.fd = fd, .events = POLLOUT};
		while ((done = poll(&ready, 1, options.stall * 1000)) < 0 && errno == EINTR)
			;
		error = done == 0 ? ETIMEDOUT : 0;
		if (done > 0)
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	} else if (done < 0) {
		error = errno;
	}
	if (error == 0)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

/* Thousands a second leave no port free where TIME_WAIT lasts. */
static int connect_to(const struct scenario *scenario)
{
	double deadline = now_seconds() + 100;

	for (;;) {
		int fd = connect_once(scenario);
		if (fd >= 0 || errno != EADDRNOTAVAIL || now_seconds() > deadline)
			return fd;
		report_port_wait();
		take_pause(20000);
	}
}

/* False: it did not come as it should. */
static bool take_banner(int fd)
{
	uint8_t wanted[BANNER_SIZE], got[BANNER_SIZE];
	size_t size = 0;

	stream_bytes(BANNER_SEED, 0, wanted, sizeof(wanted));
	while (size < sizeof(got)) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int count = poll(&ready, 1, options.stall * 1000);
		if (count < 0 && errno == EINTR)
			continue;
		ssize_t part = count > 0 ? recv(fd, got + size, sizeof(got) - size, 0) : 0;
		if (part < 0 && errno == EAGAIN)
			continue;
		if (part <= 0) {
			report_error(OP_RECV, part < 0 ? errno : ETIMEDOUT, options.deaths);
			return false;
		}
		size += part;
	}
	if (memcmp(wanted, got, sizeof(got)) == 0)
		return true;
	struct connection_report report = {.verdict = {.corrupt = sizeof(got)}};
	report_note("the banner is not what the server said");
	report_connection(&report);
	return false;
}

static void run_one(uint32_t number)
{
	struct scenario scenario;
	struct end end = {.deaths = options.deaths};

	make_scenario(&scenario, &options.wishes, number);
	int fd = connect_to(&scenario);
	if (fd < 0) {
		report_error(OP_CONNECT, errno, options.deaths);
		stopped = options.deaths;
		return;
	}
	if (scenario.listener / 2 * 2 == LISTEN_BANNER && !take_banner(fd)) {
		close(fd);
		stopped = options.deaths;
		return;
	}
	end_open(&end, fd, false, &scenario, 0);
	end_run(&end);
	if (end.result.died)
		stopped = true;
}

static void *work(void *unused)
{
	(void)unused;
	for (;;) {
		uint64_t number = next_number++;
		if (number >= options.connections || stopped)
			break;
		if (options.number < 0 || (uint64_t)options.number == number)
			run_one(number);
	}
	working--;
	return NULL;
}

static void tell_parked(void)
{
	static struct living before;
	static double since;
	static bool told;
	struct living now = watchdog_living();

	if (told || readers_released)
		return;
	if (now.count < options.concurrency || now.sent != before.sent) {
		since = now_seconds();
		before = now;
	} else if (now_seconds() - since > 1) {
		printf("parked %llu connections, %llu bytes sent\n", (unsigned long long)now.count,
		       (unsigned long long)now.sent);
		fflush(stdout);
		told = true;
	}
}

int run_client(void)
{
	double start = now_seconds();

	watchdog_start(options.stall);
	if (options.concurrency > options.connections)
		options.concurrency = options.connections;
	working = options.concurrency;
	for (uint64_t i = 0; i < options.concurrency; i++)
		start_thread(work, NULL);
	while (working) {
		switch (take_signal(options.wishes.idle ? 100 : 10)) {
		case SIGUSR1:
			release_readers();
			break;
		case SIGTERM:
		case SIGINT:
			stopped = true;
			break;
		}
		if (options.wishes.idle)
			tell_parked();
	}
	return !report_print("client", options.wishes.seed, now_seconds() - start);
}
