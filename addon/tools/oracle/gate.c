// SPDX-License-Identifier: Apache-2.0
/* Turns: each end sends when it has all that the other one sent in the turn before. */
#include "random.h"
#include "scenario.h"

static uint64_t turn_bytes(const struct scenario *scenario, uint32_t turn)
{
	uint64_t size = 1 + mixed(scenario->seed + turn) % (2 * scenario->turn_size);

	if (turn == 0)
		size += HEADER_SIZE;
	return turn + 1 == scenario->turns ? size + scenario->last_turn : size;
}

uint64_t gate_limit(struct gate *gate, const struct scenario *scenario, bool server,
		    uint64_t received)
{
	if (scenario->turns == 0)
		return server ? scenario->server.total : scenario->client.total;
	for (; gate->turn < scenario->turns; gate->turn++) {
		bool mine = (gate->turn % 2 == 1) == server;
		if (mine && received < gate->other)
			break;
		if (mine)
			gate->own += turn_bytes(scenario, gate->turn);
		else
			gate->other += turn_bytes(scenario, gate->turn);
	}
	return gate->own;
}
