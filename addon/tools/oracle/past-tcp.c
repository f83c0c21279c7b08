// SPDX-License-Identifier: Apache-2.0
/* By itself, because <linux/tcp.h> and <netinet/tcp.h> exclude each other and only the former knows
 * these fields. */
#include <linux/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "end.h"

#define IPPROTO_TCP 6

void past_tcp(int fd, uint64_t sent, uint64_t received, uint64_t *past_sent,
	      uint64_t *past_received)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
	    size < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof(info.tcpi_bytes_retrans))
		return;
	uint64_t written = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
	if (written < sent)
		*past_sent = sent - written;
	if (info.tcpi_bytes_received < received)
		*past_received = received - info.tcpi_bytes_received;
}
