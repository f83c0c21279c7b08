// SPDX-License-Identifier: Apache-2.0
#include "scenario.h"

#include <stdio.h>
#include <string.h>

#include "random.h"

const char *const feature_names[FEATURES] = {
	"turns",  "half-close", "close",    "reset",   "slow", "deferred", "banner",  "writev",
	"more",	  "sendfile",	"zerocopy", "readv",   "peek", "fionread", "waitall", "lowat",
	"splice", "signals",	"late",	    "buffers", "edge", "oob",
};

/* What a whole stream is held in memory for. */
#define LARGEST_FILE	 (4u << 20)
#define LARGEST_ZEROCOPY (1u << 20)
#define LARGEST_LOWAT	 (1u << 15)
/* Above this a pause or a tiny buffer would take minutes. */
#define LARGEST_SLOW   (1u << 20)
#define CALLS	       2000
#define ZEROCOPY_CALLS 50

struct maker {
	struct random random;
	const struct wishes *wishes;
	struct scenario *scenario;
};

static bool has(struct maker *maker, enum feature feature, uint64_t one_in)
{
	return (maker->wishes->features >> feature & 1) && once_in(&maker->random, one_in);
}

/* Either end may be made to block. */
static bool choose_blocking(struct maker *maker, enum side side)
{
	return side == SIDE_ANY ? once_in(&maker->random, 2) : side == SIDE_BLOCKING;
}

static uint8_t choose_reading(struct maker *maker, const struct plan *plan, uint64_t incoming)
{
	if (has(maker, HAS_SPLICE, 2))
		return READ_SPLICE;
	if (has(maker, HAS_PEEK, 8))
		return READ_PEEK;
	if (has(maker, HAS_FIONREAD, 8))
		return READ_FIONREAD;
	if (has(maker, HAS_READV, 4))
		return READ_READV;
	/* A socket that does not block returns what there is. */
	if (plan->blocking && !plan->late && has(maker, HAS_WAITALL, 4))
		return READ_WAITALL;
	/*
	 * With turns the other end would wait for an answer to bytes that are too few to be told
	 * of; and where the window or the buffer is nearly full, TCP is readable below the mark.
	 */
	if (maker->scenario->turns == 0 && incoming <= LARGEST_LOWAT && has(maker, HAS_LOWAT, 6))
		return READ_LOWAT;
	return READ_RECV;
}

static uint8_t choose_writing(struct maker *maker, const struct plan *plan)
{
	if (has(maker, HAS_SPLICE, 2))
		return WRITE_SPLICE;
	if (plan->total <= LARGEST_FILE && has(maker, HAS_SENDFILE, 6))
		return WRITE_SENDFILE;
	if (plan->total <= LARGEST_ZEROCOPY && has(maker, HAS_ZEROCOPY, 12))
		return WRITE_ZEROCOPY;
	if (has(maker, HAS_MORE, 6))
		return WRITE_MORE;
	return has(maker, HAS_WRITEV, 4) ? WRITE_WRITEV : WRITE_SEND;
}

static uint32_t call_size(struct maker *maker, uint64_t total)
{
	uint64_t size = any_size(&maker->random, 1, 131072);

	return size < total / CALLS ? total / CALLS : size;
}

static void plan_pauses(struct maker *maker, struct plan *plan, uint64_t incoming)
{
	struct random *random = &maker->random;
	uint64_t most = plan->total > incoming ? plan->total : incoming;

	if (most > LARGEST_SLOW || !has(maker, HAS_SLOW, 4))
		return;
	plan->read_size = any_size(random, 1 + incoming / 50, 65536);
	plan->write_size = any_size(random, 1 + plan->total / 50, 65536);
	plan->read_burst = any_size(random, 1, 16);
	plan->write_burst = any_size(random, 1, 16);
	plan->read_pause = any_size(random, 10, 4000);
	plan->write_pause = any_size(random, 10, 4000);
}

