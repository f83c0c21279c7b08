// SPDX-License-Identifier: Apache-2.0
/* An end that waits with poll or epoll, level- or edge-triggered, for what its socket can do. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

#include "../net.h"
#include "end.h"

/* So many times in a row there may be nothing, before it sleeps instead of burning the core. */
#define EMPTY_RUN 100

struct poller {
	bool readable, writable;
	bool told; /* readable by the kernel's word, and not read since */
	double read_after, write_after;
	uint32_t reads, writes, empty;
	uint32_t watched;
};

static void pace(double *after, uint32_t *calls, uint16_t burst, uint32_t pause)
{
	if (burst && ++*calls % burst == 0)
		*after = clock_now() + pause / 1e6;
}

static void note_empty(struct end *end, struct poller *poller)
{
	if (!poller->told)
		return;
	end->result.deviations[EMPTY_READABLE]++;
	if (++poller->empty > EMPTY_RUN)
		take_pause(1000);
}

static void read_once(struct end *end, struct poller *poller)
{
	ssize_t got = sink_read(end);

	if (got > 0) {
		poller->empty = 0;
		pace(&poller->read_after, &poller->reads, end->plan->read_burst,
		     end->plan->read_pause);
		/* Another read without asking is as good as one after. */
		if (end->plan->waiting != WAIT_EDGE)
			poller->readable = once_in(&end->reader_random, 2);
		poller->told = false;
		end_moved(end);
	} else if (got == 0) {
		end->eof = true;
		end_moved(end);
	} else if (errno == EAGAIN) {
		if (end->plan->waiting != WAIT_EDGE)
			note_empty(end, poller);
		poller->readable = poller->told = false;
	} else if (errno != EINTR) {
		end_error(end, OP_RECV, errno);
		end->read_failed = true;
	}
}

static void write_once(struct end *end, struct poller *poller)
{
	uint64_t limit = gate_limit(&end->out_gate, &end->scenario, end->server, end->received);
	ssize_t sent = source_write(end, limit);

	if (sent >= 0) {
		end->sent += sent;
		pace(&poller->write_after, &poller->writes, end->plan->write_burst,
		     end->plan->write_pause);
		if (end->plan->waiting != WAIT_EDGE)
			poller->writable = once_in(&end->writer_random, 2);
		end_moved(end);
	} else if (errno == EAGAIN) {
		poller->writable = false;
	} else if (errno != EINTR) {
		end_error(end, OP_SEND, errno);
		end->write_failed = true;
	}
}

static void watch(struct end *end, struct poller *poller, uint32_t events)
{
	struct epoll_event event = {.events = events};
	int operation = poller->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (poller->watched == events)
		return;
	if (epoll_ctl(end->poller, operation, end->fd, &event) < 0)
		die("epoll_ctl");
	poller->watched = events;
}

static uint32_t wait_events(struct end *end, struct poller *poller, uint32_t events,
			    int milliseconds)
{
	struct epoll_event event = {0};

	if (end->plan->waiting == WAIT_POLL) {
		struct pollfd one = {.fd = end->fd, .events = events};
		return poll(&one, 1, milliseconds) > 0 ? one.revents : 0;
	}
	watch(end, poller,
	      end->plan->waiting == WAIT_EDGE ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET
					      : events);
	return epoll_wait(end->poller, &event, 1, milliseconds) > 0 ? event.events : 0;
}

/* POLL* and EPOLL* have the same values. */
_Static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLPRI == EPOLLPRI &&
		       POLLERR == EPOLLERR && POLLHUP == EPOLLHUP,
	       "poll and epoll differ");

static void await(struct end *end, struct poller *poller, bool read, bool write, double until)
{
	double left = until - clock_now();
	int milliseconds = left <= 0 ? 0 : left < 0.25 ? (int)(left * 1000) + 1 : 250;

	end->awaits_read = read;
	end->awaits_write = write;
	if (!read && !write) {
		take_pause(milliseconds * 1000);
		return;
	}
	uint32_t events =
		wait_events(end, poller, (read ? EPOLLIN | EPOLLPRI : 0) | (write ? EPOLLOUT : 0),
			    milliseconds);
	if (events & EPOLLERR)
		zerocopy_drain(end);
	bool broken = events & (EPOLLERR | EPOLLHUP);
	if (events & (EPOLLIN | EPOLLRDHUP) || broken) {
		poller->readable = true;
		poller->told = events & EPOLLIN && !broken;
	}
	if (events & EPOLLPRI)
		poller->readable = true;
	if (events & EPOLLOUT || broken)
		poller->writable = true;
}

void run_polling(struct end *end)
{
	/* Nobody tells an edge that was there before. */
	struct poller poller = {.readable = true, .writable = true};

	if (end->plan->waiting != WAIT_POLL && (end->poller = epoll_create1(EPOLL_CLOEXEC)) < 0)
		die("epoll_create1");
	while (!end_is_over(end)) {
		enum writer_state state = end_writer_state(end);
		double now = clock_now(), until = now + 0.25;
		if (state == WRITER_MUST_END) {
			end_finish_writing(end);
			continue;
		}
		bool want_read = !end_reading_done(end) && !end_is_idle(end);
		bool want_write = state == WRITER_CAN_SEND;
		bool read = want_read && poller.read_after <= now,
		     write = want_write && poller.write_after <= now;
		if (write && poller.writable)
			write_once(end, &poller);
		if (read && poller.readable)
			read_once(end, &poller);
		if ((write && poller.writable) || (read && poller.readable))
			continue;
		if (want_read && !read && poller.read_after < until)
			until = poller.read_after;
		if (want_write && !write && poller.write_after < until)
			until = poller.write_after;
		await(end, &poller, read, write, until);
	}
	if (end->plan->waiting != WAIT_POLL)
		close(end->poller);
}
