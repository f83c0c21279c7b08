// SPDX-License-Identifier: Apache-2.0
/* An end whose calls block: one thread that reads and another that writes, or one for both by
 * turns. */
#include <errno.h>

#include "../net.h"
#include "end.h"

static bool read_once(struct end *end, uint32_t *calls)
{
	while (end_is_idle(end))
		take_pause(50000);
	end->awaits_read = true;
	ssize_t got = sink_read(end);
	end->awaits_read = false;
	if (got > 0) {
		end_moved(end);
		if (end->plan->read_burst && ++*calls % end->plan->read_burst == 0)
			take_pause(end->plan->read_pause);
		return true;
	}
	if (got < 0 && errno == EINTR)
		return true;
	if (got < 0 && errno == EAGAIN) {
		/* No blocking call says so on TCP; the rest is looked at all the same. */
		end_error(end, OP_RECV, errno);
		return !end_reading_done(end);
	}
	if (got < 0)
		end_error(end, OP_RECV, errno);
	/* Being woken by our own shutdown() is no end of the stream. */
	if (!end->over && !end->aborted)
		*(got < 0 ? &end->read_failed : &end->eof) = true;
	end_moved(end);
	return false;
}

static bool write_once(struct end *end, uint32_t *calls)
{
	uint64_t limit = gate_limit(&end->out_gate, &end->scenario, end->server, end->received);

	end->awaits_write = true;
	ssize_t sent = source_write(end, limit);
	end->awaits_write = false;
	if (sent >= 0) {
		end->sent += sent;
		end_moved(end);
		if (end->plan->write_burst && ++*calls % end->plan->write_burst == 0)
			take_pause(end->plan->write_pause);
		return true;
	}
	if (errno == EINTR)
		return true;
	end_error(end, OP_SEND, errno);
	if (errno == EAGAIN)
		return true;
	end->write_failed = true;
	end_moved(end);
	return false;
}

static void *write_all(void *argument)
{
	struct end *end = argument;
	uint32_t calls = 0;

	for (;;) {
		pthread_mutex_lock(&end->lock);
		enum writer_state state;
		while ((state = end_writer_state(end)) == WRITER_WAITS)
			pthread_cond_wait(&end->moved, &end->lock);
		pthread_mutex_unlock(&end->lock);
		if (state == WRITER_DONE)
			return NULL;
		if (state == WRITER_MUST_END)
			end_finish_writing(end);
		else
			write_once(end, &calls);
	}
}

static void run_two_threads(struct end *end)
{
	pthread_t writer;
	uint32_t calls = 0;

	if (pthread_create(&writer, NULL, write_all, end))
		die("pthread_create");
	while (!end_reading_done(end) && read_once(end, &calls))
		;
	end->has_reader = false;
	pthread_join(writer, NULL);
}

static void run_one_thread(struct end *end)
{
	uint32_t reads = 0, writes = 0;

	while (!end_is_over(end)) {
		switch (end_writer_state(end)) {
		case WRITER_MUST_END:
			end_finish_writing(end);
			break;
		case WRITER_CAN_SEND:
			write_once(end, &writes);
			break;
		default:
			if (!end_reading_done(end))
				read_once(end, &reads);
		}
	}
}

void run_blocking(struct end *end)
{
	end->reader = pthread_self();
	end->has_reader = true;
	if (end->plan->threads == 1 && end->scenario.turns)
		run_one_thread(end);
	else
		run_two_threads(end);
	end->has_reader = false;
}
