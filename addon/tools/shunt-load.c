// SPDX-License-Identifier: Apache-2.0
/* Load generator: one epoll loop over -c connections, or one blocking thread for each. */
#include "load-blocking.h"

static const char help[] =
	"Usage: shunt-load ADDRESS PORT TEST [options]\n"
	"Runs one test against a server at an IPv4 or IPv6 address and prints one line of JSON.\n"
	"\n"
	"  rr       request and response of -s bytes (1) over kept connections; -n requests in "
	"all\n"
	"  bulk     send -n bytes in all, half-close, read to the end; --receive reads only\n"
	"           with -d alone until then; --confirm: the server (--mode count) must have got "
	"them all\n"
	"  connect  -n connections; with -s one request and response on each\n"
	"  verify   -n connections (-c) send a checkable stream of -s bytes (1048576), half-close, "
	"and\n"
	"           check every byte of the echo\n"
	"  rst      -n connections send -s bytes (1), wait for the first byte back and close with "
	"RST\n"
	"\n"
	"  -c, --connections N     at the same time (1)\n"
	"  -n, --total N           see above; default 1000, verify: -c, bulk: 1 GiB\n"
	"  -d, --duration SECONDS  start nothing new after this time; alone, it replaces -n\n"
	"  -s, --size BYTES        see above\n"
	"  --idle SECONDS          a connection that makes no progress this long is an error (10)\n"
	"  --receive               bulk: only receive\n"
	"  --blocking              blocking calls, one thread a connection\n"
	"  --warmup SECONDS        rr: what begins before is done, and not measured\n"
	"  --distribution          also print the latency below which each part of the requests "
	"is\n"
	"  --help\n"
	"\n"
	"Times p50 to p999 are microseconds. Exit: 0, 1 for any error or wrong byte, 2 for wrong "
	"usage.\n";

struct connection {
	int fd;
	bool connecting, shut;
	uint32_t events;
	uint64_t id, to_send, sent, received;
	double started, last_active;
	char answer[ANSWER_SIZE];
};

static int poller;
static uint64_t begun, running;
static double deadline;

/* Takes one unit (request or connection) of what is to be done: its number from 1, or 0. */
static uint64_t take(void)
{
	if (deadline && now_seconds() >= deadline)
		return 0;
	uint64_t number = __atomic_add_fetch(&begun, 1, __ATOMIC_RELAXED);
	return options.total && number > options.total ? 0 : number;
}

static void watch(struct connection *c, uint32_t events, int operation)
{
	struct epoll_event event = {.events = events, .data.ptr = c};

	if (operation == EPOLL_CTL_MOD && events == c->events)
		return;
	c->events = events;
	if (epoll_ctl(poller, operation, c->fd, &event) < 0)
		die("epoll_ctl");
}

static void finish(struct connection *c, int error, const char *text);

static uint64_t share(void)
{
	return (options.total + options.connections - 1) / options.connections;
}

