// SPDX-License-Identifier: Apache-2.0
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include "contract.h"

static void *read_blocking(void *argument)
{
	struct reader *reader = argument;
	uint64_t one = 1;

	/* Sleeps nowhere but in the read from here on. */
	atomic_store(&reader->tid, syscall(SYS_gettid));
	reader->result = io_receive(reader->fd, reader->bytes, reader->size, reader->flags);
	reader->error = errno;
	if (write(reader->done, &one, sizeof(one)) < 0)
		abort();
	return NULL;
}

void start_reader(struct reader *reader, int fd, size_t size, int flags)
{
	reader->fd = fd;
	reader->size = size < sizeof(reader->bytes) ? size : sizeof(reader->bytes);
	reader->flags = flags;
	reader->done = eventfd(0, EFD_CLOEXEC);
	atomic_store(&reader->tid, 0);
	if (reader->done < 0 || pthread_create(&reader->thread, NULL, read_blocking, reader))
		untested("no thread");
}

/* State of a thread as /proc tells it. S: sleeps, and a signal would wake it; 0: has ended. */
static char thread_state(int tid)
{
	char path[64], text[128] = "";
	const char *after;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* It has ended. */
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	after = strrchr(text, ')');
	return after && after[1] ? after[2] : 0;
}

bool thread_sleeps(int tid)
{
	return thread_state(tid) == 'S';
}

bool reader_sleeps(struct reader *reader)
{
	double deadline = now_seconds() + settings.deadline;

	for (;;) {
		int tid = atomic_load(&reader->tid);
		struct pollfd done = {.fd = reader->done, .events = POLLIN};

		if (tid && thread_sleeps(tid))
			return poll(&done, 1, 0) == 0;
		if (poll(&done, 1, 0) > 0)
			return false;
		if (now_seconds() > deadline)
			untested("a reader did not fall asleep");
		usleep(100);
	}
}

void join_reader(struct reader *reader, const char *when)
{
	struct pollfd done = {.fd = reader->done, .events = POLLIN};

	if (poll(&done, 1, settings.deadline * 1000) <= 0)
		broken("%s: a blocking read never returned", when);
	pthread_join(reader->thread, NULL);
	close(reader->done);
	errno = reader->error;
}
