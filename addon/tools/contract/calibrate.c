// SPDX-License-Identifier: Apache-2.0
/*
 * How long it can take on this machine, just now, until somebody who sleeps learns of bytes that
 * have come: plain TCP, so that nothing under test has a part in it.
 */
#include "contract.h"

#define ROUNDS	    50
#define MAX_SECONDS 0.3

static void *answer(void *argument)
{
	int fd = *(int *)argument;
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char byte;

	while (poll(&wait, 1, -1) > 0 && recv(fd, &byte, 1, 0) == 1)
		send(fd, &byte, 1, MSG_NOSIGNAL);
	return NULL;
}

double slowest_wake_up(void)
{
	struct pair pair = open_pair((struct pair_options){.steering = STEER_NONE});
	double begin = now_seconds(), slowest = 0;
	pthread_t thread;

	if (pthread_create(&thread, NULL, answer, &pair.server))
		untested("no thread");
	for (int i = 0; i < ROUNDS && now_seconds() - begin < MAX_SECONDS; i++) {
		struct pollfd wait = {.fd = pair.client, .events = POLLIN};
		double start = now_seconds();
		char byte = i;

		if (send(pair.client, &byte, 1, MSG_NOSIGNAL) != 1 || poll(&wait, 1, -1) != 1 ||
		    recv(pair.client, &byte, 1, 0) != 1)
			untested("plain TCP does not work here");
		if (now_seconds() - start > slowest)
			slowest = now_seconds() - start;
	}
	shutdown(pair.client, SHUT_RDWR);
	pthread_join(thread, NULL);
	close_pair(&pair);
	return slowest;
}
