// SPDX-License-Identifier: Apache-2.0
/* How much a reader that does not read can make the machine keep. */
#include "contract.h"
#include "groups.h"

/* Budget and socket buffers (both ends, doubled by the kernel) are far below. */
#define BUFFER (1 << 17)
#define BOUND  (4 << 20)

void check_backpressure(void)
{
	static uint8_t bytes[1 << 16];
	struct pair pair = open_pair((struct pair_options){
		.steering = STEER_GUARDED, .ends = BOTH_ENDS, .buffer = BUFFER});
	struct received got = {.wrong = UINT64_MAX};
	struct pollfd full = {.fd = pair.client, .events = POLLOUT};
	uint64_t sent = 0;

	for (;;) {
		ssize_t count;

		stream_fill(1, sent, bytes, sizeof(bytes));
		count = send(pair.client, bytes, sizeof(bytes), MSG_NOSIGNAL);
		if (count < 0 && !would_block())
			broken("send after %llu bytes: %s", (unsigned long long)sent,
			       strerror(errno));
		sent += count > 0 ? count : 0;
		if (sent > BOUND)
			broken("%llu bytes went to a reader that does not read",
			       (unsigned long long)sent);
		/* TCP may find room a moment later; when it does not, the sender waits. */
		if (count < 0 && poll(&full, 1, settings.deadline * 100) == 0)
			break;
	}
	receive_more(pair.server, 1, sent, &got);
	expect_received(&got, sent, END_LIMIT, "what had waited");
	if (!await(pair.client, POLLOUT))
		broken("the reader has read, and the sender is not told");
	ok("the sender waits after %llu bytes", (unsigned long long)sent);
}
