// SPDX-License-Identifier: Apache-2.0
#include "contract.h"

unsigned how_of(struct pair_options options)
{
	enum steering steering = settings.steered ? settings.steering : options.steering;

	if (steering == STEER_NONE)
		return options.lane << 4;
	return options.ends | steering << 2 | options.lane << 4;
}

void set_blocking(int fd, bool blocking)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

static void set_buffers(int fd, int buffer)
{
	if (!buffer)
		return;
	set_int(fd, SOL_SOCKET, SO_SNDBUF, buffer);
	set_int(fd, SOL_SOCKET, SO_RCVBUF, buffer);
}

/* On a free port of the address that tells the programs what to do. */
int open_listener(unsigned how, struct pair_options options, struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, options.protocol);

	*address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f540001 | how << 8),
	};
	set_buffers(fd, options.buffer);
	if (fd < 0 || bind(fd, (struct sockaddr *)address, size) || listen(fd, 64) ||
	    getsockname(fd, (struct sockaddr *)address, &size))
		untested("no listener");
	return fd;
}

struct pair open_pair(struct pair_options options)
{
	struct sockaddr_in address;
	struct pair pair = {.how = how_of(options)};
	int listener = open_listener(pair.how, options, &address);

	pair.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, options.protocol);
	set_buffers(pair.client, options.buffer);
	if (connect(pair.client, (struct sockaddr *)&address, sizeof(address)))
		untested("connect");
	/* Accepted before anything is sent: both ends are where they belong by then. */
	pair.server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (pair.server < 0)
		untested("accept");
	close(listener);
	set_int(pair.client, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(pair.server, IPPROTO_TCP, TCP_NODELAY, 1);
	set_blocking(pair.client, options.blocking & CLIENT);
	set_blocking(pair.server, options.blocking & SERVER);
	return pair;
}

struct pair guarded_pair(void)
{
	return open_pair((struct pair_options){.steering = STEER_GUARDED, .ends = BOTH_ENDS});
}

void close_pair(struct pair *pair)
{
	close(pair->client);
	close(pair->server);
}

struct entry_key key_of(int fd)
{
	struct sockaddr_in local, remote;
	socklen_t size = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &size) ||
	    getpeername(fd, (struct sockaddr *)&remote, &size))
		untested("getsockname");
	return (struct entry_key){
		.local = local.sin_addr.s_addr,
		.remote = remote.sin_addr.s_addr,
		.local_port = ntohs(local.sin_port),
		.remote_port = ntohs(remote.sin_port),
	};
}
