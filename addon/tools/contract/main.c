// SPDX-License-Identifier: Apache-2.0
/*
 * shunt-contract: does what programs do with sockets, and says whether the kernel did as TCP does.
 * Every check is a process of its own, several at a time; one line of JSON for each.
 */
#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "contract.h"
#include "groups.h"

#define MAX_CHECKS   64
#define MAX_DEADLINE 6

struct settings settings;

static const struct check known[] = {
	{"byte-order", check_byte_order},
	{"byte-order-deferred-accept", check_byte_order_deferred_accept},
	{"half-read", check_half_read},
	{"overlap", check_overlap},
	{"eof-plain", check_eof_plain},
	{"close-after-write", check_close_after_write},
	{"half-close", check_half_close},
	{"reset", check_reset},
	{"fionread-redirected", check_fionread_redirected},
	{"fionread-plain", check_fionread_plain},
	{"poll", check_poll},
	{"epoll-level", check_epoll_level},
	{"epoll-edge", check_epoll_edge},
	{"msg-peek", check_msg_peek},
	{"backpressure", check_backpressure},
	{"sendfile", check_sendfile},
	{"splice-in", check_splice_in},
	{"mptcp-refused", check_mptcp_refused},
	{"crash-undelivered", check_crash_undelivered},
	{"delete-undelivered", check_delete_undelivered},
	{"blocking-read-half-close", check_blocking_read_half_close},
	{"blocking-read-other-sender", check_blocking_read_other_sender},
	{"blocking-read-signal", check_blocking_read_signal},
	{"splice-out", check_splice_out},
	{"rcvlowat", check_rcvlowat},
	{"waitall", check_waitall},
	{"oob", check_oob},
	{"zero-copy", check_zero_copy},
};

static const char *const faults[] = {
	[FAULT_NONE] = "none",
	[FAULT_REORDER] = "reorder",
	[FAULT_LOSE] = "lose",
	[FAULT_EAGAIN] = "eagain",
	[FAULT_SWALLOW_EOF] = "swallow-eof",
	[FAULT_FALSE_EOF] = "false-eof",
	[FAULT_DEAF] = "deaf",
	[FAULT_FIONREAD] = "fionread",
	[FAULT_PEEK] = "peek",
	[FAULT_TCP] = "tcp",
	[FAULT_SILENT] = "silent",
	[FAULT_EARLY] = "early",
	[FAULT_INLINE] = "inline",
};

static const char *const steerings[] = {
	[STEER_PASSING] = "passing",
	[STEER_NAIVE] = "naive",
	[STEER_GUARDED] = "guarded",
	[STEER_NONE] = "none",
};

struct run {
	const struct check *check;
	pid_t pid;
	double begun;
};

static struct run current;

static void print_result(const struct run *run, const char *result, const char *detail)
{
	/* One write: several processes share the output. */
	printf("{\"name\":\"%s\",\"result\":\"%s\",\"detail\":\"%s\",\"ms\":%.0f}\n",
	       run->check->name, result, detail, (now_seconds() - run->begun) * 1000);
	fflush(stdout);
}

bool is_steered(void)
{
	return settings.steered;
}

__attribute__((noreturn)) static void finish(const char *result, const char *format, va_list list)
{
	char detail[240];

	vsnprintf(detail, sizeof(detail), format, list);
	print_result(&current, result, detail);
	_exit(0);
}

void ok(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	finish("ok", format, list);
}

void broken(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	finish("broken", format, list);
}

void untested(const char *format, ...)
{
	char with_error[240];
	int error = errno;
	va_list list;

	snprintf(with_error, sizeof(with_error), error ? "%s: %s" : "%s", format, strerror(error));
	va_start(list, format);
	finish("untested", with_error, list);
}

static void enter(const char *netns, const char *cgroup)
{
	char path[4096];
	int fd;

	if (netns) {
		fd = open(netns, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, CLONE_NEWNET))
			die(netns);
		close(fd);
	}
	if (cgroup) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "0", 1) != 1)
			die(path);
		close(fd);
	}
}