/* All but how it ends. */
static void make_plan(struct maker *maker, struct plan *plan, uint64_t incoming)
{
	struct random *random = &maker->random;

	plan->late = has(maker, HAS_LATE, 12);
	plan->reading = choose_reading(maker, plan, incoming);
	plan->writing = choose_writing(maker, plan);
	plan->waiting = has(maker, HAS_EDGE, 2) ? WAIT_EDGE
			: once_in(random, 2)	? WAIT_POLL
						: WAIT_LEVEL;
	plan->read_size = call_size(maker, incoming);
	plan->write_size = call_size(maker, plan->total);
	plan_pauses(maker, plan, incoming);
	if (plan->writing == WRITE_ZEROCOPY && plan->write_size < plan->total / ZEROCOPY_CALLS)
		plan->write_size = plan->total / ZEROCOPY_CALLS;
	plan->threads = maker->scenario->turns && once_in(random, 2) ? 1 : 2;
	plan->signals = plan->reading != READ_WAITALL && has(maker, HAS_SIGNALS, 8);
	plan->small_buffers = plan->reading != READ_LOWAT &&
			      plan->total + incoming <= LARGEST_SLOW && has(maker, HAS_BUFFERS, 8);
	plan->nodelay = once_in(random, 2);
}

static void plan_ends(struct maker *maker)
{
	struct scenario *scenario = maker->scenario;
	struct plan *client = &scenario->client, *server = &scenario->server;
	struct random *random = &maker->random;
	/* Who has the last word can close without waiting for anything. */
	bool server_last = scenario->turns && scenario->turns % 2 == 0;
	bool client_last = scenario->turns ? !server_last : server->total == 0;

	client->finish = server->finish = FINISH_AFTER_ALL;
	if (has(maker, HAS_RESET, 16)) {
		struct plan *breaker = once_in(random, 2) ? client : server;
		uint64_t least = breaker == client ? HEADER_SIZE : 0;
		breaker->finish = FINISH_RESET;
		breaker->reset_at = least + below(random, breaker->total - least + 1);
		return;
	}
	if (has(maker, HAS_HALF_CLOSE, 2))
		client->finish = FINISH_AT_ONCE;
	if (has(maker, HAS_HALF_CLOSE, 2))
		server->finish = FINISH_AT_ONCE;
	else if (once_in(random, 2))
		server->finish = FINISH_AFTER_EOF;
	else if (once_in(random, 4) && client->finish == FINISH_AFTER_ALL)
		client->finish = FINISH_AFTER_EOF;
	if (client_last && has(maker, HAS_CLOSE, 2))
		client->finish = FINISH_CLOSE;
	if (server_last && has(maker, HAS_CLOSE, 2))
		server->finish = FINISH_CLOSE;
	/* Two that wait for each other would wait for ever. */
	if (client->finish == FINISH_AFTER_EOF && server->finish == FINISH_AFTER_EOF)
		server->finish = FINISH_AFTER_ALL;
}

/* Some questions and answers, and then much that nobody reads. */
static void plan_idle(struct scenario *scenario, uint64_t bytes)
{
	struct gate client = {0}, server = {0};

	scenario->turns = 11;
	scenario->turn_size = 200;
	scenario->last_turn = bytes;
	scenario->server.idle = true;
	scenario->client.total = gate_limit(&client, scenario, false, UINT64_MAX);
	scenario->server.total = gate_limit(&server, scenario, true, UINT64_MAX);
}

static void plan_bytes(struct maker *maker)
{
	struct scenario *scenario = maker->scenario;
	const struct wishes *wishes = maker->wishes;
	struct random *random = &maker->random;
	uint64_t up = any_size(random, wishes->min_size, wishes->max_size);
	uint64_t down = any_size(random, wishes->min_size, wishes->max_size);

	if (wishes->idle)
		return plan_idle(scenario, up);
	if (has(maker, HAS_TURNS, 2)) {
		scenario->turns = 2 + any_size(random, 0, 14);
		scenario->turn_size = 1 + (up + down) / scenario->turns;
		/* Both totals are what all turns come to. */
		struct gate client = {0}, server = {0};
		scenario->client.total = gate_limit(&client, scenario, false, UINT64_MAX);
		scenario->server.total = gate_limit(&server, scenario, true, UINT64_MAX);
		return;
	}
	/* Long ones go mostly one way, as downloads do. */
	bool one_way = once_in(random, 4);
	bool upwards = once_in(random, 2);
	scenario->client.total = HEADER_SIZE + (one_way && !upwards ? 0 : up);
	scenario->server.total = one_way && upwards ? 0 : down;
}

