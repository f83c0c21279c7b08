// SPDX-License-Identifier: Apache-2.0
/* The end of a connection comes after its last byte, and tells a reset from a farewell. */
#include "contract.h"
#include "groups.h"

static void plain_end(int ends, bool asleep)
{
	struct pair pair =
		open_pair((struct pair_options){.steering = STEER_PASSING, .ends = ends});
	struct received got = {.wrong = UINT64_MAX};

	if (asleep) {
		send_stream(pair.client, 1, 0, 500);
		receive_more(pair.server, 1, 500, &got);
	}
	send_stream(pair.client, 1, got.bytes, 3000);
	shutdown(pair.client, SHUT_WR);
	receive_more(pair.server, 1, UINT64_MAX, &got);
	expect_received(&got, asleep ? 3500 : 3000, END_EOF, "bytes by TCP and the end");
	expect_plain(pair.server);
	close_pair(&pair);
}

void check_eof_plain(void)
{
	for (int i = 0; i < 10; i++) {
		plain_end(BOTH_ENDS, i % 2);
		/* Where only the reader is in the map, as with a client that came too late. */
		plain_end(SERVER, i % 2);
	}
	ok("20 connections whose bytes and end came by TCP");
}

/* More than the buffers may hold; then the end. */
static void transfer(int from, int to, uint64_t seed, size_t size)
{
	struct received got = {.wrong = UINT64_MAX};

	for (size_t sent = 0; sent < size;) {
		size_t part = size - sent < 50000 ? size - sent : 50000;

		send_stream(from, seed, sent, part);
		sent += part;
		receive_more(to, seed, sent, &got);
	}
	shutdown(from, SHUT_WR);
	receive_more(to, seed, UINT64_MAX, &got);
	expect_received(&got, size, END_EOF, "an answer after the end");
}

void check_half_close(void)
{
	static const size_t sizes[] = {1, 1000, 200000};

	for (int i = 0; i < 9; i++) {
		struct pair pair = guarded_pair();
		size_t size = sizes[i % 3];
		struct received got;

		send_stream(pair.client, i, 0, size);
		shutdown(pair.client, SHUT_WR);
		got = receive_stream(pair.server, i, UINT64_MAX);
		expect_received(&got, size, END_EOF, "a request and the end");
		expect_redirected(pair.server);
		/* By TCP: nothing is redirected to an end that has said its last word. */
		transfer(pair.server, pair.client, i + 1, size);
		close_pair(&pair);
	}
	ok("9 requests ended by a half-close, answered after it");
}

void check_close_after_write(void)
{
	never_poll();
	for (int i = 0; i < 20; i++) {
		struct pair pair = guarded_pair();
		size_t size = 200000 + random_below(400000);
		struct received got;

		send_stream(pair.client, i, 0, size);
		expect_redirected(pair.server);
		close(pair.client);
		got = receive_stream(pair.server, i, UINT64_MAX);
		expect_received(&got, size, END_EOF, "close() right after the last byte");
		close(pair.server);
	}
	ok("20 transfers closed right after the last byte");
}

static void reset(bool unread)
{
	struct pair pair = guarded_pair();
	struct received got = {.wrong = UINT64_MAX};

	send_stream(pair.client, 1, 0, 10000);
	if (!unread)
		receive_more(pair.server, 1, 10000, &got);
	expect_redirected(pair.server);
	reset_on_close(pair.client);
	close(pair.client);
	receive_more(pair.server, 1, UINT64_MAX, &got);
	expect_received(&got, 10000, END_ERROR, unread ? "a reset, bytes unread" : "a reset");
	if (got.error != ECONNRESET)
		broken("a reset is told as %s", strerror(got.error));
	close(pair.server);
}

void check_reset(void)
{
	for (int i = 0; i < 5; i++) {
		reset(false);
		reset(true);
	}
	ok("10 resets, told as such after the last byte");
}