static void start(struct run *run, unsigned limit)
{
	run->begun = now_seconds();
	run->pid = fork();
	if (run->pid < 0)
		die("fork");
	if (run->pid)
		return;
	current = *run;
	/* Whoever asked is gone: so is the question. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Its action is to end the process, which is what a check that hangs needs. */
	alarm(limit);
	errno = 0;
	run->check->run();
	untested("%s ended without a verdict", run->check->name);
}

static void collect(struct run *runs, int count)
{
	int status;
	pid_t pid = wait(&status);

	if (pid < 0)
		die("wait");
	for (int i = 0; i < count; i++) {
		char detail[80];

		if (runs[i].pid != pid || !WIFSIGNALED(status))
			continue;
		if (WTERMSIG(status) == SIGALRM)
			snprintf(detail, sizeof(detail), "a system call never returned");
		else
			snprintf(detail, sizeof(detail), "ended by signal %d", WTERMSIG(status));
		print_result(&runs[i], "broken", detail);
	}
}

static int index_of(const char *flag, const char *text, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], text))
			return i;
	usage_error(flag, text, "is not known");
}

static const struct check *check_named(const char *name)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(known[i].name, name))
			return &known[i];
	usage_error("CHECK", name, "is not known");
}

#define NAMES(array) array, sizeof(array) / sizeof(*(array))

int main(int argc, char **argv)
{
	struct run runs[MAX_CHECKS];
	const char *netns = NULL, *cgroup = NULL;
	int count = 0, jobs = 4;
	double patience = 1, slowest;

	program = "shunt-contract";
	for (int i = 1; i < argc; i++) {
		const char *flag = argv[i];

		if (flag[0] != '-') {
			if (count == MAX_CHECKS)
				usage_error("CHECK", flag, "is one too many");
			runs[count++].check = check_named(flag);
			continue;
		}
		if (!strcmp(flag, "--netns"))
			netns = option_value(argc, argv, &i);
		else if (!strcmp(flag, "--cgroup"))
			cgroup = option_value(argc, argv, &i);
		else if (!strcmp(flag, "--sockets"))
			settings.sockets_id =
				parse_number(flag, option_value(argc, argv, &i), 1, UINT32_MAX);
		else if (!strcmp(flag, "--counts"))
			settings.counts_id =
				parse_number(flag, option_value(argc, argv, &i), 1, UINT32_MAX);
		else if (!strcmp(flag, "--jobs"))
			jobs = parse_number(flag, option_value(argc, argv, &i), 1, MAX_CHECKS);
		else if (!strcmp(flag, "--patience"))
			patience = parse_seconds(flag, option_value(argc, argv, &i));
		else if (!strcmp(flag, "--fault"))
			settings.fault =
				index_of(flag, option_value(argc, argv, &i), NAMES(faults));
		else if (!strcmp(flag, "--steering")) {
			settings.steering =
				index_of(flag, option_value(argc, argv, &i), NAMES(steerings));
			settings.steered = true;
		} else
			usage_error(flag, NULL, "is not known");
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter(netns, cgroup);
	slowest = slowest_wake_up();
	settings.deadline = 0.5 + 30 * slowest;
	/* An emulated machine under load: what comes late there comes within seconds, not minutes.
	 */
	if (settings.deadline > MAX_DEADLINE)
		settings.deadline = MAX_DEADLINE;
	settings.deadline *= patience;
	printf("{\"slowestWakeUpMs\":%.3f,\"deadlineMs\":%.0f}\n", slowest * 1000,
	       settings.deadline * 1000);
	fflush(stdout);
	for (int started = 0, running = 0; started < count || running > 0;) {
		if (started < count && running < jobs) {
			start(&runs[started++], 20 * settings.deadline + 1);
			running++;
		} else {
			collect(runs, started);
			running--;
		}
	}
	return 0;
}
