// SPDX-License-Identifier: Apache-2.0
#include "end.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../net.h"

_Atomic bool readers_released;

double clock_now(void)
{
	return now_seconds();
}

void take_pause(uint32_t microseconds)
{
	struct timespec time = {.tv_sec = microseconds / 1000000,
				.tv_nsec = microseconds % 1000000 * 1000};

	nanosleep(&time, NULL);
}

void end_open(struct end *end, int fd, bool server, const struct scenario *scenario,
	      uint64_t received)
{
	union address address;
	socklen_t size = sizeof(address);

	end->fd = fd;
	end->server = server;
	end->scenario = *scenario;
	end->plan = server ? &end->scenario.server : &end->scenario.client;
	end->other = server ? &end->scenario.client : &end->scenario.server;
	end->reader_random.state = mixed(scenario->seed ^ (server ? 11 : 12));
	end->writer_random.state = mixed(scenario->seed ^ (server ? 13 : 14));
	end->received = received;
	end->progress = clock_now();
	end->result.scenario = &end->scenario;
	pthread_mutex_init(&end->lock, NULL);
	pthread_cond_init(&end->moved, NULL);
	check_start(&end->check, stream_seed(scenario, !server), received, end->other->total);
	if (end->plan->nodelay)
		set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (end->plan->small_buffers) {
		set_int(fd, SOL_SOCKET, SO_SNDBUF, 4096);
		set_int(fd, SOL_SOCKET, SO_RCVBUF, 4096);
	}
	if (end->plan->late) {
		int flags = fcntl(fd, F_GETFL);
		fcntl(fd, F_SETFL, end->plan->blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
	}
	if (getsockname(fd, &address.any, &size) == 0)
		end->result.local_port =
			ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port
								: address.v4.sin_port);
	source_open(end);
	sink_open(end);
}

/* Something has happened that the other thread of a blocking end may wait for. */
void end_moved(struct end *end)
{
	end->progress = clock_now();
	pthread_mutex_lock(&end->lock);
	pthread_cond_broadcast(&end->moved);
	pthread_mutex_unlock(&end->lock);
}

bool end_expects_reset(const struct end *end)
{
	return end->other->finish == FINISH_RESET;
}

void end_error(struct end *end, enum operation operation, int error)
{
	bool gone = error == ECONNRESET || error == EPIPE || error == ENOTCONN;

	/* What an aborted or resetting end sees is its own doing. */
	if (end->aborted || end->over)
		return;
	if (gone && end->deaths && !end_expects_reset(end)) {
		end->result.died = true;
		return;
	}
	if (gone)
		end->result.reset = true;
	bool as_tcp = gone && end_expects_reset(end);
	report_error(operation, error, as_tcp);
	/* Some come over and over again. */
	if (!as_tcp && !end->noted) {
		char scenario[500];
		end->noted = true;
		describe_scenario(&end->scenario, scenario, sizeof(scenario));
		report_note("--number %u, local port %u, sent %llu, received %llu: %s; %s",
			    end->scenario.number, end->result.local_port,
			    (unsigned long long)end->sent, (unsigned long long)end->received,
			    strerror(error), scenario);
	}
}

enum writer_state end_writer_state(struct end *end)
{
	const struct plan *plan = end->plan;
	uint64_t goal = plan->finish == FINISH_RESET ? plan->reset_at : plan->total;
	uint64_t limit = gate_limit(&end->out_gate, &end->scenario, end->server, end->received);
	bool all_received = end->received >= end->other->total;

	if (end->write_failed || end->write_ended || end->over || end->aborted)
		return WRITER_DONE;
	if (end->sent < goal && end->sent < limit)
		return WRITER_CAN_SEND;
	if (end->sent < goal)
		/* Nothing more will come that would let it go on. */
		return end_reading_done(end) ? WRITER_DONE : WRITER_WAITS;
	if (plan->finish == FINISH_AT_ONCE || plan->finish == FINISH_RESET ||
	    end_reading_done(end) || (all_received && plan->finish != FINISH_AFTER_EOF))
		return WRITER_MUST_END;
	return WRITER_WAITS;
}

void end_finish_writing(struct end *end)
{
	if (end->plan->finish == FINISH_RESET || end->plan->finish == FINISH_CLOSE) {
		if (end->plan->finish == FINISH_RESET)
			reset_on_close(end->fd);
		end->over = true;
		/* Wakes a reader of ours, and tells the other end nothing. */
		if (end->plan->blocking != end->plan->late)
			shutdown(end->fd, SHUT_RD);
	} else if (shutdown(end->fd, SHUT_WR) < 0) {
		end_error(end, OP_SHUTDOWN, errno);
	}
	end->write_ended = true;
	end_moved(end);
}

bool end_is_over(struct end *end)
{
	return end_reading_done(end) && end_writer_state(end) == WRITER_DONE;
}

bool end_is_idle(const struct end *end)
{
	return end->plan->idle && !readers_released && !end->aborted &&
	       end->received + end->scenario.last_turn >= end->other->total;
}

static void judge(struct end *end)
{
	struct connection_report *result = &end->result;
	bool broken =
		end->over || end->aborted || end->read_failed || result->reset || result->died;
	bool reset = end_expects_reset(end);

	result->sent = end->sent;
	result->received = end->received;
	result->bad_at = end->check.bad_at;
	result->verdict = check_end(&end->check, !broken && !(reset && !end->eof));
	if (end->over && end->plan->finish == FINISH_CLOSE && end->received < end->other->total)
		result->deviations[FALSE_EOF]++;
	/* The only end of a stream that breaks off is a reset. */
	if (end->eof && !broken && (reset || end->received < end->other->total))
		result->deviations[FALSE_EOF]++;
	if (reset && end->eof)
		result->verdict.lost = 0;
	if (end->plan->finish == FINISH_RESET && end->over)
		result->reset = true;
	/* TCP counts the banner, which belongs to neither stream. */
	uint64_t banner = end->scenario.listener / 2 * 2 == LISTEN_BANNER ? BANNER_SIZE : 0;
	past_tcp(end->fd, end->sent + (end->server ? banner : 0),
		 end->received + (end->server ? 0 : banner), &result->past_sent,
		 &result->past_received);
}

static void await_completions(struct end *end)
{
	double deadline = clock_now() + 5;

	if (end->plan->writing != WRITE_ZEROCOPY || end->plan->finish == FINISH_RESET ||
	    end_expects_reset(end))
		return;
	while (!zerocopy_drain(end)) {
		if (end->aborted || end->result.died || end->write_failed)
			return;
		if (clock_now() > deadline) {
			end->result.deviations[ZEROCOPY_MISSING] +=
				end->zerocopy_sent - end->zerocopy_done;
			return;
		}
		take_pause(1000);
	}
}

void end_run(struct end *end)
{
	watchdog_add(end);
	if (end->plan->blocking != end->plan->late)
		run_blocking(end);
	else
		run_polling(end);
	await_completions(end);
	watchdog_remove(end);
	judge(end);
	close(end->fd);
	source_close(end);
	sink_close(end);
	report_connection(&end->result);
	pthread_mutex_destroy(&end->lock);
	pthread_cond_destroy(&end->moved);
}
