// SPDX-License-Identifier: Apache-2.0
/* What comes out is what went in, in that order. */
#include <sys/mman.h>
#include <sys/sendfile.h>
#include "contract.h"
#include "groups.h"

#define SHORT_ROUNDS 150
/* Many times the budget: the way changes whenever the reader falls behind, and back. */
#define LONG_BYTES (4 << 20)
#define FILE_BYTES 300000
#define PIPE_BYTES 40000

static void short_messages(struct pair *pair)
{
	uint64_t there = 0, back = 0;

	for (int i = 0; i < SHORT_ROUNDS; i++) {
		size_t size = 1 + random_below(2000), answer = 1 + random_below(300);
		struct received got = {.bytes = there, .wrong = UINT64_MAX};

		for (size_t sent = 0; sent < size;) {
			size_t part = 1 + random_below(size - sent);

			send_stream(pair->client, 1, there + sent, part);
			sent += part;
		}
		there += size;
		receive_more(pair->server, 1, there, &got);
		expect_received(&got, there, END_LIMIT, "short messages");
		send_stream(pair->server, 2, back, answer);
		got = (struct received){.bytes = back, .wrong = UINT64_MAX};
		back += answer;
		receive_more(pair->client, 2, back, &got);
		expect_received(&got, back, END_LIMIT, "answers");
	}
}

/* One thread: sends what goes, reads some of what is there. */
static void long_stream(struct pair *pair)
{
	static uint8_t bytes[1 << 16];
	struct received got = {.wrong = UINT64_MAX};
	uint64_t sent = 0;

	while (got.bytes < LONG_BYTES) {
		ssize_t count = 0;

		if (sent < LONG_BYTES) {
			size_t size = 1 + random_below(sizeof(bytes));

			if (size > LONG_BYTES - sent)
				size = LONG_BYTES - sent;
			stream_fill(3, sent, bytes, size);
			count = send(pair->client, bytes, size, MSG_NOSIGNAL);
			if (count < 0 && !would_block())
				broken("send: %s", strerror(errno));
			sent += count > 0 ? count : 0;
		}
		if (count > 0 && random_below(2))
			continue;
		/* The reader is slower than the sender until it can't send more. */
		receive_more(pair->server, 3,
			     got.bytes + 1 + random_below(1 + (sent - got.bytes) / 2), &got);
		if (got.ending != END_LIMIT || got.wrong != UINT64_MAX)
			expect_received(&got, sent, END_LIMIT, "a long stream");
		if (sent == LONG_BYTES && got.bytes < LONG_BYTES)
			receive_more(pair->server, 3, LONG_BYTES, &got);
	}
	expect_received(&got, LONG_BYTES, END_LIMIT, "a long stream");
}

/* What TCP has brought and somebody has read before the sockets are in the map. */
static void late_messages(void)
{
	struct pair pair = open_pair((struct pair_options){.steering = STEER_GUARDED});
	struct received got;
	uint32_t before;

	send_stream(pair.client, 4, 0, 3000);
	send_stream(pair.server, 5, 0, 2000);
	got = receive_stream(pair.server, 4, 3000);
	expect_received(&got, 3000, END_LIMIT, "before the map");
	got = receive_stream(pair.client, 5, 2000);
	expect_received(&got, 2000, END_LIMIT, "before the map");
	before = segments_received(pair.server) + segments_received(pair.client);
	enrol_late(&pair, BOTH_ENDS);
	short_messages(&pair);
	errno = 0;
	if (!settings.steered &&
	    segments_received(pair.server) + segments_received(pair.client) != before)
		untested("bytes of sockets that came late into the map were not redirected");
	close_pair(&pair);
}

/* The kernel has another set of functions for sockets of IPv6. */
static void ipv6_messages(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pair pair;

	if (fd < 0)
		return;
	close(fd);
	pair = open_pair((struct pair_options){
		.steering = STEER_GUARDED, .ends = BOTH_ENDS, .mapped = true});
	short_messages(&pair);
	expect_redirected(pair.server);
	expect_redirected(pair.client);
	close_pair(&pair);
}

