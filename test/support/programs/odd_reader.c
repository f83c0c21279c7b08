// SPDX-License-Identifier: Apache-2.0
/*
 * Echo server that polls and reads, until it does something else after so many reads of a
 * connection: odd_reader ADDRESS PORT HABIT READS. One process for each connection. Compiled with
 * -D_GNU_SOURCE.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void set(int socket, int option, int value)
{
	if (setsockopt(socket, SOL_SOCKET, option, &value, sizeof(value)))
		fail("setsockopt");
}

/* By number: no table of symbols names it. */
static ssize_t splice_to_memory(int socket, char *bytes, size_t size)
{
	static int ends[2] = {-1, -1};
	ssize_t count;

	if (ends[0] < 0 && pipe(ends))
		fail("pipe");
	count = syscall(SYS_splice, socket, NULL, ends[1], NULL, size, 2 /* SPLICE_F_NONBLOCK */);
	return count <= 0 ? count : read(ends[0], bytes, count);
}

static void take_up(int socket, const char *habit)
{
	if (!strcmp(habit, "blocking"))
		fcntl(socket, F_SETFL, 0);
	else if (!strcmp(habit, "low-water"))
		set(socket, SO_RCVLOWAT, 2);
	else if (!strcmp(habit, "zero-copy"))
		set(socket, SO_ZEROCOPY, 1);
	else if (!strcmp(habit, "urgent-inline"))
		set(socket, SO_OOBINLINE, 1);
	else if (!strcmp(habit, "timestamps"))
		set(socket, SO_TIMESTAMP, 1);
	else if (!strcmp(habit, "peek-offset"))
		set(socket, SO_PEEK_OFF, 0);
}

/* Busy with something else for some seconds, in which it does not ask to be told of bytes. */
static void look_away(int epoll, int socket)
{
	struct epoll_event events = {.events = 0};
	struct timespec start, now;

	epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &events);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		syscall(SYS_getppid);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < 9);
	events.events = EPOLLIN;
	epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &events);
}

static void serve(int socket, const char *habit, int reads)
{
	static char bytes[65536];
	int spliced = !strcmp(habit, "splice");
	struct epoll_event events = {.events = EPOLLIN};
	int epoll = epoll_create1(0), done = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &events);
	for (;;) {
		ssize_t count;

		if (done == reads)
			take_up(socket, habit);
		if (done == reads && !strcmp(habit, "pause"))
			look_away(epoll, socket);
		if (epoll_wait(epoll, &events, 1, -1) < 0)
			fail("epoll_wait");
		count = spliced && done >= reads ? splice_to_memory(socket, bytes, sizeof(bytes))
						 : read(socket, bytes, sizeof(bytes));
		if (count == 0)
			exit(0);
		if (count < 0)
			continue;
		done++;
		for (ssize_t written = 0, more; written < count; written += more) {
			more = write(socket, bytes + written, count - written);
			if (more < 0)
				fail("write");
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (argc != 5)
		return 64;
	address.sin_port = htons(atoi(argv[2]));
	inet_pton(AF_INET, argv[1], &address.sin_addr);
	set(listener, SO_REUSEADDR, 1);
	signal(SIGCHLD, SIG_IGN);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 16))
		fail("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

		if (socket < 0)
			fail("accept4");
		if (fork() == 0)
			serve(socket, argv[3], atoi(argv[4]));
		close(socket);
	}
}
