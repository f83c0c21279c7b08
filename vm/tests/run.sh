#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh TOKEN [FILTER…]: every cell of one kernel, in the root of the repository. Between "TOKEN begin NAME" and
# "TOKEN end NAME STATUS SECONDS" stands what the cell printed; status 77 is a skip, whose last line is the reason.
# The first cell is the probe: what it says decides what the others demand, whatever the kernel.
token=$1
shift
filters="$*"

now() { cut -d. -f1 /proc/uptime; }
# The probe, and cells with one of the filters in their name; all when there is no filter.
wanted() {
	[ "$1" != probe ] && [ -n "$filters" ] || return 0
	for filter in $filters; do
		case $1 in *"$filter"*) return 0 ;; esac
	done
	return 1
}
cell() {
	name=$1
	shift
	wanted "$name" || return 0
	echo "$token begin $name"
	began=$(now)
	"$@" 2>&1
	echo "$token end $name $? $(($(now) - began))"
}
probe() {
	sh test/vm/smoke.sh >/tmp/smoke
	status=$?
	cat /tmp/smoke
	return $status
}
auto() {
	sh test/vm/traffic.sh auto >/tmp/auto 2>&1
	status=$?
	cat /tmp/auto
	[ $status != 0 ] || grep -q "workload=b mode=$chosen" /tmp/auto || { echo "auto took another mode than $chosen"; return 1; }
	return $status
}
told() { sed -n "s/^  \"$1\": \"\(.*\)\",*$/\1/p" /tmp/smoke | head -1; }
has() { grep -A1 "^ *\"$1\": {" /tmp/smoke | grep -q '"ok": true'; }

cell probe probe
chosen=$(told mode)

# Interception as it would be chosen, which is the probe's mode, and every mode below it; no mode above it may work.
cell auto auto
above=1
for mode in ebpf mixed iptables nftables; do
	if [ "$mode" = "$chosen" ]; then
		above=0
	elif [ $above = 1 ]; then
		cell "$mode" sh vm/tests/refused.sh $mode
	elif [ $mode = nftables ] && ! has nftables; then
		cell "$mode" sh vm/tests/refused.sh $mode
	elif [ $mode = iptables ] && ! has iptables-nft && ! has iptables-legacy; then
		cell "$mode" sh vm/tests/refused.sh $mode
	else
		cell "$mode" sh test/vm/traffic.sh $mode
	fi
done
if has tproxy; then
	cell tproxy sh test/vm/traffic.sh tproxy
else
	cell tproxy sh vm/tests/refused.sh tproxy
fi
cell tuples sh vm/tests/tuples.sh
cell exec sh test/vm/traffic.sh exec
if [ "$chosen" != ebpf ] && [ "$chosen" != mixed ]; then
	cell sockets sh -c 'echo "eBPF is not possible here"; exit 77'
elif has netns-cookie-sockops || has sk-storage-inherited; then
	cell sockets sh test/vm/sockets.sh
else
	cell sockets sh -c 'echo "an external proxy needs netns-cookie-sockops or sk-storage-inherited"; exit 77'
fi
for backend in iptables nftables; do
	cell "rules $backend" sh vm/tests/rules.sh $backend
done
if [ "$chosen" = ebpf ] && [ -d /sys/fs/cgroup/net_cls,net_prio ]; then cell net-cls sh vm/tests/net-cls.sh; fi
cell adoption sh vm/tests/adoption.sh
