#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside the guest, in the root of the repository. Output is shown, the exit status decides.
set -e

echo "kernel $(uname -r)"
case ${SHUNT_VM_CGROUPS:-v2} in
v2) cgroup2=/sys/fs/cgroup ;;
hybrid) cgroup2=/sys/fs/cgroup/unified ;;
*) cgroup2= ;;
esac
[ -z "$cgroup2" ] || [ "$(stat -f -c %T $cgroup2)" = cgroup2fs ] || { echo "no cgroup2 at $cgroup2"; exit 1; }

# A namespace pair like the tests' own: modules of this kernel load when they are needed.
ip netns add shunt-vm-a
ip -n shunt-vm-a link set lo up
ip netns exec shunt-vm-a ping -c 1 -W 5 127.0.0.1 >/dev/null 2>&1 || ip -n shunt-vm-a link show lo
ip link add shunt-vm-v type veth peer name eth0 netns shunt-vm-a
ip netns exec shunt-vm-a nft add table inet probe
ip netns exec shunt-vm-a iptables -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001
ip netns del shunt-vm-a

if [ -f dist/main.js ]; then
	# 69 would mean that nothing is possible here; the kernels of the list can do something.
	node dist/main.js probe --json
fi
