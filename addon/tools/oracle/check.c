// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "stream.h"

/* So many bytes are the same in two places never. */
#define KEY	 16
#define LAST_KEY 6
/* How far away, in either direction, bytes are looked for. */
#define WINDOW (4u << 20)
/* Foreign bytes before ones that are recognized. */
#define LARGEST_INSERT 64
/* Where so much is wrong, the rest isn't looked at closely. */
#define MOST_EVENTS 200

void check_start(struct check *check, uint64_t seed, uint64_t first, uint64_t total)
{
	*check = (struct check){
		.seed = seed, .first = first, .total = total, .start = first, .expected = first};
	check->bad_at = UINT64_MAX;
}

static size_t same_bytes(const struct check *check, const uint8_t *data, size_t size)
{
	uint8_t wanted[4096];

	for (size_t done = 0, part; done < size; done += part) {
		part = size - done < sizeof(wanted) ? size - done : sizeof(wanted);
		stream_bytes(check->seed, check->expected + done, wanted, part);
		if (memcmp(wanted, data + done, part) == 0)
			continue;
		while (wanted[done % sizeof(wanted)] == data[done])
			done++;
		return done;
	}
	return size;
}

static void end_piece(struct check *check, uint64_t next)
{
	check->pieces = realloc(check->pieces, (check->piece_count + 1) * sizeof(*check->pieces));
	if (!check->pieces)
		abort();
	check->pieces[check->piece_count++] = (struct piece){check->start, check->expected};
	check->start = check->expected = next;
}

/* Offset of `key` in the stream, near the expected one. */
static bool locate(const struct check *check, const uint8_t *key, size_t size, uint64_t *found)
{
	uint64_t from =
		check->expected > check->first + WINDOW ? check->expected - WINDOW : check->first;
	uint64_t to =
		check->expected + WINDOW < check->total ? check->expected + WINDOW : check->total;

	if (to <= from)
		return false;
	uint8_t *window = malloc(to - from);
	if (!window)
		abort();
	stream_bytes(check->seed, from, window, to - from);
	uint8_t *at = memmem(window, to - from, key, size);
	if (at)
		*found = from + (at - window);
	free(window);
	return at != NULL;
}

static void drop_pending(struct check *check, size_t size)
{
	check->pending_size -= size;
	memmove(check->pending, check->pending + size, check->pending_size);
}

/* False: more bytes are needed to tell. */
static bool resolve(struct check *check, bool last)
{
	size_t key = last && check->pending_size < KEY ? check->pending_size : KEY;
	uint64_t found;

	if (!last && check->pending_size < KEY + LARGEST_INSERT)
		return false;
	if (check->bad_at > check->expected)
		check->bad_at = check->expected;
	if (check->events++ < MOST_EVENTS && key >= LAST_KEY) {
		for (size_t skip = 0; skip <= LARGEST_INSERT && skip + key <= check->pending_size;
		     skip++) {
			if (!locate(check, check->pending + skip, key, &found))
				continue;
			drop_pending(check, skip);
			if (found == check->expected + skip) {
				/* Others stand in the place of so many. */
				check->corrupt += skip;
				check->expected = found;
				return true;
			}
			check->inserted += skip;
			if (found != check->expected)
				end_piece(check, found);
			return true;
		}
	}
	/* Beyond the end there is nothing they could stand for. */
	if (check->expected >= check->total) {
		check->inserted += check->pending_size;
	} else {
		check->corrupt += check->pending_size;
		check->expected += check->pending_size;
	}
	check->pending_size = 0;
	return true;
}

static void settle(struct check *check, bool last)
{
	while (check->pending_size) {
		size_t same = same_bytes(check, check->pending, check->pending_size);
		check->expected += same;
		drop_pending(check, same);
		if (check->pending_size && !resolve(check, last))
			return;
	}
}

void check_bytes(struct check *check, const uint8_t *data, size_t size)
{
	if (check->pending_size == 0) {
		size_t same = same_bytes(check, data, size);
		check->expected += same;
		data += same;
		size -= same;
	}
	if (size == 0)
		return;
	check->pending = realloc(check->pending, check->pending_size + size);
	if (!check->pending)
		abort();
	memcpy(check->pending + check->pending_size, data, size);
	check->pending_size += size;
	settle(check, false);
}

static int by_start(const void *a, const void *b)
{
	const struct piece *left = a, *right = b;

	return (left->start > right->start) - (left->start < right->start);
}

/* What the pieces make of the stream up to `total`. */
static void count_pieces(struct check *check, uint64_t total, struct verdict *verdict)
{
	uint64_t high = check->first, late = 0, sum = 0, whole = 0, reached = check->first;

	for (size_t i = 0; i < check->piece_count; i++) {
		struct piece *piece = &check->pieces[i];
		sum += piece->end - piece->start;
		if (piece->start < high)
			late += (piece->end < high ? piece->end : high) - piece->start;
		if (piece->end > high)
			high = piece->end;
	}
	qsort(check->pieces, check->piece_count, sizeof(*check->pieces), by_start);
	for (size_t i = 0; i < check->piece_count; i++) {
		struct piece *piece = &check->pieces[i];
		if (piece->end <= reached)
			continue;
		whole += piece->end - (piece->start > reached ? piece->start : reached);
		reached = piece->end;
	}
	verdict->duplicated = sum - whole;
	verdict->reordered = late - verdict->duplicated;
	uint64_t length = (total > high ? total : high) - check->first;
	verdict->lost = length > whole ? length - whole : 0;
}

struct verdict check_end(struct check *check, bool complete)
{
	struct verdict verdict = {0};

	settle(check, true);
	/* A stream beyond its end repeats nothing, but it isn't what was sent. */
	if (check->expected > check->total && check->piece_count == 0) {
		check->inserted += check->expected - check->total;
		check->expected = check->total;
	}
	end_piece(check, 0);
	count_pieces(check, complete ? check->total : 0, &verdict);
	verdict.corrupt = check->corrupt;
	verdict.inserted = check->inserted;
	free(check->pieces);
	free(check->pending);
	check->pieces = NULL;
	check->pending = NULL;
	return verdict;
}
