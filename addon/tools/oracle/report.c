// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NOTES	  16
#define NOTE_SIZE 700
#define ERRORS	  32

static const char *const deviation_names[DEVIATIONS] = {
	"falseEof",    "waitallShort",	"lowatEarly",	   "fionreadWrong",
	"peekDiffers", "emptyReadable", "zerocopyMissing",
};
static const char *const operation_names[OPERATIONS] = {"connect", "recv", "send", "shutdown",
							"poll"};

struct error_count {
	enum operation operation;
	int error;
	bool as_tcp;
	uint64_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint64_t transfers, before_header, resets, died, stuck, urgent, port_waits;
	uint64_t sent, received, past_sent, past_received;
	struct verdict verdict;
	uint64_t deviations[DEVIATIONS];
	struct error_count errors[ERRORS];
	size_t error_kinds;
	char notes[NOTES][NOTE_SIZE];
	size_t note_count;
	double last_end; /* seconds since 1970 */
} report;

static void note_locked(const char *format, va_list arguments)
{
	if (report.note_count < NOTES)
		vsnprintf(report.notes[report.note_count++], NOTE_SIZE, format, arguments);
}

static void note(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	note_locked(format, arguments);
	va_end(arguments);
}

void report_note(const char *format, ...)
{
	va_list arguments;

	pthread_mutex_lock(&lock);
	va_start(arguments, format);
	note_locked(format, arguments);
	va_end(arguments);
	pthread_mutex_unlock(&lock);
}

void report_error(enum operation operation, int error, bool as_tcp)
{
	pthread_mutex_lock(&lock);
	size_t i = 0;
	while (i < report.error_kinds &&
	       (report.errors[i].operation != operation || report.errors[i].error != error ||
		report.errors[i].as_tcp != as_tcp))
		i++;
	if (i == report.error_kinds && i < ERRORS)
		report.errors[report.error_kinds++] =
			(struct error_count){operation, error, as_tcp, 0};
	if (i < ERRORS)
		report.errors[i].count++;
	pthread_mutex_unlock(&lock);
}

void report_before_header(void)
{
	pthread_mutex_lock(&lock);
	report.before_header++;
	pthread_mutex_unlock(&lock);
}

void report_port_wait(void)
{
	pthread_mutex_lock(&lock);
	report.port_waits++;
	pthread_mutex_unlock(&lock);
}

static bool is_clean(const struct verdict *verdict)
{
	return !verdict->lost && !verdict->duplicated && !verdict->reordered && !verdict->corrupt &&
	       !verdict->inserted;
}

static void describe_fault(const struct connection_report *connection)
{
	const struct verdict *v = &connection->verdict;
	char scenario[500] = "no scenario", deviations[160] = "";

	for (size_t i = 0, at = 0; i < DEVIATIONS; i++)
		if (connection->deviations[i] && at < sizeof(deviations))
			at += snprintf(deviations + at, sizeof(deviations) - at, " %s %u",
				       deviation_names[i], connection->deviations[i]);
	if (connection->scenario)
		describe_scenario(connection->scenario, scenario, sizeof(scenario));
	note("--number %u, local port %u, sent %llu, received %llu:%s reordered %llu lost %llu "
	     "duplicated %llu corrupt %llu inserted %llu from offset %lld;%s; %s",
	     connection->scenario ? connection->scenario->number : 0, connection->local_port,
	     (unsigned long long)connection->sent, (unsigned long long)connection->received,
	     connection->stuck ? " stuck" : "", (unsigned long long)v->reordered,
	     (unsigned long long)v->lost, (unsigned long long)v->duplicated,
	     (unsigned long long)v->corrupt, (unsigned long long)v->inserted,
	     (long long)connection->bad_at, deviations, scenario);
}

