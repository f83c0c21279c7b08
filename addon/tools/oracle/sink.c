// SPDX-License-Identifier: Apache-2.0
/* Ways to read. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "../net.h"
#include "end.h"

#define LARGEST_LOW_WATER 1024

void sink_close(struct end *end)
{
	free(end->in);
	free(end->peeked);
	if (end->in_pipe[0] >= 0) {
		close(end->in_pipe[0]);
		close(end->in_pipe[1]);
	}
}

static ssize_t read_pieces(struct end *end, size_t size)
{
	size_t first = below(&end->reader_random, size + 1);
	struct iovec pieces[2] = {{end->in, first}, {end->in + first, size - first}};

	return readv(end->fd, pieces, 2);
}

static ssize_t read_peeked(struct end *end, size_t size)
{
	ssize_t peeked = recv(end->fd, end->peeked, size, MSG_PEEK);

	if (peeked <= 0)
		return peeked;
	ssize_t got = recv(end->fd, end->in, peeked, 0);
	if (got >= 0 && (got != peeked || memcmp(end->in, end->peeked, got)))
		end->result.deviations[PEEK_DIFFERS]++;
	return got;
}

static ssize_t read_counted(struct end *end, size_t size)
{
	struct pollfd ready = {.fd = end->fd, .events = POLLIN};
	int waiting = 0;

	/* A blocking reader that asks for the number first waits for it. */
	if (!(fcntl(end->fd, F_GETFL) & O_NONBLOCK) && poll(&ready, 1, -1) < 0)
		return -1;
	if (ioctl(end->fd, FIONREAD, &waiting) < 0)
		return -1;
	if (waiting > 0 && (size_t)waiting < size)
		size = waiting;
	ssize_t got = recv(end->fd, end->in, size, 0);
	/* Bytes that come between the two calls can't make it smaller, and only 0 leaves `size` as
	 * it was. */
	if (waiting > 0 && got >= 0 && (size_t)got < size)
		end->result.deviations[FIONREAD_WRONG]++;
	if (waiting == 0 && got > 0 && ready.revents & POLLIN)
		end->result.deviations[FIONREAD_WRONG]++;
	return got;
}

static ssize_t read_all(struct end *end, size_t size)
{
	/* What the other end sends without an answer to what we have not sent yet. */
	uint64_t limit = gate_limit(&end->in_gate, &end->scenario, !end->server, end->sent);
	uint64_t left = limit > end->received ? limit - end->received : 0;

	size = size < left ? size : left;
	if (size == 0)
		return recv(end->fd, end->in, 1, 0);
	ssize_t got = recv(end->fd, end->in, size, MSG_WAITALL);
	if (got > 0 && (size_t)got < size && !end_expects_reset(end) && !end->aborted &&
	    !end->over && !end->deaths)
		end->result.deviations[WAITALL_SHORT]++;
	return got;
}

/* Never above what is still to come: nobody would tell of the rest. */
static void set_low_water(struct end *end)
{
	uint64_t left = end->other->total > end->received ? end->other->total - end->received : 0;
	int wanted = 1 + mixed(end->scenario.seed) % LARGEST_LOW_WATER;

	if (end->plan->reading != READ_LOWAT || end->deaths || end_expects_reset(end))
		return;
	wanted = left == 0 ? 1 : (uint64_t)wanted < left ? wanted : (int)left;
	if (wanted == end->low_water)
		return;
	set_int(end->fd, SOL_SOCKET, SO_RCVLOWAT, wanted);
	end->low_water = wanted;
}

void sink_open(struct end *end)
{
	end->in_pipe[0] = end->in_pipe[1] = -1;
	end->in = malloc(CALL_SIZE);
	end->peeked = end->plan->reading == READ_PEEK ? malloc(CALL_SIZE) : NULL;
	if (!end->in || (end->plan->reading == READ_PEEK && !end->peeked))
		die("malloc");
	if (end->plan->reading == READ_SPLICE && pipe2(end->in_pipe, O_CLOEXEC) < 0)
		die("pipe2");
	end->low_water = 1;
	set_low_water(end);
}

static ssize_t read_above_low_water(struct end *end, size_t size)
{
	struct pollfd ready = {.fd = end->fd, .events = POLLIN};
	bool blocks = !(fcntl(end->fd, F_GETFL) & O_NONBLOCK);
	int wanted = end->low_water, count = poll(&ready, 1, blocks ? -1 : 0);

	if (count < 0)
		return -1;
	if (count == 0) {
		errno = EAGAIN;
		return -1;
	}
	size = size > (size_t)wanted ? size : (size_t)wanted;
	ssize_t got = recv(end->fd, end->in, size, 0);
	if (got > 0 && got < wanted && !end->aborted && !end->over)
		end->result.deviations[LOWAT_EARLY]++;
	return got;
}

#ifdef ORACLE_SPLICE
static ssize_t read_spliced(struct end *end, size_t size)
{
	bool polls = fcntl(end->fd, F_GETFL) & O_NONBLOCK;
	ssize_t moved = splice(end->fd, NULL, end->in_pipe[1], NULL, size < 65536 ? size : 65536,
			       SPLICE_F_MOVE | (polls ? SPLICE_F_NONBLOCK : 0));

	for (ssize_t done = 0, got; done < moved; done += got)
		if ((got = read(end->in_pipe[0], end->in + done, moved - done)) <= 0)
			die("read from a pipe");
	return moved;
}
#else
static ssize_t read_spliced(struct end *end, size_t size)
{
	(void)end, (void)size;
	errno = ENOSYS;
	return -1;
}
#endif

static ssize_t read_somehow(struct end *end, size_t size)
{
	switch (end->plan->reading) {
	case READ_READV:
		return read_pieces(end, size);
	case READ_PEEK:
		return read_peeked(end, size);
	case READ_FIONREAD:
		return read_counted(end, size);
	case READ_WAITALL:
		return read_all(end, size);
	case READ_LOWAT:
		return read_above_low_water(end, size);
	case READ_SPLICE:
		return read_spliced(end, size);
	default:
		return recv(end->fd, end->in, size, 0);
	}
}

/* Urgent data is asked for before the stream is read past it. */
static void read_urgent(struct end *end)
{
	struct pollfd ready = {.fd = end->fd, .events = POLLIN | POLLPRI};
	bool blocks = !(fcntl(end->fd, F_GETFL) & O_NONBLOCK);
	char byte;

	if (!end->server || !end->scenario.oob_at || end->result.urgent)
		return;
	if (poll(&ready, 1, blocks ? -1 : 0) > 0 && ready.revents & POLLPRI &&
	    recv(end->fd, &byte, 1, MSG_OOB) == 1 && byte == '!')
		end->result.urgent = true;
}

ssize_t sink_read(struct end *end)
{
	size_t size = 1 + below(&end->reader_random, end->plan->read_size);

	read_urgent(end);
	ssize_t got = read_somehow(end, size < CALL_SIZE ? size : CALL_SIZE);
	if (got > 0) {
		int error = errno;
		check_bytes(&end->check, end->in, got);
		end->received += got;
		set_low_water(end);
		errno = error;
	}
	return got;
}
