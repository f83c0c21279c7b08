// SPDX-License-Identifier: Apache-2.0
/* Packets of which a part has been received, or read, before: each byte comes once. */
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include "contract.h"
#include "groups.h"

#define FIRST  60000
#define SECOND 30000
/* What a retransmission repeats, and what it brings. */
#define SENT   1000
#define AGAIN  400
#define ROUNDS 3

static struct pair unsteered_pair(void)
{
	return open_pair((struct pair_options){.steering = STEER_PASSING});
}

/* TCP counts what it has received; FIONREAD has a check of its own. */
static void wait_for_bytes(int fd, uint64_t bytes)
{
	double deadline = now_seconds() + settings.deadline;

	while (bytes_received(fd) < bytes) {
		if (now_seconds() > deadline)
			broken("%llu of %llu bytes came to TCP",
			       (unsigned long long)bytes_received(fd), (unsigned long long)bytes);
		usleep(1000);
	}
}

static void expect_nothing_more(int fd, const char *when)
{
	char byte;

	if (recv(fd, &byte, 1, MSG_DONTWAIT) > 0)
		broken("%s: more came than was sent", when);
}

/* A reader is in the midst of a packet when its socket comes into the map. */
void check_half_read(void)
{
	static const size_t reads[] = {1, FIRST / 3, FIRST - 1, FIRST};
	char when[40];

	for (size_t i = 0; i < sizeof(reads) / sizeof(*reads); i++) {
		struct pair pair = unsteered_pair();
		struct received got;

		snprintf(when, sizeof(when), "after %zu bytes", reads[i]);
		send_stream(pair.client, i, 0, FIRST);
		wait_for_bytes(pair.server, FIRST);
		got = receive_stream(pair.server, i, reads[i]);
		enrol_late(&pair, SERVER);
		send_stream(pair.client, i, FIRST, SECOND);
		receive_more(pair.server, i, FIRST + SECOND, &got);
		expect_received(&got, FIRST + SECOND, END_LIMIT, when);
		expect_nothing_more(pair.server, when);
		close_pair(&pair);
	}
	ok("a packet read in part, in %zu ways", sizeof(reads) / sizeof(*reads));
}

struct segment {
	struct iphdr ip;
	uint8_t rest[1600];
};

static struct tcphdr *tcp_of(struct segment *segment)
{
	return (void *)segment + segment->ip.ihl * 4;
}

static uint16_t sum_of(struct segment *segment)
{
	size_t size = ntohs(segment->ip.tot_len) - segment->ip.ihl * 4;
	uint8_t *bytes = (void *)tcp_of(segment);
	uint32_t sum = IPPROTO_TCP + size;

	for (int shift = 0; shift < 32; shift += 16)
		sum += (ntohl(segment->ip.saddr) >> shift & 0xffff) +
		       (ntohl(segment->ip.daddr) >> shift & 0xffff);
	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? bytes[i] : bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

/* The segment of `size` bytes that the client of the pair has sent. */
static void catch_segment(int raw, const struct pair *pair, size_t size, struct segment *segment)
{
	struct entry_key key = key_of(pair->server);

	while (await(raw, POLLIN)) {
		ssize_t got = recv(raw, segment, sizeof(*segment), MSG_DONTWAIT);
		struct tcphdr *tcp = tcp_of(segment);

		if (got >= (ssize_t)(sizeof(segment->ip) + sizeof(*tcp)) &&
		    segment->ip.daddr == key.local && ntohs(tcp->dest) == key.local_port &&
		    ntohs(tcp->source) == key.remote_port &&
		    got == (ssize_t)(segment->ip.ihl * 4 + tcp->doff * 4 + size))
			return;
	}
	errno = 0;
	untested("the segment was not seen");
}

/* The same segment, but AGAIN bytes of it are of before, and the others of after it. */
static void repeat(int raw, struct segment *segment, uint64_t seed, uint64_t offset)
{
	struct tcphdr *tcp = tcp_of(segment);
	union address to = {.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = segment->ip.daddr}};

	tcp->seq = htonl(ntohl(tcp->seq) + SENT - AGAIN);
	tcp->check = 0;
	stream_fill(seed, offset + SENT - AGAIN, (void *)tcp + tcp->doff * 4, SENT);
	tcp->check = sum_of(segment);
	if (sendto(raw, segment, ntohs(segment->ip.tot_len), 0, &to.any, sizeof(to.v4)) < 0)
		untested("a segment of its own");
}

static void overlapping_round(int raw, struct pair *pair, int round, struct received *got)
{
	uint64_t offset = 2 * SENT * round;
	struct segment segment;

	while (recv(raw, &segment, sizeof(segment), MSG_DONTWAIT) >= 0)
		;
	send_stream(pair->client, 7, offset, SENT);
	catch_segment(raw, pair, SENT, &segment);
	wait_for_bytes(pair->server, offset + SENT);
	/* Nothing of it, a part, all of it. */
	receive_more(pair->server, 7, offset + SENT * round / (ROUNDS - 1), got);
	repeat(raw, &segment, 7, offset);
	receive_more(pair->server, 7, offset + 2 * SENT - AGAIN, got);
	expect_received(got, offset + 2 * SENT - AGAIN, END_LIMIT, "a segment that overlaps");
	/* The client has not sent these bytes: now it does, and overlaps itself. */
	send_stream(pair->client, 7, offset + SENT, SENT);
	receive_more(pair->server, 7, offset + 2 * SENT, got);
	expect_received(got, offset + 2 * SENT, END_LIMIT, "a segment that overlaps");
	expect_nothing_more(pair->server, "a segment that overlaps");
}

/* A retransmission may bring what has been received and more, as where the sender has put segments
 * together. */
void check_overlap(void)
{
	struct pair pair = unsteered_pair();
	struct received got = {.wrong = UINT64_MAX};
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);

	if (raw < 0)
		untested("a raw socket");
	set_int(raw, IPPROTO_IP, IP_HDRINCL, 1);
	enrol_late(&pair, SERVER);
	for (int round = 0; round < ROUNDS; round++)
		overlapping_round(raw, &pair, round, &got);
	ok("%d segments that repeat bytes", 2 * ROUNDS);
}