void report_connection(const struct connection_report *connection)
{
	struct timespec now;
	bool fault = !is_clean(&connection->verdict);

	clock_gettime(CLOCK_REALTIME, &now);
	pthread_mutex_lock(&lock);
	report.transfers++;
	report.sent += connection->sent;
	report.received += connection->received;
	report.past_sent += connection->past_sent;
	report.past_received += connection->past_received;
	report.verdict.lost += connection->verdict.lost;
	report.verdict.duplicated += connection->verdict.duplicated;
	report.verdict.reordered += connection->verdict.reordered;
	report.verdict.corrupt += connection->verdict.corrupt;
	report.verdict.inserted += connection->verdict.inserted;
	report.resets += connection->reset;
	report.died += connection->died;
	report.stuck += connection->stuck;
	report.urgent += connection->urgent;
	for (size_t i = 0; i < DEVIATIONS; i++) {
		report.deviations[i] += connection->deviations[i];
		fault |= connection->deviations[i] > 0;
	}
	report.last_end = now.tv_sec + now.tv_nsec / 1e9;
	/* What is stuck was told of by the watchdog. */
	if (fault)
		describe_fault(connection);
	pthread_mutex_unlock(&lock);
}

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('"');
}

static void print_errno(int error)
{
	static const struct {
		int error;
		const char *name;
	} known[] = {
		{ECONNRESET, "ECONNRESET"},
		{EPIPE, "EPIPE"},
		{EAGAIN, "EAGAIN"},
		{ENOMEM, "ENOMEM"},
		{ETIMEDOUT, "ETIMEDOUT"},
		{ECONNREFUSED, "ECONNREFUSED"},
		{ENOBUFS, "ENOBUFS"},
		{EINVAL, "EINVAL"},
		{ENOTCONN, "ENOTCONN"},
		{EHOSTUNREACH, "EHOSTUNREACH"},
		{EPERM, "EPERM"},
		{EACCES, "EACCES"},
		{ECONNABORTED, "ECONNABORTED"},
		{EIO, "EIO"},
		{EFAULT, "EFAULT"},
		{EOPNOTSUPP, "EOPNOTSUPP"},
		{EBADF, "EBADF"},
		{EINTR, "EINTR"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].error == error) {
			printf("\"%s\"", known[i].name);
			return;
		}
	printf("\"%d\"", error);
}

static bool print_errors(void)
{
	bool clean = true;

	printf(",\"errors\":[");
	for (size_t i = 0; i < report.error_kinds; i++) {
		const struct error_count *e = &report.errors[i];
		printf("%s{\"operation\":\"%s\",\"errno\":", i ? "," : "",
		       operation_names[e->operation]);
		print_errno(e->error);
		printf(",\"tcp\":%s,\"count\":%llu}", e->as_tcp ? "true" : "false",
		       (unsigned long long)e->count);
		clean &= e->as_tcp;
	}
	printf("]");
	return clean;
}

static bool print_deviations(void)
{
	bool clean = true;

	printf(",\"deviations\":{");
	for (size_t i = 0; i < DEVIATIONS; i++) {
		printf("%s\"%s\":%llu", i ? "," : "", deviation_names[i],
		       (unsigned long long)report.deviations[i]);
		clean &= report.deviations[i] == 0;
	}
	printf("}");
	return clean;
}

static void print_count(const char *name, uint64_t count)
{
	printf(",\"%s\":%llu", name, (unsigned long long)count);
}

bool report_print(const char *end, uint64_t seed, double seconds)
{
	pthread_mutex_lock(&lock);
	printf("{\"end\":\"%s\",\"seed\":%llu,\"seconds\":%.3f", end, (unsigned long long)seed,
	       seconds);
	print_count("transfers", report.transfers);
	print_count("sent", report.sent);
	print_count("received", report.received);
	print_count("pastTcpSent", report.past_sent);
	print_count("pastTcpReceived", report.past_received);
	print_count("reordered", report.verdict.reordered);
	print_count("lost", report.verdict.lost);
	print_count("duplicated", report.verdict.duplicated);
	print_count("corrupt", report.verdict.corrupt);
	print_count("inserted", report.verdict.inserted);
	print_count("stuck", report.stuck);
	print_count("resets", report.resets);
	print_count("resetsBeforeHeader", report.before_header);
	print_count("died", report.died);
	print_count("urgent", report.urgent);
	print_count("portWaits", report.port_waits);
	printf(",\"lastEnd\":%.3f", report.last_end);
	bool errors = print_errors();
	bool deviations = print_deviations();
	bool clean = errors && deviations && is_clean(&report.verdict) && report.stuck == 0;
	printf(",\"clean\":%s,\"notes\":[", clean ? "true" : "false");
	for (size_t i = 0; i < report.note_count; i++) {
		if (i)
			putchar(',');
		print_string(report.notes[i]);
	}
	printf("]}\n");
	fflush(stdout);
	pthread_mutex_unlock(&lock);
	return clean;
}