void check_byte_order(void)
{
	struct pair pair = guarded_pair();

	never_poll();
	short_messages(&pair);
	expect_redirected(pair.server);
	expect_redirected(pair.client);
	close_pair(&pair);
	late_messages();
	ipv6_messages();
	pair = open_pair((struct pair_options){
		.steering = STEER_GUARDED, .ends = BOTH_ENDS, .lane = LANE_SMALL_BUDGET});
	long_stream(&pair);
	ok("%d messages each way; %d bytes that change between redirection and TCP",
	   3 * SHORT_ROUNDS, LONG_BYTES);
}

/* The server's end exists from the first bytes on, which TCP has carried. */
void check_byte_order_deferred_accept(void)
{
	struct pair_options options = {.steering = STEER_GUARDED, .ends = BOTH_ENDS};
	union address address;
	int listener = open_listener(how_of(options), options, &address);

	set_int(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, 30);
	for (int i = 0; i < 20; i++) {
		struct received got;
		struct pair pair = {.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

		if (connect(pair.client, &address.any, sizeof(address.v4)))
			untested("connect");
		send_stream(pair.client, i, 0, 1000);
		if (!await(listener, POLLIN))
			broken("the connection never came to the listener");
		send_stream(pair.client, i, 1000, 500);
		pair.server = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (pair.server < 0)
			untested("accept");
		send_stream(pair.client, i, 1500, 1500);
		got = receive_stream(pair.server, i, 3000);
		expect_received(&got, 3000, END_LIMIT, "bytes before and after accept");
		close_pair(&pair);
	}
	ok("20 connections with bytes before the server's socket existed");
}

void check_sendfile(void)
{
	struct pair pair = guarded_pair();
	struct received got = {.wrong = UINT64_MAX};
	uint8_t *content = malloc(FILE_BYTES);
	int file = memfd_create("shunt-contract", MFD_CLOEXEC);

	stream_fill(4, 0, content, FILE_BYTES);
	if (file < 0 || write(file, content, FILE_BYTES) != FILE_BYTES)
		untested("no file in memory");
	for (off_t offset = 0; offset < FILE_BYTES;) {
		ssize_t count = sendfile(pair.client, file, &offset, FILE_BYTES - offset);

		if (count < 0 && would_block() && await(pair.client, POLLOUT))
			continue;
		if (count <= 0)
			broken("sendfile at byte %lld: %s", (long long)offset,
			       count ? strerror(errno) : "wrote nothing");
		receive_more(pair.server, 4, offset, &got);
	}
	expect_received(&got, FILE_BYTES, END_LIMIT, "a file");
	expect_redirected(pair.server);
	ok("%d bytes of a file", FILE_BYTES);
}

void check_splice_in(void)
{
	struct pair pair = guarded_pair();
	struct received got;
	uint8_t content[PIPE_BYTES];
	int ends[2];

	stream_fill(5, 0, content, PIPE_BYTES);
	if (pipe2(ends, O_CLOEXEC) || write(ends[1], content, PIPE_BYTES) != PIPE_BYTES)
		untested("pipe");
	for (size_t sent = 0; sent < PIPE_BYTES;) {
		ssize_t count = splice(ends[0], NULL, pair.client, NULL, PIPE_BYTES - sent, 0);

		if (count < 0 && would_block() && await(pair.client, POLLOUT))
			continue;
		if (count <= 0)
			broken("splice at byte %zu: %s", sent,
			       count ? strerror(errno) : "wrote nothing");
		sent += count;
	}
	got = receive_stream(pair.server, 5, PIPE_BYTES);
	expect_received(&got, PIPE_BYTES, END_LIMIT, "bytes from a pipe");
	expect_redirected(pair.server);
	ok("%d bytes from a pipe", PIPE_BYTES);
}