static void choose_listener(struct maker *maker)
{
	struct scenario *scenario = maker->scenario;

	if (has(maker, HAS_DEFERRED, 3))
		scenario->listener = LISTEN_DEFERRED;
	else if (has(maker, HAS_BANNER, 4))
		scenario->listener = LISTEN_BANNER;
	if (scenario->server.blocking)
		scenario->listener += LISTEN_BLOCKING;
}

/* Urgent data has a port of its own, which a configuration can leave out. */
static void add_urgent_byte(struct maker *maker)
{
	struct scenario *scenario = maker->scenario;

	scenario->listener = LISTEN_URGENT + scenario->server.blocking;
	scenario->oob_at =
		HEADER_SIZE + below(&maker->random, scenario->client.total - HEADER_SIZE);
	scenario->client.writing = WRITE_SEND;
	scenario->server.reading = READ_RECV;
	scenario->server.signals = 0;
	if (scenario->client.finish == FINISH_RESET)
		scenario->client.finish = FINISH_AFTER_ALL;
	if (scenario->server.finish == FINISH_RESET)
		scenario->server.finish = FINISH_AFTER_ALL;
}

/* Many small pages fill a receive buffer far below the bytes they hold: what follows is slow, and
 * TCP's own. */
static void keep_apart(const struct plan *writer, struct plan *reader)
{
	if (writer->writing != WRITE_ZEROCOPY)
		return;
	reader->small_buffers = 0;
	if (reader->reading == READ_LOWAT)
		reader->reading = READ_RECV;
}

void make_scenario(struct scenario *scenario, const struct wishes *wishes, uint32_t number)
{
	struct maker maker = {.wishes = wishes, .scenario = scenario};

	memset(scenario, 0, sizeof(*scenario));
	scenario->magic = MAGIC;
	scenario->number = number;
	scenario->seed = mixed(wishes->seed * 0x9e3779b97f4a7c15ull + number + 1);
	maker.random.state = mixed(scenario->seed);
	scenario->client.blocking = choose_blocking(&maker, wishes->client);
	scenario->server.blocking = choose_blocking(&maker, wishes->server);
	plan_bytes(&maker);
	make_plan(&maker, &scenario->client, scenario->server.total);
	make_plan(&maker, &scenario->server, scenario->client.total);
	keep_apart(&scenario->client, &scenario->server);
	keep_apart(&scenario->server, &scenario->client);
	plan_ends(&maker);
	choose_listener(&maker);
	if (scenario->client.total > HEADER_SIZE && has(&maker, HAS_OOB, 1))
		add_urgent_byte(&maker);
}

static void describe_plan(const struct plan *plan, const char *name, char *text, size_t size)
{
	static const char *const readings[] = {"recv",	  "readv", "peek",  "fionread",
					       "waitall", "lowat", "splice"};
	static const char *const writings[] = {"send",	   "writev",   "more",
					       "sendfile", "zerocopy", "splice"};
	static const char *const waitings[] = {"poll", "level", "edge"};
	static const char *const finishes[] = {"at once", "after all", "after eof", "close",
					       "reset"};

	snprintf(text, size, "%s %s%s%s/%s%s sends %llu by %s%s%s, ends %s", name,
		 plan->blocking ? "blocking" : waitings[plan->waiting],
		 plan->late ? " changed late" : "",
		 plan->blocking && plan->threads == 2 ? " two threads" : "",
		 readings[plan->reading], plan->read_burst ? " slow" : "",
		 (unsigned long long)plan->total, writings[plan->writing],
		 plan->signals ? " signals" : "", plan->small_buffers ? " small buffers" : "",
		 finishes[plan->finish]);
}

void describe_scenario(const struct scenario *scenario, char *text, size_t size)
{
	static const char *const listeners[] = {"plain", "deferred", "banner", "urgent"};
	char client[200], server[200];

	describe_plan(&scenario->client, "client", client, sizeof(client));
	describe_plan(&scenario->server, "server", server, sizeof(server));
	snprintf(text, size, "%s listener, %u turns; %s; %s", listeners[scenario->listener / 2 % 4],
		 scenario->turns, client, server);
}
