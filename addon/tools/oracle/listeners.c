// SPDX-License-Identifier: Apache-2.0
/* The eight ports of a server, or of what stands before it. */
#include "listeners.h"

#include "options.h"
#include "random.h"

static int open_one(uint16_t port, bool defer)
{
	union address address = with_port(options.address, port);
	int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (defer)
		set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 30);
	if (bind(fd, &address.any, options.address_size) < 0 || listen(fd, 4096) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* All ports from `port` on, or none. */
static bool open_all(struct listener *listeners, uint16_t port, bool defer)
{
	for (int i = 0; i < LISTENERS; i++) {
		listeners[i] = (struct listener){
			.fd = open_one(port + i, defer && i / 2 * 2 == LISTEN_DEFERRED),
			.kind = i,
		};
		if (listeners[i].fd >= 0)
			continue;
		while (i-- > 0)
			close(listeners[i].fd);
		return false;
	}
	return true;
}

uint16_t open_listeners(struct listener *listeners, bool defer)
{
	struct random random = {now_seconds() * 1e9 + getpid()};

	for (int tries = 0; tries < 100; tries++) {
		uint16_t port =
			options.port ? options.port : 20000 + below(&random, 1500) * LISTENERS;
		if (open_all(listeners, port, defer))
			return port;
		if (options.port)
			break;
	}
	die("bind");
}
