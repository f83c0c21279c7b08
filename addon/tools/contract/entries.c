// SPDX-License-Identifier: Apache-2.0
/* What becomes of redirected bytes that nobody has read when their socket leaves the map. */
#include "contract.h"
#include "groups.h"

#define UNREAD 50000

/* The marker comes by TCP, since nobody is in the map to redirect to: there is nothing to wait for.
 */
void check_delete_undelivered(void)
{
	struct pair pair = guarded_pair();
	struct entry_key server = key_of(pair.server);
	struct received got;

	if (!settings.steered && !has_maps())
		untested("no programs");
	send_stream(pair.client, 1, 0, UNREAD);
	expect_redirected(pair.server);
	if (!settings.steered && delete_entry(&server))
		untested("delete an entry");
	send_stream(pair.client, 1, UNREAD, 10);
	got = receive_stream(pair.server, 1, UNREAD + 10);
	if (got.wrong == 0 && got.bytes == 10)
		broken("%d bytes that waited are lost with the entry", UNREAD);
	expect_received(&got, UNREAD + 10, END_LIMIT, "an entry deleted");
	ok("bytes that wait outlive their entry");
}

/* Both ways, until bytes come by TCP or for long enough that a kernel that lets go late has done
 * so. */
static bool go_on(struct pair *pair, uint64_t *there, uint64_t *back)
{
	double end = now_seconds() + settings.deadline / 5;

	do {
		send_stream(pair->client, 1, *there, 100);
		*there += 100;
		send_stream(pair->server, 2, *back, 1);
		*back += 1;
		if (segments_received(pair->client) && segments_received(pair->server))
			return true;
		usleep(1000);
	} while (now_seconds() < end);
	return false;
}

/*
 * The agent dies: maps and programs that only it held go. Whoever holds them lets go of standard
 * input afterwards; the kernel may take its time. Some let go of the sockets, others keep what is
 * established as it is: both will do, as long as no byte is lost or overtaken.
 */
void check_crash_undelivered(void)
{
	struct pair pair = guarded_pair();
	struct received got, answer;
	uint64_t there = UNREAD, back = 0;
	bool plain;
	char byte;

	send_stream(pair.client, 1, 0, UNREAD);
	expect_redirected(pair.server);
	printf("{\"armed\":\"crash-undelivered\"}\n");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		untested("standard input");
	plain = go_on(&pair, &there, &back);
	shutdown(pair.client, SHUT_WR);
	got = receive_stream(pair.server, 1, UINT64_MAX);
	expect_received(&got, there, END_EOF, "the programs are gone");
	shutdown(pair.server, SHUT_WR);
	answer = receive_stream(pair.client, 2, UINT64_MAX);
	expect_received(&answer, back, END_EOF, "the other way");
	ok("bytes that wait outlive the programs; what follows comes %s",
	   plain ? "by TCP" : "as before");
}
