// SPDX-License-Identifier: Apache-2.0
/* Whoever sleeps until there is something to read or room to write is woken. */
#include <sys/select.h>
#include <sys/syscall.h>
#include "contract.h"
#include "groups.h"

#define ROUNDS 200

/* One end of a ping-pong, which sleeps in epoll between the messages. */
struct player {
	int fd, epoll;
	uint32_t events;
	uint64_t seed;
	struct received got;
	const char *failed;
};

static bool wait_readable(struct player *player)
{
	struct epoll_event event;
	double deadline = now_seconds() + settings.deadline;

	/* Edges of writing come as well. */
	while (now_seconds() < deadline)
		if (io_epoll(player->epoll, &event, settings.deadline) <= 0)
			return false;
		else if (event.events & (EPOLLIN | EPOLLRDHUP | EPOLLERR))
			return true;
	return false;
}

static void start_player(struct player *player, int fd, uint32_t events, uint64_t seed)
{
	struct epoll_event event = {.events = events};

	*player = (struct player){.fd = fd, .events = events, .seed = seed};
	player->got.wrong = UINT64_MAX;
	player->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (player->epoll < 0 || epoll_ctl(player->epoll, EPOLL_CTL_ADD, fd, &event))
		untested("epoll");
}

/* Message i has 2 + 37 * i % 5000 bytes. Level: one byte, and it must still be readable; edge: all.
 */
static bool take_message(struct player *player, int i)
{
	uint64_t end = player->got.bytes + 2 + 37 * i % 5000;

	while (player->got.bytes < end) {
		uint8_t bytes[8192];
		ssize_t count;

		if (!wait_readable(player))
			return false;
		if (!(player->events & EPOLLET)) {
			struct received byte = {.bytes = player->got.bytes, .wrong = UINT64_MAX};

			receive_more(player->fd, player->seed, player->got.bytes + 1, &byte);
			player->got = byte;
			if (player->got.bytes < end && !wait_readable(player))
				return false;
		}
		while ((count = io_receive(player->fd, bytes, sizeof(bytes), 0)) > 0)
			player->got.bytes += count;
		if (count == 0 || !would_block())
			return false;
	}
	return player->got.bytes == end;
}

static void *answer_messages(void *argument)
{
	struct player *player = argument;

	for (int i = 0; i < ROUNDS; i++) {
		if (!take_message(player, i)) {
			player->failed = "a message";
			return NULL;
		}
		send_stream(player->fd, 2, 0, 2 + 37 * i % 5000);
	}
	return NULL;
}

/* With `late`, epoll knows the sockets before they come into the map. */
static void ping_pong(struct pair *pair, uint32_t events, bool late)
{
	struct player client, server;
	pthread_t thread;

	start_player(&client, pair->client, events, 2);
	start_player(&server, pair->server, events, 2);
	if (late)
		enrol_late(pair, BOTH_ENDS);
	if (pthread_create(&thread, NULL, answer_messages, &server))
		untested("no thread");
	for (int i = 0; i < ROUNDS; i++) {
		send_stream(pair->client, 2, 0, 2 + 37 * i % 5000);
		if (!take_message(&client, i))
			broken("nobody was woken for message %d", i);
	}
	pthread_join(thread, NULL);
	if (server.failed)
		broken("nobody was woken for a message");
	expect_redirected(pair->server);
}

void check_epoll_level(void)
{
	struct pair pair = guarded_pair();
	struct epoll_event event;
	struct player end;

	ping_pong(&pair, EPOLLIN, false);
	start_player(&end, pair.server, EPOLLIN | EPOLLRDHUP, 1);
	if (epoll_wait(end.epoll, &event, 1, 0) > 0)
		broken("readable with nothing to read");
	shutdown(pair.client, SHUT_WR);
	if (io_epoll(end.epoll, &event, settings.deadline) <= 0 || !(event.events & EPOLLRDHUP))
		broken("the end of the stream woke nobody");
	close_pair(&pair);
	pair = open_pair((struct pair_options){.steering = STEER_GUARDED});
	ping_pong(&pair, EPOLLIN, true);
	ok("%d messages each way, and the end of the stream", 2 * ROUNDS);
}

