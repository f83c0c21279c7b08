// SPDX-License-Identifier: Apache-2.0
/* Kinds of sockets and of sending that redirection does not know. */
#include "contract.h"
#include "groups.h"

void check_oob(void)
{
	struct pair pair = guarded_pair();
	char bytes[8];
	ssize_t count;

	io_before_oob(pair.server);
	if (send(pair.client, "ab", 2, MSG_NOSIGNAL) != 2 ||
	    send(pair.client, "!", 1, MSG_OOB | MSG_NOSIGNAL) != 1)
		broken("send: %s", strerror(errno));
	if (!await(pair.server, POLLIN))
		broken("poll never said that bytes wait");
	expect_redirected(pair.server);
	count = io_receive(pair.server, bytes, sizeof(bytes), 0);
	if (count != 2)
		broken("%zd bytes in the stream instead of 2: the urgent one is among them", count);
	if (!await(pair.server, POLLPRI) || recv(pair.server, bytes, 1, MSG_OOB) != 1)
		broken("the urgent byte never came");
	ok("the urgent byte comes beside the stream");
}

void check_zero_copy(void)
{
	struct pair pair = guarded_pair();
	struct received got;
	static uint8_t bytes[1 << 16];
	char control[128];
	struct msghdr message = {.msg_control = control, .msg_controllen = sizeof(control)};
	int on = 1;

	if (setsockopt(pair.client, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)))
		ok("no zero-copy sending here: %s", strerror(errno));
	stream_fill(1, 0, bytes, sizeof(bytes));
	if (send(pair.client, bytes, sizeof(bytes), MSG_ZEROCOPY | MSG_NOSIGNAL) != sizeof(bytes))
		broken("send with MSG_ZEROCOPY: %s", strerror(errno));
	got = receive_stream(pair.server, 1, sizeof(bytes));
	expect_received(&got, sizeof(bytes), END_LIMIT, "bytes sent without a copy");
	expect_redirected(pair.server);
	/* POLLERR tells of a completion, and comes without being asked for. */
	if (!await(pair.client, 0) || recvmsg(pair.client, &message, MSG_ERRQUEUE) < 0)
		broken("the completion of a zero-copy send never comes");
	ok("a zero-copy send is completed");
}

/* The kernel takes connections of plain TCP only; of MPTCP it would see parts. */
void check_mptcp_refused(void)
{
	struct pair_options options = {
		.steering = STEER_GUARDED,
		.ends = BOTH_ENDS,
		.lane = LANE_MPTCP,
		.protocol = io_mptcp(),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, options.protocol);
	struct received got;
	struct counts before, after;
	struct pair pair;

	if (fd < 0)
		ok("no MPTCP sockets here: %s", strerror(errno));
	close(fd);
	if (!has_maps())
		untested("no programs");
	before = read_counts(how_of(options));
	pair = open_pair(options);
	send_stream(pair.client, 1, 0, 5000);
	got = receive_stream(pair.server, 1, 5000);
	expect_received(&got, 5000, END_LIMIT, "bytes of an MPTCP connection");
	after = read_counts(pair.how);
	if (after.enrolled != before.enrolled)
		broken("the map took %llu sockets of an MPTCP connection",
		       (unsigned long long)(after.enrolled - before.enrolled));
	if (after.refused == before.refused)
		untested("the programs saw no MPTCP connection begin");
	ok("the map refuses sockets of MPTCP connections");
}
