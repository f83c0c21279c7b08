// SPDX-License-Identifier: Apache-2.0
/* Ways to write. */
#include <errno.h>
#include <time.h>

/* Needs struct timespec. */
#include <linux/errqueue.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "../net.h"
#include "end.h"
#include "stream.h"

/* The header is the first part of what a client sends. */
static void fill(struct end *end, uint64_t offset, uint8_t *buffer, size_t size)
{
	stream_bytes(stream_seed(&end->scenario, end->server), offset, buffer, size);
	if (end->server || offset >= HEADER_SIZE)
		return;
	size_t part = HEADER_SIZE - offset < size ? HEADER_SIZE - offset : size;
	memcpy(buffer, (uint8_t *)&end->scenario + offset, part);
}

static void *allocate(size_t size)
{
	void *buffer = malloc(size ? size : 1);

	if (!buffer)
		die("malloc");
	return buffer;
}

static void make_file(struct end *end)
{
	end->file = memfd_create("shunt-oracle", MFD_CLOEXEC);
	if (end->file < 0)
		die("memfd_create");
	for (uint64_t done = 0, part; done < end->plan->total; done += part) {
		part = end->plan->total - done < CALL_SIZE ? end->plan->total - done : CALL_SIZE;
		fill(end, done, end->out, part);
		if (pwrite(end->file, end->out, part, done) != (ssize_t)part)
			die("pwrite");
	}
}

void source_open(struct end *end)
{
	bool whole = end->plan->writing == WRITE_ZEROCOPY;

	end->file = end->out_pipe[0] = end->out_pipe[1] = -1;
	/* The kernel reads from it until the completion comes, so each byte has a place of its own.
	 */
	end->out = allocate(whole ? end->plan->total : CALL_SIZE);
	if (whole) {
		fill(end, 0, end->out, end->plan->total);
		set_int(end->fd, SOL_SOCKET, SO_ZEROCOPY, 1);
	}
	if (end->plan->writing == WRITE_SENDFILE)
		make_file(end);
	if (end->plan->writing == WRITE_SPLICE && pipe2(end->out_pipe, O_CLOEXEC) < 0)
		die("pipe2");
}

void source_close(struct end *end)
{
	free(end->out);
	if (end->file >= 0)
		close(end->file);
	if (end->out_pipe[0] >= 0) {
		close(end->out_pipe[0]);
		close(end->out_pipe[1]);
	}
}

static ssize_t write_pieces(struct end *end, uint64_t offset, size_t size)
{
	struct iovec pieces[3];
	size_t first = below(&end->writer_random, size + 1);
	size_t second = below(&end->writer_random, size - first + 1);

	fill(end, offset, end->out, size);
	pieces[0] = (struct iovec){end->out, first};
	pieces[1] = (struct iovec){end->out + first, second};
	pieces[2] = (struct iovec){end->out + first + second, size - first - second};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 3};
	return sendmsg(end->fd, &message, MSG_NOSIGNAL);
}

static ssize_t write_zerocopy(struct end *end, uint64_t offset, size_t size)
{
	ssize_t sent = send(end->fd, end->out + offset, size, MSG_NOSIGNAL | MSG_ZEROCOPY);

	int error = errno;
	if (sent > 0)
		end->zerocopy_sent++;
	/* Too many are under way: TCP says so as well. */
	if (sent < 0 && errno == ENOBUFS) {
		sent = send(end->fd, end->out + offset, size, MSG_NOSIGNAL);
		error = errno;
	}
	zerocopy_drain(end);
	errno = error;
	return sent;
}

bool zerocopy_drain(struct end *end)
{
	if (end->plan->writing != WRITE_ZEROCOPY)
		return true;
	for (;;) {
		uint8_t control[256];
		struct msghdr message = {.msg_control = control, .msg_controllen = sizeof(control)};
		if (recvmsg(end->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return end->zerocopy_done >= end->zerocopy_sent;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
			struct sock_extended_err error;
			memcpy(&error, CMSG_DATA(c), sizeof(error));
			if (error.ee_origin == SO_EE_ORIGIN_ZEROCOPY)
				end->zerocopy_done += error.ee_data - error.ee_info + 1;
		}
	}
}

#ifdef ORACLE_SPLICE
static ssize_t write_spliced(struct end *end, uint64_t offset, size_t size)
{
	bool polls = fcntl(end->fd, F_GETFL) & O_NONBLOCK;

	if (end->piped == 0) {
		/* What a pipe holds without blocking. */
		size = size < 65536 ? size : 65536;
		fill(end, offset, end->out, size);
		ssize_t piped = write(end->out_pipe[1], end->out, size);
		if (piped <= 0)
			die("write to a pipe");
		end->piped = piped;
	}
	ssize_t sent = splice(end->out_pipe[0], NULL, end->fd, NULL, end->piped,
			      polls ? SPLICE_F_NONBLOCK : 0);
	if (sent > 0)
		end->piped -= sent;
	return sent;
}
#else
static ssize_t write_spliced(struct end *end, uint64_t offset, size_t size)
{
	(void)end, (void)offset, (void)size;
	errno = ENOSYS;
	return -1;
}
#endif

static ssize_t write_urgent(struct end *end)
{
	ssize_t sent = send(end->fd, "!", 1, MSG_OOB | MSG_NOSIGNAL);

	if (sent == 1) {
		end->urgent_sent = true;
		end->result.urgent = true;
	}
	/* It is no byte of the stream. */
	return sent < 0 ? sent : 0;
}

ssize_t source_write(struct end *end, uint64_t limit)
{
	const struct plan *plan = end->plan;
	uint64_t offset = end->sent,
		 most = plan->finish == FINISH_RESET ? plan->reset_at : plan->total;

	if (!end->server && end->scenario.oob_at && !end->urgent_sent) {
		if (offset == end->scenario.oob_at)
			return write_urgent(end);
		most = end->scenario.oob_at;
	}
	most = (most < limit ? most : limit) - offset;
	size_t size = 1 + below(&end->writer_random, plan->write_size);
	size = size < CALL_SIZE ? size : CALL_SIZE;
	bool last = size >= most;
	size = last ? most : size;
	switch (plan->writing) {
	case WRITE_WRITEV:
		return write_pieces(end, offset, size);
	case WRITE_SENDFILE: {
		off_t at = offset;
		return sendfile(end->fd, end->file, &at, size);
	}
	case WRITE_ZEROCOPY:
		return write_zerocopy(end, offset, size);
	case WRITE_SPLICE:
		return write_spliced(end, offset, size);
	case WRITE_MORE:
		fill(end, offset, end->out, size);
		return send(end->fd, end->out, size,
			    MSG_NOSIGNAL |
				    (!last && once_in(&end->writer_random, 2) ? MSG_MORE : 0));
	default:
		fill(end, offset, end->out, size);
		return send(end->fd, end->out, size, MSG_NOSIGNAL);
	}
}
