// SPDX-License-Identifier: Apache-2.0
/* Numbers by chance that a seed repeats: splitmix64. */
#ifndef SHUNT_ORACLE_RANDOM_H
#define SHUNT_ORACLE_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

static inline uint64_t mixed(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline uint64_t next_random(struct random *random)
{
	return mixed(random->state += 0x9e3779b97f4a7c15ull);
}

/* From 0 to count - 1. */
static inline uint64_t below(struct random *random, uint64_t count)
{
	return count ? next_random(random) % count : 0;
}

/* One time in `times`. */
static inline bool once_in(struct random *random, uint64_t times)
{
	return below(random, times) == 0;
}

/* From min to max, each power of two as probable as the next: small ones are not rare. */
static inline uint64_t any_size(struct random *random, uint64_t min, uint64_t max)
{
	if (max <= min)
		return min;
	int bits = 64 - __builtin_clzll(max - min);
	uint64_t size = below(random, 1ull << below(random, bits + 1));
	return min + (size > max - min ? max - min : size);
}

#endif
