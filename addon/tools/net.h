// SPDX-License-Identifier: Apache-2.0
/* What shunt-echo and shunt-load share: addresses, argument checks, clocks, the checked byte
 * stream. */
#ifndef SHUNT_TOOLS_NET_H
#define SHUNT_TOOLS_NET_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 2

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static const char *program;

/* A program of several files sets `program` in one of them. */
static inline const char *own_name(void)
{
	return program ? program : program_invocation_short_name;
}

__attribute__((noreturn)) static inline void usage_error(const char *flag, const char *value,
							 const char *wanted)
{
	fprintf(stderr, "%s: %s%s%s: %s (see --help)\n", own_name(), flag, value ? " " : "",
		value ? value : "", wanted);
	exit(EXIT_USAGE);
}

__attribute__((noreturn)) static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", own_name(), what, strerror(errno));
	exit(1);
}

/* The value of an option that takes one; moves *i onto it. */
static inline const char *option_value(int argc, char **argv, int *i)
{
	if (*i + 1 >= argc)
		usage_error(argv[*i], NULL, "needs a value");
	return argv[++*i];
}

static inline uint64_t parse_number(const char *flag, const char *text, uint64_t min, uint64_t max)
{
	char wanted[80];
	char *end;

	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || number < min || number > max) {
		snprintf(wanted, sizeof(wanted), "must be an integer from %llu to %llu",
			 (unsigned long long)min, (unsigned long long)max);
		usage_error(flag, text, wanted);
	}
	return number;
}

static inline double parse_seconds(const char *flag, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds > 0 && seconds <= 3600))
		usage_error(flag, text, "must be seconds, more than 0 and at most 3600");
	return seconds;
}

static inline socklen_t parse_address(const char *text, const char *port_text, uint16_t min_port,
				      union address *address)
{
	uint16_t port = parse_number("PORT", port_text, min_port, UINT16_MAX);

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &address->v4.sin_addr) == 1) {
		address->v4.sin_family = AF_INET;
		address->v4.sin_port = htons(port);
		return sizeof(address->v4);
	}
	if (inet_pton(AF_INET6, text, &address->v6.sin6_addr) == 1) {
		address->v6.sin6_family = AF_INET6;
		address->v6.sin6_port = htons(port);
		return sizeof(address->v6);
	}
	usage_error("ADDRESS", text, "must be an IPv4 or IPv6 address");
}

static inline double now_seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static inline void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static inline void set_int(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

static inline void set_timeouts(int fd, double seconds)
{
	struct timeval time = {.tv_sec = (time_t)seconds,
			       .tv_usec = (seconds - (time_t)seconds) * 1e6};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
}

/* close() sends RST instead of FIN. */
static inline void reset_on_close(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static inline bool would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/*
 * Byte `offset` of stream `seed`: splitmix64 of the 8-byte word it is in, so that any offset can be
 * checked by itself and neither a swap, a repeat nor a gap goes unseen.
 */
static inline uint64_t stream_word(uint64_t seed, uint64_t word)
{
	uint64_t z = (seed << 40) + (word + 1) * 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline void stream_fill(uint64_t seed, uint64_t offset, uint8_t *buffer, size_t size)
{
	for (size_t i = 0; i < size;) {
		uint64_t word = stream_word(seed, (offset + i) / 8) >> ((offset + i) % 8 * 8);
		for (size_t left = 8 - (offset + i) % 8; left > 0 && i < size; left--, i++) {
			buffer[i] = word;
			word >>= 8;
		}
	}
}

/* FNV-1a, continued from `hash`; start with FNV_START. */
#define FNV_START 0xcbf29ce484222325ull
static inline uint64_t fnv1a(uint64_t hash, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ data[i]) * 0x100000001b3ull;
	return hash;
}

#endif
