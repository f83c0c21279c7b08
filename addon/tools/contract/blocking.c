// SPDX-License-Identifier: Apache-2.0
/*
 * A reader that sleeps in recv() is woken for other reasons than bytes; TCP goes back to sleep.
 * Each check makes sure that it sleeps before the reason comes.
 */
#include "contract.h"
#include "groups.h"

#define TRIALS 3

static struct pair blocking_client(int buffer)
{
	return open_pair((struct pair_options){
		.steering = STEER_GUARDED,
		.ends = BOTH_ENDS,
		.blocking = CLIENT,
		.buffer = buffer,
	});
}

static void expect_asleep(struct reader *reader, const char *when)
{
	if (reader_sleeps(reader))
		return;
	join_reader(reader, when);
	broken("%s: recv returned %zd (%s) without a byte", when, reader->result,
	       reader->result < 0 ? strerror(reader->error) : "no error");
}

/* It still sleeps, and gets the 5 bytes that come now. */
static void expect_answer(struct reader *reader, int server, const char *when)
{
	expect_asleep(reader, when);
	if (send(server, "reply", 5, MSG_NOSIGNAL) != 5)
		broken("%s: send: %s", when, strerror(errno));
	join_reader(reader, when);
	if (reader->result != 5 || memcmp(reader->bytes, "reply", 5))
		broken("%s: recv returned %zd (%s) instead of 5 bytes", when, reader->result,
		       reader->result < 0 ? strerror(reader->error) : "no error");
}

void check_blocking_read_half_close(void)
{
	for (int i = 0; i < TRIALS; i++) {
		struct pair pair = blocking_client(0);
		struct reader reader;
		double deadline = now_seconds() + settings.deadline;
		struct received got;

		send_stream(pair.client, 1, 0, 100);
		start_reader(&reader, pair.client, 100, 0);
		expect_asleep(&reader, "at first");
		shutdown(pair.client, SHUT_WR);
		got = receive_stream(pair.server, 1, 200);
		expect_received(&got, 100, END_EOF, "half-close");
		/* The FIN's acknowledgement is what wakes. */
		while (!is_fin_wait2(pair.client) && now_seconds() < deadline)
			usleep(100);
		expect_answer(&reader, pair.server, "after a half-close");
		close_pair(&pair);
	}
	ok("recv goes on waiting after a half-close");
}

/* Beyond the budget TCP takes over, whose send buffer fills and is drained. */
void check_blocking_read_other_sender(void)
{
	for (int i = 0; i < TRIALS; i++) {
		static uint8_t bytes[1 << 16];
		struct pair pair = blocking_client(1 << 16);
		struct reader reader;

		start_reader(&reader, pair.client, 100, 0);
		expect_asleep(&reader, "at first");
		for (int rounds = 0; rounds < 1024; rounds++)
			if (send(pair.client, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) <
			    0)
				break;
		if (errno != EAGAIN)
			untested("the send buffer never got full");
		for (;;) {
			struct pollfd writable = {.fd = pair.client, .events = POLLOUT};

			while (recv(pair.server, bytes, sizeof(bytes), 0) > 0)
				;
			if (poll(&writable, 1, 0) > 0)
				break;
			if (!await(pair.server, POLLIN) && poll(&writable, 1, 0) <= 0)
				broken("the send buffer was never drained");
		}
		expect_answer(&reader, pair.server, "while another thread sends");
		close_pair(&pair);
	}
	ok("recv goes on waiting while another thread sends");
}

static void on_signal(int number)
{
	(void)number;
}

void check_blocking_read_signal(void)
{
	for (int restart = 0; restart <= 1; restart++) {
		struct sigaction action = {.sa_handler = on_signal,
					   .sa_flags = restart ? SA_RESTART : 0};
		struct pair pair = blocking_client(0);
		struct reader reader;

		sigaction(SIGUSR1, &action, NULL);
		start_reader(&reader, pair.client, 100, 0);
		expect_asleep(&reader, "at first");
		pthread_kill(reader.thread, SIGUSR1);
		if (restart) {
			/* It has slept again only when the signal has been taken. */
			usleep(1000);
			expect_answer(&reader, pair.server, "after a signal with SA_RESTART");
		} else {
			join_reader(&reader, "a signal");
			if (reader.result != -1 || reader.error != EINTR)
				broken("recv returned %zd (%s) after a signal, not EINTR",
				       reader.result, strerror(reader.error));
		}
		close_pair(&pair);
	}
	ok("a signal ends recv with EINTR, or with SA_RESTART not at all");
}
