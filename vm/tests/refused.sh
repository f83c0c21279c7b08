#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# refused.sh MODE: a mode that the probe says is impossible must be refused with 69 and a reason when it is asked for, and
# leave nothing behind. What would carry traffic here is a probe that denies too much.
if ! ip netns add a 2>/dev/null; then
	echo "there are no network namespaces to try it in (CONFIG_NET_NS)"
	exit 77
fi
ip -n a link set lo up
trap 'ip netns del a' EXIT
node dist/main.js run --name vm --mode $1 --workload-netns a >/tmp/refused 2>&1 &
agent=$!
# It ends by itself, or is ready; two minutes are for a machine that is busy.
tries=0
while kill -0 $agent 2>/dev/null && ! grep -q '^ready' /tmp/refused && [ $tries -lt 600 ]; do
	tries=$((tries + 1))
	sleep 0.2
done
kill -TERM $agent 2>/dev/null
wait $agent
status=$?
cat /tmp/refused
if grep -q '^ready' /tmp/refused; then
	echo "$1 works here and the probe says it does not"
	exit 1
fi
[ $status = 69 ] || { echo "$1: exit $status instead of 69"; exit 1; }
[ -z "$(ls /sys/fs/bpf 2>/dev/null | grep shunt)" ] || { echo "$1: pins are left"; exit 1; }
if ip netns exec a iptables-save 2>/dev/null | grep -q SHUNT; then echo "$1: rules are left"; exit 1; fi
