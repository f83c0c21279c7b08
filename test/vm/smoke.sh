#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside the guest, in the root of the repository: what this kernel can't give the other scripts, one "reduction NAME
# WHY" a line, and what the probe says of it. Output is shown, the exit status decides.
set -e

echo "kernel $(uname -r)"
reduction() { echo "reduction $*"; }
case ${SHUNT_VM_CGROUPS:-v2} in
v2) cgroup2=/sys/fs/cgroup ;;
hybrid) cgroup2=/sys/fs/cgroup/unified ;;
*) cgroup2= ;;
esac
[ -z "$cgroup2" ] || [ "$(stat -f -c %T $cgroup2)" = cgroup2fs ] || reduction cgroup2 "none at $cgroup2 (CONFIG_CGROUPS)"

# A namespace pair like the tests' own: modules of this kernel load when they are needed.
if ip netns add shunt-vm-a; then
	ip -n shunt-vm-a link set lo up
	ip netns exec shunt-vm-a ping -c 1 -W 5 127.0.0.1 >/dev/null 2>&1 || ip -n shunt-vm-a link show lo
	ip link add shunt-vm-v type veth peer name eth0 netns shunt-vm-a || reduction veth "no pair of interfaces (CONFIG_VETH)"
	ip netns del shunt-vm-a
else
	reduction netns "no namespaces (CONFIG_NET_NS)"
fi
# ipv6.disable=1 takes it away as well.
[ -e /proc/net/if_inet6 ] || reduction ipv6 "no IPv6 (CONFIG_IPV6)"
[ -d /proc/net/netfilter ] || reduction netfilter "no rules of any kind (CONFIG_NETFILTER)"

if [ -f dist/main.js ]; then
	# 69: nothing is possible here, which the probe says as well.
	node dist/main.js probe --json || [ $? = 69 ]
fi
