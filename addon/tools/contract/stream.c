// SPDX-License-Identifier: Apache-2.0
#include "contract.h"

#define CHUNK (1 << 16)

size_t random_below(size_t bound)
{
	static uint64_t state = 1;

	return stream_word(7, state++) % bound;
}

static bool looks_again;

void never_poll(void)
{
	looks_again = true;
}

bool await(int fd, short events)
{
	struct pollfd wait = {.fd = fd, .events = events};

	if (looks_again) {
		usleep(200);
		return true;
	}
	return io_poll(&wait, 1, settings.deadline) > 0 && wait.revents;
}

/* Without the faults: for what a check only has to know. */
bool readable_now(int fd)
{
	struct pollfd now = {.fd = fd, .events = POLLIN};

	return poll(&now, 1, 0) > 0;
}

static void compare(const uint8_t *bytes, size_t size, uint64_t seed, struct received *got)
{
	static uint8_t wanted[CHUNK];

	stream_fill(seed, got->bytes, wanted, size);
	for (size_t i = 0; i < size && got->wrong == UINT64_MAX; i++)
		if (bytes[i] != wanted[i])
			got->wrong = got->bytes + i;
	got->bytes += size;
}

void receive_more(int fd, uint64_t seed, uint64_t limit, struct received *got)
{
	static uint8_t bytes[CHUNK];
	double deadline = now_seconds() + settings.deadline;

	got->ending = END_LIMIT;
	while (got->bytes < limit) {
		size_t size = limit - got->bytes < CHUNK ? limit - got->bytes : CHUNK;
		ssize_t count = io_receive(fd, bytes, size, 0);

		if (count > 0) {
			compare(bytes, count, seed, got);
			/* Whatever else comes: this is wrong already. */
			if (got->wrong != UINT64_MAX)
				return;
			deadline = now_seconds() + settings.deadline;
		} else if (count == 0) {
			got->ending = END_EOF;
			return;
		} else if (!would_block()) {
			got->ending = END_ERROR;
			got->error = errno;
			return;
		} else if (!await(fd, POLLIN) || now_seconds() > deadline) {
			got->ending = END_TIMEOUT;
			return;
		}
	}
}

struct received receive_stream(int fd, uint64_t seed, uint64_t limit)
{
	struct received got = {.wrong = UINT64_MAX};

	receive_more(fd, seed, limit, &got);
	return got;
}

static const char *name_of(const struct received *got)
{
	switch (got->ending) {
	case END_EOF:
		return "the end of the stream";
	case END_ERROR:
		return strerror(got->error);
	case END_TIMEOUT:
		return "nothing more";
	default:
		return "more";
	}
}

void expect_received(const struct received *got, uint64_t bytes, enum ending ending,
		     const char *when)
{
	if (got->wrong != UINT64_MAX)
		broken("%s: byte %llu is not the one that was sent", when,
		       (unsigned long long)got->wrong);
	if (got->bytes != bytes)
		broken("%s: %llu of %llu bytes came, then %s", when, (unsigned long long)got->bytes,
		       (unsigned long long)bytes, name_of(got));
	if (got->ending != ending) {
		struct received wanted = {.ending = ending, .error = ECONNRESET};

		broken("%s: after the last byte came %s, not %s", when, name_of(got),
		       name_of(&wanted));
	}
}

void send_stream(int fd, uint64_t seed, uint64_t offset, size_t size)
{
	static uint8_t bytes[CHUNK];

	while (size > 0) {
		size_t part = size < CHUNK ? size : CHUNK;
		ssize_t count;

		stream_fill(seed, offset, bytes, part);
		count = send(fd, bytes, part, MSG_NOSIGNAL);
		if (count < 0 && would_block() && await(fd, POLLOUT))
			continue;
		if (count < 0)
			broken("send: %s", strerror(errno));
		offset += count;
		size -= count;
	}
}