/* Opens the connection of a slot for work that take() has given. */
static void begin(struct connection *c)
{
	*c = (struct connection){
		.fd = -1, .connecting = true, .id = begun, .to_send = options.size};
	c->started = c->last_active = now_seconds();
	if (options.test == TEST_BULK)
		c->to_send = options.receive ? 0 : options.total ? share() : UINT64_MAX;
	running++;
	c->fd = socket(options.address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		       0);
	if (c->fd < 0)
		return finish(c, errno, "socket");
	set_int(c->fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (connect(c->fd, &options.address.any, options.address_size) < 0 && errno != EINPROGRESS)
		return finish(c, errno, "connect");
	watch(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void finish(struct connection *c, int error, const char *text)
{
	if (error || text)
		report_error(text, error);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	running--;
}

/* The next connection in a free slot, where the test opens more than -c of them. */
static void refill(struct connection *c)
{
	/* A loop, as a connect can fail at once. */
	while (c->fd < 0 && options.test != TEST_BULK && take())
		begin(c);
}

/* 0, 1 when all is written for now, −1 after finish(). */
static int send_some(struct connection *c)
{
	static uint8_t buffer[65536];

	while (c->sent < c->to_send) {
		uint64_t left = c->to_send - c->sent;
		size_t size = left < sizeof(buffer) ? left : sizeof(buffer);
		if (options.test == TEST_VERIFY)
			stream_fill(c->id, c->sent, buffer, size);
		ssize_t done = send(c->fd, buffer, size, MSG_NOSIGNAL);
		if (done < 0 && would_block())
			return 0;
		if (done < 0)
			return finish(c, errno, "send"), -1;
		c->sent += done;
		report.sent += done;
		if (options.test == TEST_BULK)
			return 0; /* the other connections and the reading get their turn */
	}
	bool half_closes =
		options.test == TEST_VERIFY || (options.test == TEST_BULK && !options.receive);
	if (half_closes && !c->shut) {
		shutdown(c->fd, SHUT_WR);
		c->shut = true;
	}
	return 1;
}

/* What the end of the stream means. */
static void at_end(struct connection *c)
{
	if (options.test == TEST_VERIFY) {
		check_length(c->received, c->to_send);
		record_request(c->started, now_seconds());
		finish(c, 0, NULL);
	} else if (options.test == TEST_BULK) {
		finish(c, 0, options.confirm ? answer_problem(c->answer, c->sent) : NULL);
	} else {
		finish(c, 0, "closed by the server");
	}
}

/* A complete response; false after finish(). */
static bool at_response(struct connection *c)
{
	double now = now_seconds();

	record_request(c->started, now);
	if (options.test == TEST_RST)
		reset_on_close(c->fd);
	if (options.test != TEST_RR || !take())
		return finish(c, 0, NULL), false;
	c->started = now;
	c->sent = c->received = 0;
	return true;
}

/* False after finish(). */
static bool receive_some(struct connection *c)
{
	static uint8_t buffer[65536];
	ssize_t size = read(c->fd, buffer, sizeof(buffer));

	if (size < 0 && would_block())
		return true;
	if (size < 0)
		return finish(c, errno, "read"), false;
	if (size == 0)
		return at_end(c), false;
	report.received += size;
	if (options.test == TEST_VERIFY)
		check_stream(c->id, c->received, buffer, size);
	if (options.confirm)
		keep_answer(c->answer, c->received, buffer, size);
	c->received += size;
	if (options.test == TEST_BULK && options.receive && options.total && c->received >= share())
		return finish(c, 0, NULL), false;
	if (options.test == TEST_VERIFY || options.test == TEST_BULK)
		return true;
	if (c->received > options.size)
		return finish(c, 0, "more bytes than asked for"), false;
	uint64_t wanted = options.test == TEST_RST ? 1 : options.size;
	return c->received < wanted || at_response(c);
}

static void on_ready(struct connection *c, uint32_t events)
{
	c->last_active = now_seconds();
	if (c->connecting) {
		int error = socket_error(c->fd);
		if (error)
			return finish(c, error, "connect");
		c->connecting = false;
		report.opened++;
		if (options.test == TEST_CONNECT && options.size == 0) {
			at_response(c);
			return;
		}
	}
	if (options.test == TEST_BULK && deadline && now_seconds() >= deadline) {
		if (options.receive)
			return finish(c, 0, NULL);
		c->to_send = c->sent;
	}
	if ((events & ~EPOLLOUT) && !receive_some(c))
		return;
	int sent = send_some(c);
	if (sent >= 0)
		watch(c, EPOLLIN | (sent ? 0 : EPOLLOUT), EPOLL_CTL_MOD);
}

static void run_polling(struct connection *slots)
{
	struct epoll_event events[256];
	double checked = now_seconds();

	for (uint64_t i = 0; i < options.connections; i++) {
		slots[i].fd = -1;
		if (options.test == TEST_BULK || take())
			begin(&slots[i]);
		refill(&slots[i]);
	}
	while (running > 0) {
		int count = epoll_wait(poller, events, 256, 100);
		if (count < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < count; i++) {
			on_ready(events[i].data.ptr, events[i].events);
			refill(events[i].data.ptr);
		}
		double now = now_seconds();
		if (now - checked < 0.25)
			continue;
		checked = now;
		for (uint64_t i = 0; i < options.connections; i++)
			if (slots[i].fd >= 0 && now - slots[i].last_active > options.idle) {
				finish(&slots[i], ETIMEDOUT,
				       slots[i].connecting ? "connect" : "idle");
				refill(&slots[i]);
			}
	}
}

int main(int argc, char **argv)
{
	program = "shunt-load";
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help"))
			return fputs(help, stdout) < 0;
	parse_options(argc, argv);
	raise_descriptor_limit();
	poller = epoll_create1(EPOLL_CLOEXEC);
	struct connection *slots = calloc(options.connections, sizeof(*slots));
	if (poller < 0 || !slots)
		die("start");
	double start = now_seconds();
	deadline = options.seconds ? start + options.seconds : 0;
	counted_from = start + options.warmup;
	if (options.blocking)
		run_blocking();
	else
		run_polling(slots);
	print_report(now_seconds() - start);
	return report.errors || report.mismatches ? 1 : 0;
}
