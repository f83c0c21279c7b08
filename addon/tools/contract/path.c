// SPDX-License-Identifier: Apache-2.0
/* Redirected bytes never become segments, so TCP's own counters tell which way bytes went. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define TCP_STATE_FIN_WAIT2 5 /* include/net/tcp_states.h */

/* net.h has glibc's older struct tcp_info, which ends before tcpi_data_segs_in (4.6). */
extern __attribute__((noreturn)) void untested(const char *format, ...);
uint32_t segments_received(int fd);
uint64_t bytes_received(int fd);
bool is_fin_wait2(int fd);
void expect_redirected(int receiver);
void expect_plain(int receiver);
extern bool is_steered(void);

static struct tcp_info info_of(int fd)
{
	struct tcp_info info = {};
	socklen_t size = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size))
		untested("TCP_INFO");
	return info;
}

uint32_t segments_received(int fd)
{
	return info_of(fd).tcpi_data_segs_in;
}

uint64_t bytes_received(int fd)
{
	return info_of(fd).tcpi_bytes_received;
}

bool is_fin_wait2(int fd)
{
	return info_of(fd).tcpi_state == TCP_STATE_FIN_WAIT2;
}

void expect_redirected(int receiver)
{
	bool plain = segments_received(receiver);

	errno = 0;
	if (!is_steered() && plain)
		untested("the bytes were not redirected");
}

void expect_plain(int receiver)
{
	bool plain = segments_received(receiver);

	errno = 0;
	if (!is_steered() && !plain)
		untested("the bytes were redirected");
}
