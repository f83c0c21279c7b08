// SPDX-License-Identifier: Apache-2.0
/* What came of one direction, held against what it should be: bytes are recognized wherever they
 * turn up. */
#ifndef SHUNT_ORACLE_CHECK_H
#define SHUNT_ORACLE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the stream that came one after another. */
struct piece {
	uint64_t start, end;
};

struct check {
	uint64_t seed;
	uint64_t first;	   /* offset the stream begins at */
	uint64_t total;	   /* its length */
	uint64_t expected; /* offset the next byte should have */
	uint64_t bad_at;   /* where it went wrong first */
	uint64_t start;	   /* of the piece that goes on */
	uint64_t corrupt, inserted;
	struct piece *pieces;
	size_t piece_count;
	uint8_t *pending; /* not recognized yet */
	size_t pending_size;
	uint32_t events;
};

struct verdict {
	uint64_t lost, duplicated, reordered, corrupt, inserted;
};

void check_start(struct check *check, uint64_t seed, uint64_t first, uint64_t total);
void check_bytes(struct check *check, const uint8_t *data, size_t size);
/* `complete`: everything should have come. Gives back what `check` holds. */
struct verdict check_end(struct check *check, bool complete);

#endif
