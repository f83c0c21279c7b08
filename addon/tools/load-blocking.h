// SPDX-License-Identifier: Apache-2.0
/* The --blocking form of shunt-load: a thread for each connection, as simple clients are written.
 */
#ifndef SHUNT_TOOLS_LOAD_BLOCKING_H
#define SHUNT_TOOLS_LOAD_BLOCKING_H

#include "load-report.h"

/* Takes one unit of work and answers its number, or 0; see shunt-load.c. */
static uint64_t take(void);
/* What one connection of bulk moves, or 0 for until the deadline. */
static uint64_t share(void);
static double deadline;

static bool write_all(int fd, const uint8_t *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t sent = send(fd, data + done, size - done, MSG_NOSIGNAL);
		if (sent < 0)
			return report_error("send", errno), false;
		done += sent;
	}
	tally->sent += size;
	return true;
}

static bool read_all(int fd, uint8_t *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t length = read(fd, data + done, size - done);
		if (length <= 0)
			return report_error(length ? "read" : "closed by the server",
					    length ? errno : 0),
			       false;
		done += length;
	}
	tally->received += size;
	return true;
}

/* Sends `size` bytes of stream `id` and reads as many back, in pieces that fit every socket buffer.
 */
static bool exchange(int fd, uint64_t id, uint64_t size)
{
	static __thread uint8_t out[32768], in[32768];

	for (uint64_t done = 0; done < size;) {
		size_t piece = size - done < sizeof(out) ? size - done : sizeof(out);
		if (options.test == TEST_VERIFY)
			stream_fill(id, done, out, piece);
		if (!write_all(fd, out, piece) || !read_all(fd, in, piece))
			return false;
		if (options.test == TEST_VERIFY)
			check_stream(id, done, in, piece);
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
		return report_error("read", errno), false;
	check_length(size + length, size);
	return true;
}

static bool late(void)
{
	return deadline && now_seconds() >= deadline;
}

static void bulk_receive(int fd, uint64_t size)
{
	static __thread uint8_t buffer[65536];
	ssize_t length = 1;

	for (uint64_t done = 0; length > 0 && !late() && (!size || done < size); done += length)
		if ((length = read(fd, buffer, sizeof(buffer))) > 0)
			tally->received += length;
	if (length < 0)
		report_error("read", errno);
}

static void bulk_send(int fd, uint64_t size)
{
	static __thread uint8_t buffer[65536];
	char answer[ANSWER_SIZE] = "";
	uint64_t sent = 0, received = 0;

	while (!late() && (!size || sent < size)) {
		size_t piece = size && size - sent < sizeof(buffer) ? size - sent : sizeof(buffer);
		if (!write_all(fd, buffer, piece))
			return;
		sent += piece;
	}
	shutdown(fd, SHUT_WR);
	for (ssize_t length; (length = read(fd, buffer, sizeof(buffer))) != 0; received += length) {
		if (length < 0)
			return report_error("read", errno);
		keep_answer(answer, received, buffer, length);
	}
	tally->received += received;
	if (options.confirm && answer_problem(answer, sent))
		report_error(answer_problem(answer, sent), 0);
}

static void use_connection(int fd, uint64_t id, double started)
{
	if (connect(fd, &options.address.any, options.address_size) < 0)
		return report_error("connect", errno);
	tally->opened++;
	if (options.test == TEST_BULK)
		return options.receive ? bulk_receive(fd, share()) : bulk_send(fd, share());
	do {
		if (!exchange(fd, id, options.size))
			return;
		if (options.test == TEST_VERIFY && !expect_end(fd, options.size))
			return;
		double now = now_seconds();
		record_request(started, now);
		started = now;
	} while (options.test == TEST_RR && take());
	if (options.test == TEST_RST)
		reset_on_close(fd);
}

static void use_socket(uint64_t id)
{
	double started = now_seconds();
	int fd = socket(options.address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return report_error("socket", errno);
	/* SO_SNDTIMEO bounds connect() too. */
	set_timeouts(fd, options.idle);
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	use_connection(fd, id, started);
	close(fd);
}

static void *blocking_thread(void *argument)
{
	static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;
	uint64_t id;

	tally = argument;
	if (options.test == TEST_BULK)
		use_socket(1);
	else
		while ((id = take()))
			use_socket(id);
	pthread_mutex_lock(&report_lock);
	add_tally(tally);
	pthread_mutex_unlock(&report_lock);
	return NULL;
}

static void run_blocking(void)
{
	pthread_t *threads = calloc(options.connections, sizeof(*threads));
	struct tally *tallies = calloc(options.connections, sizeof(*tallies));
	uint64_t count = 0;

	if (!threads || !tallies)
		die("calloc");
	for (uint64_t i = 0; i < options.connections; i++)
		tallies[i].first_bad_offset = -1;
	while (count < options.connections &&
	       pthread_create(&threads[count], NULL, blocking_thread, &tallies[count]) == 0)
		count++;
	for (uint64_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	if (count < options.connections)
		report_error("pthread_create", EAGAIN);
	free(threads);
	free(tallies);
}

#endif
