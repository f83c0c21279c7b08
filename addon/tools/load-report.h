// SPDX-License-Identifier: Apache-2.0
/* What shunt-load saw: counts, latencies, checks of the stream. Each thread has a tally of its own.
 */
#ifndef SHUNT_TOOLS_LOAD_REPORT_H
#define SHUNT_TOOLS_LOAD_REPORT_H

#include <pthread.h>

#include "load-options.h"

/* Log-linear: 128 buckets for each power of two, so a quantile is at most 0.8 % off. */
#define SUB_BITS 7
#define BUCKETS	 ((64 - SUB_BITS) << SUB_BITS)

struct tally {
	/* `all` is every request, `requests` those since the warm-up; `opened` are connections. */
	uint64_t requests, all, opened, errors, sent, received, mismatches, latencies;
	int64_t first_bad_offset;
	char first_error[120];
	uint32_t histogram[BUCKETS];
};

static struct tally report = {.first_bad_offset = -1};
/* Where this thread counts: a lock for each request would be most of what is measured. */
static __thread struct tally *tally = &report;
static double counted_from;

static uint32_t bucket_of(uint64_t nanoseconds)
{
	if (nanoseconds < 1 << SUB_BITS)
		return nanoseconds;
	int shift = 63 - __builtin_clzll(nanoseconds) - SUB_BITS;
	return ((shift + 1) << SUB_BITS) + (nanoseconds >> shift) - (1 << SUB_BITS);
}

static double bucket_middle(uint32_t bucket)
{
	if (bucket < 1 << SUB_BITS)
		return bucket;
	int shift = (bucket >> SUB_BITS) - 1;
	uint64_t low = ((bucket & ((1 << SUB_BITS) - 1)) + (1ull << SUB_BITS)) << shift;
	return low + (1ull << shift) / 2.0;
}

/* A request that is done; those that began while it was warming up are not measured. */
static void record_request(double started, double now)
{
	tally->all++;
	if (started < counted_from)
		return;
	tally->requests++;
	tally->latencies++;
	tally->histogram[bucket_of((uint64_t)((now - started) * 1e9))]++;
}

/* Microseconds. */
static double quantile(double part)
{
	uint64_t wanted = (uint64_t)(part * report.latencies), seen = 0;

	if (report.latencies == 0)
		return 0;
	for (uint32_t i = 0; i < BUCKETS; i++) {
		seen += report.histogram[i];
		if (seen > wanted || seen == report.latencies)
			return bucket_middle(i) / 1e3;
	}
	return 0;
}

static void report_error(const char *text, int error)
{
	if (tally->errors++ == 0)
		snprintf(tally->first_error, sizeof(tally->first_error), "%s%s%s", text,
			 error ? ": " : "", error ? strerror(error) : "");
}

static void note_mismatch(uint64_t offset)
{
	if (tally->mismatches++ == 0)
		tally->first_bad_offset = offset;
}

/* Wrong bytes are counted one by one. */
static void check_stream(uint64_t seed, uint64_t offset, const uint8_t *data, size_t size)
{
	static __thread uint8_t expected[65536];

	stream_fill(seed, offset, expected, size);
	if (memcmp(expected, data, size) == 0)
		return;
	for (size_t i = 0; i < size; i++)
		if (expected[i] != data[i])
			note_mismatch(offset + i);
}

/* Missing and surplus bytes; the surplus was counted as wrong bytes only where it differs. */
static void check_length(uint64_t received, uint64_t wanted)
{
	if (received != wanted)
		note_mismatch(received < wanted ? received : wanted);
}

/* What a server with --mode count says at the end, cut to what is needed. */
#define ANSWER_SIZE 24

static void keep_answer(char *answer, uint64_t offset, const uint8_t *data, size_t size)
{
	if (offset >= ANSWER_SIZE - 1)
		return;
	size_t room = ANSWER_SIZE - 1 - offset;
	memcpy(answer + offset, data, size < room ? size : room);
}

/* NULL when the server says that it has got all that was sent. */
static const char *answer_problem(const char *answer, uint64_t sent)
{
	char *end;

	if (strtoull(answer, &end, 10) == sent && end != answer && *end == '\n')
		return NULL;
	return "the server did not get what was sent";
}

static int socket_error(int fd)
{
	int error = 0;
	socklen_t size = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

/* Adds what a thread has counted; the caller holds a lock. */
static void add_tally(const struct tally *other)
{
	if (report.errors == 0)
		memcpy(report.first_error, other->first_error, sizeof(report.first_error));
	if (report.first_bad_offset < 0)
		report.first_bad_offset = other->first_bad_offset;
	report.requests += other->requests;
	report.all += other->all;
	report.opened += other->opened;
	report.errors += other->errors;
	report.sent += other->sent;
	report.received += other->received;
	report.mismatches += other->mismatches;
	report.latencies += other->latencies;
	for (uint32_t i = 0; i < BUCKETS; i++)
		report.histogram[i] += other->histogram[i];
}

/* [part, microseconds] for each hundredth and for the last thousandths. */
static void print_distribution(void)
{
	static const double tail[] = {0.995, 0.998, 0.999, 0.9995, 0.9999};

	printf(",\"distribution\":[");
	for (int i = 1; i < 100; i++)
		printf("[%.2f,%.1f],", i / 100.0, quantile(i / 100.0));
	for (size_t i = 0; i < sizeof(tail) / sizeof(*tail); i++)
		printf("%s[%.4f,%.1f]", i ? "," : "", tail[i], quantile(tail[i]));
	printf("]");
}

static void print_report(double seconds)
{
	uint64_t bytes = report.sent > report.received ? report.sent : report.received;

	printf("{\"test\":\"%s\",\"connections\":%llu,\"requests\":%llu,\"errors\":%llu,"
	       "\"seconds\":%.6f,\"rate\":%.1f,"
	       "\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"bytesSent\":%llu,"
	       "\"bytesReceived\":%llu,"
	       "\"gbitPerSecond\":%.3f,\"mismatches\":%llu,\"firstBadOffset\":",
	       test_names[options.test], (unsigned long long)options.connections,
	       (unsigned long long)report.requests, (unsigned long long)report.errors, seconds,
	       report.requests / (seconds - options.warmup), quantile(0.5), quantile(0.9),
	       quantile(0.99), quantile(0.999), (unsigned long long)report.sent,
	       (unsigned long long)report.received, bytes * 8 / seconds / 1e9,
	       (unsigned long long)report.mismatches);
	if (report.first_bad_offset < 0)
		printf("null");
	else
		printf("%lld", (long long)report.first_bad_offset);
	printf(",\"allRequests\":%llu,\"opened\":%llu", (unsigned long long)report.all,
	       (unsigned long long)report.opened);
	if (options.distribution)
		print_distribution();
	if (report.errors)
		printf(",\"firstError\":\"%s\"}\n", report.first_error);
	else
		printf(",\"firstError\":null}\n");
}

#endif
