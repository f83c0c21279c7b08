// SPDX-License-Identifier: Apache-2.0
/* The maps of bpf/contract.bpf.c, by the ids that the command line gives. */
#include <linux/bpf.h>
#include <sys/syscall.h>
#include "contract.h"

static int bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static int open_map(uint32_t id)
{
	union bpf_attr attributes = {.map_id = id};
	int fd = bpf(BPF_MAP_GET_FD_BY_ID, &attributes);

	if (fd < 0)
		untested("map %u", id);
	return fd;
}

bool has_maps(void)
{
	return settings.sockets_id && settings.counts_id;
}

struct counts read_counts(unsigned how)
{
	struct counts counts = {};
	uint32_t key = how;
	int fd = open_map(settings.counts_id);
	union bpf_attr attributes = {
		.map_fd = fd,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)&counts,
	};

	if (bpf(BPF_MAP_LOOKUP_ELEM, &attributes))
		untested("counters of the programs");
	close(fd);
	return counts;
}

int delete_entry(const struct entry_key *key)
{
	int fd = open_map(settings.sockets_id);
	union bpf_attr attributes = {.map_fd = fd, .key = (uintptr_t)key};
	int status = bpf(BPF_MAP_DELETE_ELEM, &attributes);

	close(fd);
	return status;
}

static void enrol(int map, int socket)
{
	struct entry_key key = key_of(socket);
	uint64_t value = socket;
	union bpf_attr attributes = {
		.map_fd = map,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)&value,
		.flags = BPF_NOEXIST,
	};

	if (bpf(BPF_MAP_UPDATE_ELEM, &attributes))
		untested("an established socket into the map");
}

void enrol_late(const struct pair *pair, int ends)
{
	int map;

	if (settings.steered && settings.steering == STEER_NONE)
		return;
	map = open_map(settings.sockets_id);
	if (ends & CLIENT)
		enrol(map, pair->client);
	if (ends & SERVER)
		enrol(map, pair->server);
	close(map);
}
