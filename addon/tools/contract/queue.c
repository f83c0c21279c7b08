// SPDX-License-Identifier: Apache-2.0
/* How a receiver sees what waits for it. */
#include "contract.h"
#include "groups.h"

#define WAITING 1100

/* TCP may bring the second of two messages a moment later. */
static void expect_available(int fd, int bytes)
{
	double deadline = now_seconds() + settings.deadline / 5;
	int found;

	if (!await(fd, POLLIN))
		broken("poll never said that bytes wait");
	while ((found = io_available(fd)) != bytes)
		if (now_seconds() > deadline)
			broken("FIONREAD says %d of %d bytes that wait", found, bytes);
		else
			usleep(1000);
}

void check_fionread_redirected(void)
{
	struct pair pair = guarded_pair();
	struct received got;

	send_stream(pair.client, 1, 0, 100);
	send_stream(pair.client, 1, 100, WAITING - 100);
	expect_available(pair.server, WAITING);
	got = receive_stream(pair.server, 1, 600);
	expect_available(pair.server, WAITING - 600);
	receive_more(pair.server, 1, WAITING, &got);
	expect_received(&got, WAITING, END_LIMIT, "the bytes counted");
	if (io_available(pair.server))
		broken("FIONREAD says %d bytes where none wait", io_available(pair.server));
	expect_redirected(pair.server);
	ok("FIONREAD counts redirected bytes");
}

void check_fionread_plain(void)
{
	struct pair pair =
		open_pair((struct pair_options){.steering = STEER_PASSING, .ends = BOTH_ENDS});
	struct received got;

	send_stream(pair.client, 1, 0, WAITING);
	expect_available(pair.server, WAITING);
	got = receive_stream(pair.server, 1, 600);
	expect_available(pair.server, WAITING - 600);
	receive_more(pair.server, 1, WAITING, &got);
	expect_received(&got, WAITING, END_LIMIT, "the bytes counted");
	if (io_available(pair.server))
		broken("FIONREAD says %d bytes where none wait", io_available(pair.server));
	expect_plain(pair.server);
	ok("FIONREAD counts what TCP has brought");
}

void check_msg_peek(void)
{
	struct pair pair = guarded_pair();
	struct received got;
	uint8_t wanted[WAITING], seen[WAITING];

	stream_fill(1, 0, wanted, WAITING);
	send_stream(pair.client, 1, 0, 100);
	send_stream(pair.client, 1, 100, WAITING - 100);
	if (!await(pair.server, POLLIN))
		broken("poll never said that bytes wait");
	for (size_t size = 10; size <= 100; size += 90) {
		ssize_t count = io_receive(pair.server, seen, size, MSG_PEEK);

		if (count != (ssize_t)size || memcmp(seen, wanted, size))
			broken("MSG_PEEK of %zu bytes: %zd", size, count);
	}
	got = receive_stream(pair.server, 1, WAITING);
	expect_received(&got, WAITING, END_LIMIT, "what was peeked at");
	expect_redirected(pair.server);
	ok("MSG_PEEK shows bytes and leaves them");
}

void check_rcvlowat(void)
{
	struct pair pair = guarded_pair();
	struct pollfd early = {.fd = pair.server, .events = POLLIN};

	set_int(pair.server, SOL_SOCKET, SO_RCVLOWAT, WAITING);
	send_stream(pair.client, 1, 0, 10);
	if (io_poll(&early, 1, settings.deadline / 10) > 0)
		broken("readable with 10 of the %d bytes asked for", WAITING);
	send_stream(pair.client, 1, 10, WAITING);
	if (!await(pair.server, POLLIN))
		broken("not readable with more than the %d bytes asked for", WAITING);
	expect_redirected(pair.server);
	ok("readable from SO_RCVLOWAT bytes on");
}

void check_waitall(void)
{
	struct pair pair = open_pair((struct pair_options){
		.steering = STEER_GUARDED, .ends = BOTH_ENDS, .blocking = SERVER});
	static struct reader reader;

	send_stream(pair.client, 1, 0, 10);
	start_reader(&reader, pair.server, 50, MSG_WAITALL);
	reader_sleeps(&reader);
	send_stream(pair.client, 1, 10, 40);
	join_reader(&reader, "MSG_WAITALL");
	if (reader.result != 50)
		broken("a read of 50 bytes returned %zd of 10 that were there", reader.result);
	expect_redirected(pair.server);
	ok("MSG_WAITALL waits for all");
}

void check_splice_out(void)
{
	struct pair pair = guarded_pair();
	struct received got;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		untested("pipe");
	send_stream(pair.client, 1, 0, 5000);
	if (!await(pair.server, POLLIN))
		broken("poll never said that bytes wait");
	for (size_t moved = 0; moved < 5000;) {
		ssize_t count = io_splice_out(pair.server, ends[1], 5000 - moved);

		if (count < 0 && would_block() && !readable_now(pair.server) &&
		    await(pair.server, POLLIN))
			continue;
		if (count <= 0)
			broken("poll says readable, splice to a pipe says %s",
			       count ? strerror(errno) : "end of file");
		moved += count;
	}
	expect_redirected(pair.server);
	/* A pipe has no recv. */
	got = (struct received){.bytes = read(ends[0], (uint8_t[5000]){}, 5000),
				.wrong = UINT64_MAX};
	expect_received(&got, 5000, END_LIMIT, "bytes in the pipe");
	ok("splice moves redirected bytes to a pipe");
}
