// SPDX-License-Identifier: Apache-2.0
/* Echo server: one epoll loop, any number of connections, half-close kept apart from close. */
#include <pthread.h>

#include "echo-options.h"

#define BUFFER_SIZE 65536

struct connection {
	int fd;
	uint32_t events;
	bool read_ended, accounted;
	size_t begin, end; /* bytes of `buffer` still to be written */
	uint64_t received, sent, hash;
	double last_active;
	struct connection *previous, *next;
	uint8_t buffer[BUFFER_SIZE];
};

static int poller;
static struct connection *active;
static uint64_t finished;

static void watch(struct connection *c, uint32_t events, int operation)
{
	struct epoll_event event = {.events = events, .data.ptr = c};

	if (operation == EPOLL_CTL_MOD && c->events == events)
		return;
	c->events = events;
	if (epoll_ctl(poller, operation, c->fd, &event) < 0)
		die("epoll_ctl");
}

static void drop(struct connection *c)
{
	if (c->previous)
		c->previous->next = c->next;
	else
		active = c->next;
	if (c->next)
		c->next->previous = c->previous;
	close(c->fd);
	free(c);
	finished++;
}

static void accept_all(int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (!would_block() && errno != ECONNABORTED && errno != EMFILE)
				die("accept");
			return;
		}
		struct connection *c = calloc(1, sizeof(*c));
		if (!c)
			die("calloc");
		c->fd = fd;
		c->hash = FNV_START;
		c->last_active = now_seconds();
		c->next = active;
		if (active)
			active->previous = c;
		active = c;
		set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		watch(c, options.mode == MODE_SOURCE ? EPOLLOUT | EPOLLIN : EPOLLIN, EPOLL_CTL_ADD);
	}
}

/* False: the connection is over. */
static bool read_some(struct connection *c)
{
	bool keeps = options.mode == MODE_ECHO;

	if (c->read_ended || (keeps && c->begin < c->end))
		return true;
	static uint8_t scratch[BUFFER_SIZE];
	uint8_t *target = keeps ? c->buffer : scratch;
	ssize_t size = read(c->fd, target, BUFFER_SIZE);
	if (size < 0)
		return would_block();
	if (size == 0) {
		c->read_ended = true;
		return true;
	}
	c->received += size;
	if (options.reset) {
		reset_on_close(c->fd);
		return false;
	}
	if (options.mode == MODE_CHECKSUM)
		c->hash = fnv1a(c->hash, scratch, size);
	if (keeps) {
		c->begin = 0;
		c->end = size;
	}
	return true;
}

static bool answers_at_end(void)
{
	return options.mode == MODE_CHECKSUM || options.mode == MODE_COUNT;
}

/* Writes what is said at the end, and gives its length. */
static size_t account(char *text, uint64_t received, uint64_t hash)
{
	if (options.mode == MODE_COUNT)
		return snprintf(text, BUFFER_SIZE, "%llu\n", (unsigned long long)received);
	return snprintf(text, BUFFER_SIZE, "%llu %016llx\n", (unsigned long long)received,
			(unsigned long long)hash);
}

static void produce(struct connection *c)
{
	if (c->begin < c->end)
		return;
	if (options.mode == MODE_SOURCE) {
		uint64_t left = options.source_bytes ? options.source_bytes - c->sent : BUFFER_SIZE;
		c->begin = 0;
		c->end = left < BUFFER_SIZE ? left : BUFFER_SIZE;
		c->accounted = options.source_bytes && left == 0;
	} else if (answers_at_end() && c->read_ended && !c->accounted) {
		c->begin = 0;
		c->end = account((char *)c->buffer, c->received, c->hash);
		c->accounted = true;
	}
}

/* False: the connection is over. */
static bool write_some(struct connection *c)
{
	produce(c);
	if (c->begin == c->end)
		return true;
	ssize_t size = send(c->fd, c->buffer + c->begin, c->end - c->begin, MSG_NOSIGNAL);
	if (size < 0)
		return would_block();
	c->begin += size;
	c->sent += size;
	return true;
}

