// SPDX-License-Identifier: Apache-2.0
/* What shunt-load saw: counts, latencies, checks of the stream. Callers with threads hold
 * report_lock. */
#ifndef SHUNT_TOOLS_LOAD_REPORT_H
#define SHUNT_TOOLS_LOAD_REPORT_H

#include <pthread.h>

#include "load-options.h"

/* Log-linear: 128 buckets for each power of two, so a quantile is at most 0.8 % off. */
#define SUB_BITS 7
#define BUCKETS	 ((64 - SUB_BITS) << SUB_BITS)

static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint64_t requests, errors, sent, received, mismatches, latencies;
	int64_t first_bad_offset;
	char first_error[120];
	uint32_t histogram[BUCKETS];
} report = {.first_bad_offset = -1};

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

static void record_latency(double seconds)
{
	report.histogram[bucket_of((uint64_t)(seconds * 1e9))]++;
	report.latencies++;
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
	if (report.errors++ == 0)
		snprintf(report.first_error, sizeof(report.first_error), "%s%s%s", text,
			 error ? ": " : "", error ? strerror(error) : "");
}

static void note_mismatch(uint64_t offset)
{
	if (report.mismatches++ == 0)
		report.first_bad_offset = offset;
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

static int socket_error(int fd)
{
	int error = 0;
	socklen_t size = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
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
	       report.requests / seconds, quantile(0.5), quantile(0.9), quantile(0.99),
	       quantile(0.999), (unsigned long long)report.sent,
	       (unsigned long long)report.received, bytes * 8 / seconds / 1e9,
	       (unsigned long long)report.mismatches);
	if (report.first_bad_offset < 0)
		printf("null");
	else
		printf("%lld", (long long)report.first_bad_offset);
	if (report.errors)
		printf(",\"firstError\":\"%s\"}\n", report.first_error);
	else
		printf(",\"firstError\":null}\n");
}

#endif
