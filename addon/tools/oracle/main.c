// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>

#include "options.h"

/* One thread for each connection: their stacks hold little. */
#define STACK_SIZE 131072

union address with_port(union address address, uint16_t port)
{
	if (address.any.sa_family == AF_INET6)
		address.v6.sin6_port = htons(port);
	else
		address.v4.sin_port = htons(port);
	return address;
}

void start_thread(void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if ((errno = pthread_create(&thread, &attributes, run, argument)))
		die("pthread_create");
	pthread_attr_destroy(&attributes);
}

static sigset_t taken_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	return signals;
}

void block_signals(void)
{
	sigset_t signals = taken_signals();

	pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

int take_signal(int milliseconds)
{
	struct timespec time = {.tv_sec = milliseconds / 1000,
				.tv_nsec = milliseconds % 1000 * 1000000};
	sigset_t signals = taken_signals();
	int signal = sigtimedwait(&signals, NULL, &time);

	return signal < 0 ? 0 : signal;
}

static void *end_with_stdin(void *unused)
{
	char ignored[256];

	(void)unused;
	while (read(STDIN_FILENO, ignored, sizeof(ignored)) > 0)
		;
	kill(getpid(), SIGTERM);
	return NULL;
}

int main(int argc, char **argv)
{
	parse_command_line(argc, argv);
	raise_descriptor_limit();
	signal(SIGPIPE, SIG_IGN);
	block_signals();
	if (options.until_stdin_closes)
		start_thread(end_with_stdin, NULL);
	switch (options.command) {
	case COMMAND_SERVE:
		return run_server();
	case COMMAND_RELAY:
		return run_relay();
	default:
		return run_client();
	}
}
