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

static socklen_t address_of(unsigned how, struct pair_options options, union address *address)
{
	uint32_t v4 = htonl(0x7f540001 | how << 8);

	memset(address, 0, sizeof(*address));
	if (options.mapped) {
		address->v6.sin6_family = AF_INET6;
		address->v6.sin6_addr.s6_addr16[5] = 0xffff;
		address->v6.sin6_addr.s6_addr32[3] = v4;
		return sizeof(address->v6);
	}
	address->v4.sin_family = AF_INET;
	address->v4.sin_addr.s_addr = v4;
	return sizeof(address->v4);
}

static int open_socket(struct pair_options options)
{
	int fd = socket(options.mapped ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC,
			options.protocol);

	if (fd < 0)
		untested("socket");
	set_buffers(fd, options.buffer);
	return fd;
}

/* On a free port of the address that tells the programs what to do. */
int open_listener(unsigned how, struct pair_options options, union address *address)
{
	socklen_t size = address_of(how, options, address);
	int fd = open_socket(options);

	if (bind(fd, &address->any, size) || listen(fd, 64) ||
	    getsockname(fd, &address->any, &size))
		untested("no listener");
	return fd;
}

struct pair open_pair(struct pair_options options)
{
	union address address;
	struct pair pair = {.how = how_of(options)};
	int listener = open_listener(pair.how, options, &address);

	pair.client = open_socket(options);
	if (connect(pair.client, &address.any,
		    options.mapped ? sizeof(address.v6) : sizeof(address.v4)))
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
