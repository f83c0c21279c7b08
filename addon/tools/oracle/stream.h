// SPDX-License-Identifier: Apache-2.0
/*
 * The bytes of one direction: each 8-byte word is a hash of the stream's seed and of its own
 * position, so that any piece of it can be recognized wherever it turns up.
 */
#ifndef SHUNT_ORACLE_STREAM_H
#define SHUNT_ORACLE_STREAM_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "random.h"

static inline void stream_bytes(uint64_t seed, uint64_t offset, uint8_t *buffer, size_t size)
{
	for (size_t i = 0; i < size;) {
		uint64_t at = offset + i, skip = at % 8;
		uint64_t word = htole64(mixed(seed + (at / 8 + 1) * 0x9e3779b97f4a7c15ull));
		size_t part = 8 - skip < size - i ? 8 - skip : size - i;
		memcpy(buffer + i, (uint8_t *)&word + skip, part);
		i += part;
	}
}

#endif