/* The edge of writing comes only when the buffer was found full: there TCP has taken over. */
static void expect_write_edge(struct pair *pair)
{
	static uint8_t bytes[1 << 16];
	struct epoll_event event;
	struct player writer;
	double deadline = now_seconds() + settings.deadline;

	start_player(&writer, pair->client, EPOLLOUT | EPOLLET, 1);
	epoll_wait(writer.epoll, &event, 1, 0);
	for (int i = 0; i < 1024; i++)
		if (send(pair->client, bytes, sizeof(bytes), MSG_NOSIGNAL) < 0)
			break;
	if (errno != EAGAIN)
		untested("the send buffer never got full");
	while (now_seconds() < deadline) {
		while (recv(pair->server, bytes, sizeof(bytes), 0) > 0)
			deadline = now_seconds() + settings.deadline;
		if (io_epoll(writer.epoll, &event, 0.002) > 0)
			return;
	}
	broken("room to write woke nobody");
}

void check_epoll_edge(void)
{
	struct pair pair = open_pair((struct pair_options){
		.steering = STEER_GUARDED, .ends = BOTH_ENDS, .buffer = 1 << 16});

	ping_pong(&pair, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, false);
	expect_write_edge(&pair);
	close_pair(&pair);
	pair = open_pair((struct pair_options){.steering = STEER_GUARDED});
	ping_pong(&pair, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, true);
	ok("%d messages each way, and room to write", 2 * ROUNDS);
}

struct sleeper {
	int fd;
	bool by_select, woken;
	atomic_int tid;
	pthread_t thread;
};

static void *sleep_until_readable(void *argument)
{
	struct sleeper *sleeper = argument;
	struct pollfd wait = {.fd = sleeper->fd, .events = POLLIN};
	struct timeval time = {.tv_sec = settings.deadline,
			       .tv_usec = (settings.deadline - (long)settings.deadline) * 1e6};
	fd_set set;

	FD_ZERO(&set);
	FD_SET(sleeper->fd, &set);
	atomic_store(&sleeper->tid, syscall(SYS_gettid));
	if (sleeper->by_select)
		sleeper->woken = select(sleeper->fd + 1, &set, NULL, NULL, &time) > 0;
	else
		sleeper->woken = io_poll(&wait, 1, settings.deadline) > 0;
	return NULL;
}

/* Somebody sleeps until there are bytes; with `late`, since before the sockets were in the map. */
static void wake(struct pair *pair, bool by_select, bool late)
{
	struct sleeper sleeper = {.fd = pair->server, .by_select = by_select};
	struct received got;

	if (pthread_create(&sleeper.thread, NULL, sleep_until_readable, &sleeper))
		untested("no thread");
	while (!atomic_load(&sleeper.tid) || !thread_sleeps(sleeper.tid))
		usleep(50);
	if (late)
		enrol_late(pair, BOTH_ENDS);
	send_stream(pair->client, 1, 0, 100);
	pthread_join(sleeper.thread, NULL);
	if (!sleeper.woken)
		broken("%s woke nobody", by_select ? "select" : "poll");
	got = receive_stream(pair->server, 1, 100);
	expect_received(&got, 100, END_LIMIT, "after poll");
	if (readable_now(pair->server))
		broken("readable with nothing to read");
	expect_redirected(pair->server);
}

void check_poll(void)
{
	struct pair pair = guarded_pair();
	struct pollfd end = {.fd = pair.server, .events = POLLIN | POLLRDHUP};

	for (int i = 0; i < 20; i++)
		wake(&pair, i % 2, false);
	shutdown(pair.client, SHUT_WR);
	if (io_poll(&end, 1, settings.deadline) <= 0 || !(end.revents & POLLRDHUP))
		broken("the end of the stream woke nobody");
	close_pair(&pair);
	for (int i = 0; i < 4; i++) {
		pair = open_pair((struct pair_options){.steering = STEER_GUARDED});
		wake(&pair, i % 2, true);
		close_pair(&pair);
	}
	ok("poll and select wake for redirected bytes and for the end of the stream");
}
