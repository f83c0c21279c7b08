// SPDX-License-Identifier: Apache-2.0
/* The --blocking form of shunt-load: a thread for each connection, as simple clients are written.
 */
#ifndef SHUNT_TOOLS_LOAD_BLOCKING_H
#define SHUNT_TOOLS_LOAD_BLOCKING_H

#include "load-report.h"

/* Takes one unit of work and answers its number, or 0; see shunt-load.c. */
static uint64_t take(void);

static uint64_t take_locked(void)
{
	pthread_mutex_lock(&report_lock);
	uint64_t id = take();
	pthread_mutex_unlock(&report_lock);
	return id;
}

static void fail_locked(const char *text, int error)
{
	pthread_mutex_lock(&report_lock);
	report_error(text, error);
	pthread_mutex_unlock(&report_lock);
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t sent = send(fd, data + done, size - done, MSG_NOSIGNAL);
		if (sent < 0)
			return fail_locked("send", errno), false;
		done += sent;
	}
	return true;
}

static bool read_all(int fd, uint8_t *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t length = read(fd, data + done, size - done);
		if (length <= 0)
			return fail_locked(length ? "read" : "closed by the server",
					   length ? errno : 0),
			       false;
		done += length;
	}
	return true;
}

/* Sends `size` bytes of stream `id` and reads as many back, in pieces that fit every socket buffer.
 */
static bool exchange(int fd, uint64_t id, uint64_t size)
{
	uint8_t out[8192], in[8192];

	for (uint64_t done = 0; done < size;) {
		size_t piece = size - done < sizeof(out) ? size - done : sizeof(out);
		stream_fill(id, done, out, piece);
		if (!write_all(fd, out, piece) || !read_all(fd, in, piece))
			return false;
		pthread_mutex_lock(&report_lock);
		report.sent += piece;
		report.received += piece;
		if (options.test == TEST_VERIFY)
			check_stream(id, done, in, piece);
		pthread_mutex_unlock(&report_lock);
		done += piece;
	}
	return true;
}

/* After the half-close the echo must end exactly there. */
static bool expect_end(int fd, uint64_t size)
{
	uint8_t surplus;

	shutdown(fd, SHUT_WR);
	ssize_t length = read(fd, &surplus, 1);
	if (length < 0)
		return fail_locked("read", errno), false;
	pthread_mutex_lock(&report_lock);
	check_length(size + length, size);
	pthread_mutex_unlock(&report_lock);
	return true;
}

static void finish_request(double started)
{
	double now = now_seconds();

	pthread_mutex_lock(&report_lock);
	record_latency(now - started);
	report.requests++;
	pthread_mutex_unlock(&report_lock);
}

static void use_connection(int fd, uint64_t id, double started)
{
	if (connect(fd, &options.address.any, options.address_size) < 0)
		return fail_locked("connect", errno);
	do {
		if (!exchange(fd, id, options.size))
			return;
		if (options.test == TEST_VERIFY && !expect_end(fd, options.size))
			return;
		finish_request(started);
		started = now_seconds();
	} while (options.test == TEST_RR && take_locked());
	if (options.test == TEST_RST)
		reset_on_close(fd);
}

static void *blocking_thread(void *unused)
{
	for (uint64_t id; (id = take_locked());) {
		double started = now_seconds();
		int fd = socket(options.address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0) {
			fail_locked("socket", errno);
			continue;
		}
		/* SO_SNDTIMEO bounds connect() too. */
		set_timeouts(fd, options.idle);
		set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		use_connection(fd, id, started);
		close(fd);
	}
	return unused;
}

static void run_blocking(void)
{
	pthread_t *threads = calloc(options.connections, sizeof(*threads));
	uint64_t count = 0;

	if (!threads)
		die("calloc");
	while (count < options.connections &&
	       pthread_create(&threads[count], NULL, blocking_thread, NULL) == 0)
		count++;
	if (count < options.connections)
		fail_locked("pthread_create", EAGAIN);
	for (uint64_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

#endif