static void serve(struct connection *c, uint32_t events)
{
	c->last_active = now_seconds();
	if (events & EPOLLERR)
		return drop(c);
	if ((events & (EPOLLIN | EPOLLHUP)) && !read_some(c))
		return drop(c);
	if (!write_some(c))
		return drop(c);
	bool pending = c->begin < c->end;
	/* A source goes on after the peer's FIN only to its last byte; without one, FIN is the end.
	 */
	bool source_open = options.mode == MODE_SOURCE && !c->accounted &&
			   !(c->read_ended && !options.source_bytes);
	if (!pending && !source_open && c->read_ended && (!answers_at_end() || c->accounted))
		return drop(c);
	if (options.mode == MODE_SOURCE && c->accounted && !pending)
		shutdown(c->fd, SHUT_WR);
	bool wants_read = !c->read_ended && !(options.mode == MODE_ECHO && pending);
	watch(c, (wants_read ? EPOLLIN : 0) | (pending || source_open ? EPOLLOUT : 0),
	      EPOLL_CTL_MOD);
}

static void drop_idle(double now)
{
	for (struct connection *c = active, *next; c; c = next) {
		next = c->next;
		if (now - c->last_active > options.idle)
			drop(c);
	}
}

static bool send_all(int fd, const uint8_t *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t sent = send(fd, data + done, size - done, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
		done += sent;
	}
	return true;
}

static void serve_socket(int fd, uint8_t *buffer)
{
	uint64_t received = 0;
	ssize_t size;

	while ((size = read(fd, buffer, BUFFER_SIZE)) > 0) {
		received += size;
		if (options.mode == MODE_ECHO && !send_all(fd, buffer, size))
			break;
	}
	if (size == 0 && options.mode == MODE_COUNT)
		send_all(fd, buffer, account((char *)buffer, received, 0));
	close(fd);
	__atomic_add_fetch(&finished, 1, __ATOMIC_RELAXED);
}

static void *serving_thread(void *argument)
{
	uint8_t *buffer = malloc(BUFFER_SIZE);

	if (!buffer)
		die("malloc");
	serve_socket((int)(intptr_t)argument, buffer);
	free(buffer);
	return NULL;
}

/* What simple servers of applications do: one connection after the other, or a thread for each. */
static void serve_blocking(int fd)
{
	static uint8_t buffer[BUFFER_SIZE];
	pthread_attr_t detached;
	pthread_t thread;

	if (fd < 0)
		return;
	set_timeouts(fd, options.idle);
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (!options.threads)
		return serve_socket(fd, buffer);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &detached, serving_thread, (void *)(intptr_t)fd))
		close(fd);
	pthread_attr_destroy(&detached);
}

static void run(int listener)
{
	double start = now_seconds(), checked = start;
	struct epoll_event events[256];

	while (!options.connections || finished < options.connections) {
		double now = now_seconds();
		if (options.seconds && now - start >= options.seconds)
			return;
		int count = epoll_wait(poller, events, 256, 100);
		if (count < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < count; i++) {
			void *data = events[i].data.ptr;
			if (data == &options) {
				char ignored[256];
				if (read(STDIN_FILENO, ignored, sizeof(ignored)) <= 0)
					return;
			} else if (data != &poller)
				serve(data, events[i].events);
			else if (options.blocking)
				serve_blocking(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
			else
				accept_all(listener);
		}
		if (now - checked >= 0.5) {
			checked = now;
			drop_idle(now);
		}
	}
}

static int open_listener(union address *address, socklen_t size)
{
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, &address->any, size) < 0)
		die("bind");
	if (listen(fd, 4096) < 0)
		die("listen");
	if (getsockname(fd, &address->any, &size) < 0)
		die("getsockname");
	return fd;
}

static void watch_plain(int fd, void *tag, const char *what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};

	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
		die(what);
}

static void on_alarm(int signal)
{
	(void)signal;
	_exit(0);
}

int main(int argc, char **argv)
{
	union address address;

	program = "shunt-echo";
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help"))
			return fputs(help, stdout) < 0;
	if (argc < 3)
		usage_error("ADDRESS PORT", NULL, "both are needed");
	socklen_t size = parse_address(argv[1], argv[2], 0, &address);
	parse_options(argc, argv);
	raise_descriptor_limit();
	poller = epoll_create1(EPOLL_CLOEXEC);
	if (poller < 0)
		die("epoll_create1");
	int listener = open_listener(&address, size);
	watch_plain(listener, &poller, "listener");
	if (options.until_stdin_closes)
		watch_plain(STDIN_FILENO, &options,
			    "--until-stdin-closes needs a pipe or socket as standard input");
	if (options.blocking && options.seconds) {
		/* A blocked call must not outlast the time. */
		signal(SIGALRM, on_alarm);
		alarm((unsigned)options.seconds + 1);
	}
	bool v6 = address.any.sa_family == AF_INET6;
	printf("ready %s %u\n", argv[1], ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port));
	fflush(stdout);
	run(listener);
	return 0;
}
