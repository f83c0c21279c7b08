// SPDX-License-Identifier: Apache-2.0
/* The calls that checks judge by. With a fault they do what a faulty kernel would. */
#include <sys/ioctl.h>
#include "contract.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static void reorder(uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size / 2; i++) {
		uint8_t byte = bytes[i];
		bytes[i] = bytes[size - size / 2 + i];
		bytes[size - size / 2 + i] = byte;
	}
}

static void sleep_deadline(void)
{
	poll(NULL, 0, settings.deadline * 1000);
}

ssize_t io_receive(int fd, void *buffer, size_t size, int flags)
{
	bool blocks = !(fcntl(fd, F_GETFL) & O_NONBLOCK) && !(flags & MSG_DONTWAIT);
	ssize_t count;

	if (settings.fault == FAULT_PEEK)
		flags &= ~MSG_PEEK;
	if (settings.fault == FAULT_EARLY)
		flags &= ~MSG_WAITALL;
	if (settings.fault == FAULT_EAGAIN && blocks && !readable_now(fd)) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};

		poll(&wait, 1, settings.deadline * 500);
		errno = EAGAIN;
		return -1;
	}
	count = recv(fd, buffer, size, flags);
	if (count < 0 && errno == ECONNRESET && settings.fault == FAULT_FALSE_EOF)
		return 0;
	if (count == 0 && size > 0 && settings.fault == FAULT_SWALLOW_EOF) {
		sleep_deadline();
		errno = EAGAIN;
		return -1;
	}
	if (count > 0 && settings.fault == FAULT_REORDER)
		reorder(buffer, count);
	if (count > 1 && settings.fault == FAULT_LOSE)
		count--;
	return count;
}

/* Every third time that there would be something, nobody is told of it. */
static bool is_lost(void)
{
	static int times;

	if (settings.fault != FAULT_DEAF || ++times % 3)
		return false;
	sleep_deadline();
	return true;
}

int io_poll(struct pollfd *fds, int count, double seconds)
{
	int ready = poll(fds, count, seconds * 1000);

	for (int i = 0; i < count; i++) {
		int waiting = 0;

		if (settings.fault == FAULT_SILENT)
			fds[i].revents &= ~(POLLOUT | POLLERR);
		if (settings.fault == FAULT_EARLY && !ioctl(fds[i].fd, FIONREAD, &waiting) &&
		    waiting > 0) {
			fds[i].revents |= POLLIN;
			ready = 1;
		}
	}
	return ready > 0 && is_lost() ? 0 : ready;
}

int io_epoll(int epoll, struct epoll_event *event, double seconds)
{
	int ready = epoll_wait(epoll, event, 1, seconds * 1000);

	return ready > 0 && is_lost() ? 0 : ready;
}

int io_available(int fd)
{
	int bytes = 0;

	if (ioctl(fd, FIONREAD, &bytes))
		untested("FIONREAD");
	return settings.fault == FAULT_FIONREAD ? 0 : bytes;
}

ssize_t io_splice_out(int socket, int pipe, size_t size)
{
	if (settings.fault == FAULT_EAGAIN) {
		errno = EAGAIN;
		return -1;
	}
	return splice(socket, NULL, pipe, NULL, size, SPLICE_F_NONBLOCK);
}

void io_before_oob(int fd)
{
	if (settings.fault == FAULT_INLINE)
		set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1);
}

int io_mptcp(void)
{
	return settings.fault == FAULT_TCP ? IPPROTO_TCP : IPPROTO_MPTCP;
}
