#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh TOKEN [FILTER…]: every cell of one kernel, in the root of the repository. Between "TOKEN begin NAME" and
# "TOKEN end NAME STATUS SECONDS" stands what the cell printed; status 77 is a skip, whose last line is the reason.
# The first cell is the probe: what it says decides what the others demand, whatever the kernel. "reduction NAME WHY" in it
# names what the cells have to do without.
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
	sh $traffic auto >/tmp/auto 2>&1
	status=$?
	cat /tmp/auto
	[ $status != 0 ] || grep -q "workload=.* mode=$chosen" /tmp/auto || { echo "auto took another mode than $chosen"; return 1; }
	return $status
}
told() { sed -n "s/^  \"$1\": \"\(.*\)\",*$/\1/p" /tmp/smoke | head -1; }
# Interception of one command: by eBPF, or by rules that tell its cgroup.
exec_possible() {
	case $chosen in
	none) return 1 ;;
	ebpf | mixed) return 0 ;;
	esac
	has cgroup2 || return 1
	has xt-cgroup && { has iptables-nft || has iptables-legacy; } && return 0
	has nftables && has nft-cgroup
}
has() { grep -A1 "^ *\"$1\": {" /tmp/smoke | grep -q '"ok": true'; }

skip() { cell "$1" sh -c 'echo "$0"; exit 77' "$2"; }
# What this kernel can't give the cells, by the probe's cell.
reduced() { grep -q "^reduction $1 " /tmp/smoke; }

cell probe probe
chosen=$(told mode)
export chosen
if reduced netns || reduced veth; then traffic=vm/tests/local.sh; else traffic=test/vm/traffic.sh; fi

# Interception as it would be chosen, which is the probe's mode, and every mode below it; no mode above it may work.
if [ "$chosen" = none ]; then cell auto sh vm/tests/refused.sh auto; else cell auto auto; fi
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
		cell "$mode" sh $traffic $mode
	fi
done
if has tproxy && [ $traffic = vm/tests/local.sh ]; then
	skip tproxy "connections that arrive can't be made without namespaces and veth"
elif has tproxy; then
	cell tproxy sh $traffic tproxy
else
	cell tproxy sh vm/tests/refused.sh tproxy
fi
if reduced netns; then
	for name in tuples "rules iptables" "rules nftables"; do skip "$name" "there are no network namespaces"; done
else
	if [ "$chosen" = none ]; then skip tuples "nothing is possible here"; else cell tuples sh vm/tests/tuples.sh; fi
	for backend in iptables nftables; do
		if has $backend || { [ $backend = iptables ] && { has iptables-nft || has iptables-legacy; }; }; then
			cell "rules $backend" sh vm/tests/rules.sh $backend
		else
			skip "rules $backend" "the probe says that there is no $backend"
		fi
	done
fi
if exec_possible; then cell exec sh test/vm/traffic.sh exec; else skip exec "the probe says that no mode can tell one cgroup"; fi
if [ "$chosen" != ebpf ] && [ "$chosen" != mixed ]; then
	skip sockets "eBPF is not possible here"
elif [ $traffic = vm/tests/local.sh ] || reduced ipv6; then
	skip sockets "it needs namespaces, veth and IPv6"
elif has netns-cookie-sockops || has sk-storage-inherited; then
	cell sockets sh test/vm/sockets.sh
else
	skip sockets "an external proxy needs netns-cookie-sockops or sk-storage-inherited"
fi
if [ "$chosen" = ebpf ] && [ -d /sys/fs/cgroup/net_cls,net_prio ]; then cell net-cls sh vm/tests/net-cls.sh; fi
if [ "$chosen" = none ]; then
	skip adoption "nothing is possible here"
elif [ $traffic = vm/tests/local.sh ]; then
	skip adoption "it needs namespaces and veth"
else
	cell adoption sh vm/tests/adoption.sh
fi
cell contract sh vm/tests/contract.sh
