#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# on-host.sh TOKEN [FILTER…]: the cells under the machine's own kernel, started by "unshare --mount --net". Namespaces of that
# name, pins and temporary files are its own; programs on the cgroups see traffic of its namespaces only.
set -e
directory=$(pwd)
mount -t tmpfs tmpfs /run
mkdir /run/directory
mount --bind "$directory" /run/directory
mount -t tmpfs tmpfs /tmp
[ -d "$directory" ] || { mkdir -p "$directory" && mount --bind /run/directory "$directory"; }
cd "$directory"
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf 2>/dev/null || true
ip link set lo up
exec sh vm/tests/run.sh "$@"
