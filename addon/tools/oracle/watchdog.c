// SPDX-License-Identifier: Apache-2.0
/* Ends whatever makes no progress, and says where it is stuck. Sends signals to those that are to
 * survive them. */
#include <signal.h>
#include <stdlib.h>

#include "../net.h"
#include "end.h"
#include "watchdog.h"

/* After this even shutdown() has not woken it. */
#define HOPELESS_SECONDS  15
#define LOOK_MICROSECONDS 20000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct end *living;
static double stall_seconds;
static _Atomic double released_at;

void watchdog_add(struct end *end)
{
	pthread_mutex_lock(&lock);
	end->next = living;
	end->previous = &living;
	if (living)
		living->previous = &end->next;
	living = end;
	pthread_mutex_unlock(&lock);
}

void watchdog_remove(struct end *end)
{
	pthread_mutex_lock(&lock);
	*end->previous = end->next;
	if (end->next)
		end->next->previous = end->previous;
	pthread_mutex_unlock(&lock);
}

struct living watchdog_living(void)
{
	struct living sum = {0};

	pthread_mutex_lock(&lock);
	for (struct end *end = living; end; end = end->next) {
		sum.count++;
		sum.sent += end->sent;
		sum.received += end->received;
	}
	pthread_mutex_unlock(&lock);
	return sum;
}

void release_readers(void)
{
	released_at = clock_now();
	readers_released = true;
}

static void give_up(struct end *end)
{
	char scenario[500];

	describe_scenario(&end->scenario, scenario, sizeof(scenario));
	report_note(
		"--number %u, local port %u, is stuck: %s%s%s, sent %llu of %llu, received %llu of "
		"%llu%s; %s",
		end->scenario.number, end->result.local_port,
		end->awaits_read ? "waits to read" : "",
		end->awaits_read && end->awaits_write ? ", " : "",
		end->awaits_write ? "waits to write" : "", (unsigned long long)end->sent,
		(unsigned long long)end->plan->total, (unsigned long long)end->received,
		(unsigned long long)end->other->total, end->eof ? " and the end" : "", scenario);
	end->result.stuck = true;
	end->aborted = true;
	reset_on_close(end->fd);
	shutdown(end->fd, SHUT_RDWR);
	end_moved(end);
}

static void look_at(struct end *end, double now)
{
	bool waits_for_signal = end->scenario.last_turn && !readers_released;
	double still = now - (end->progress > released_at ? end->progress : released_at);

	if (end->aborted && still > HOPELESS_SECONDS) {
		report_note("--number %u cannot even be woken by shutdown()", end->scenario.number);
		report_print(end->server ? "server" : "client", 0, 0);
		_exit(1);
	}
	if (!end->aborted && !waits_for_signal && still > stall_seconds)
		give_up(end);
	if (end->plan->signals && end->has_reader)
		pthread_kill(end->reader, SIGUSR2);
}

static void *run(void *unused)
{
	(void)unused;
	for (;;) {
		take_pause(LOOK_MICROSECONDS);
		double now = clock_now();
		pthread_mutex_lock(&lock);
		for (struct end *end = living; end; end = end->next)
			look_at(end, now);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void on_signal(int signal)
{
	(void)signal;
}

void watchdog_start(double stall)
{
	/* No SA_RESTART: the call is to return. */
	struct sigaction action = {.sa_handler = on_signal};
	pthread_t thread;

	stall_seconds = stall;
	sigaction(SIGUSR2, &action, NULL);
	if (pthread_create(&thread, NULL, run, NULL))
		die("pthread_create");
	pthread_detach(thread);
}
