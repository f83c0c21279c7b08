#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# traffic.sh [MODE…]. Runs inside the guest, in the root of the repository: real programs in two namespaces talk through
# the agent, in every mode or those named, and last through exec ("exec" alone does that only), by IPv4, IPv6 and v4-mapped; the records must name the original destination in both directions.
set -e

server=
cleanup() {
	[ -z "$server" ] || kill $server 2>/dev/null || true
	ip netns del a 2>/dev/null || true
	ip netns del b 2>/dev/null || true
}
trap cleanup EXIT
ip netns add a
ip netns add b
for n in a b; do ip -n $n link set lo up; done
ip -n a link add eth0 type veth peer name eth0 netns b
ip -n a addr add 10.77.0.1/24 dev eth0
ip -n b addr add 10.77.0.2/24 dev eth0
addresses=10.77.0.2
destinations=10.77.0.2:8080
any=0.0.0.0
# A kernel without IPv6, or booted with ipv6.disable=1, has no such file.
if [ -e /proc/net/if_inet6 ]; then
	ip -n a addr add fd77::1/64 dev eth0 nodad
	ip -n b addr add fd77::2/64 dev eth0 nodad
	addresses="10.77.0.2 [fd77::2] [::ffff:10.77.0.2]"
	destinations="10.77.0.2:8080 \\[fd77::2\\]:8080"
	any=::
fi
for n in a b; do ip -n $n link set eth0 up; done
(cd /tmp && exec ip netns exec b python3 -m http.server --bind $any 8080 >/dev/null 2>&1) &
server=$!

# Waits, for up to a minute, until a command succeeds.
until_true() {
	tries=0
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || return 1
		sleep 0.2
	done
}
until_true ip netns exec a curl -s -m 5 http://10.77.0.2:8080/

[ $# -gt 0 ] || set -- ebpf mixed iptables exec
for mode in "$@"; do
	[ $mode != exec ] || continue
	rm -f /tmp/record.jsonl /tmp/ready
	node dist/main.js run --name vm --mode $mode --record /tmp/record.jsonl --workload-netns a --workload-netns b >/tmp/ready &
	agent=$!
	ready() { grep -q ready /tmp/ready || ! kill -0 $agent; }
	until_true ready
	grep -q ready /tmp/ready || { echo "$mode: not ready"; exit 1; }
	set -f
	for address in $addresses; do
		code=$(ip netns exec a curl -s -m 30 -o /dev/null -w '%{http_code}' "http://$address:8080/") || true
		[ "$code" = 200 ] || { echo "$mode: $address answered $code"; exit 1; }
	done
	if [ $mode = ebpf ] && ip netns exec a iptables-save | grep -q SHUNT; then echo "ebpf: there are rules"; exit 1; fi
	kill -TERM $agent
	wait $agent || { echo "$mode: the agent ended with $?"; exit 1; }
	for direction in outbound inbound; do
		for destination in $destinations; do
			grep "\"direction\":\"$direction\"" /tmp/record.jsonl | grep -q "\"originalDestination\":\"$destination\"" ||
				{ echo "$mode: no $direction record of $destination"; cat /tmp/record.jsonl; exit 1; }
		done
	done
	set +f
	# One at either end.
	records=$(($(echo $addresses | wc -w) * 2))
	[ "$(wc -l </tmp/record.jsonl)" = $records ] || { echo "$mode: $(wc -l </tmp/record.jsonl) records instead of $records"; exit 1; }
	echo "$mode: ok"
done

case " $* " in *" exec "*) ;; *) exit 0 ;; esac
rm -f /tmp/exec.jsonl
status=0
node dist/main.js exec --record /tmp/exec.jsonl -- curl -s -m 30 -o /dev/null http://127.0.0.1:9/ || status=$?
[ $status = 56 ] || [ $status = 7 ] || { echo "exec: curl ended with $status"; exit 1; }
grep -q '"outcome":"connect-failed"' /tmp/exec.jsonl || { echo "exec: no record"; exit 1; }
echo "exec: ok"
[ -z "$(ls /sys/fs/bpf 2>/dev/null | grep shunt)" ] || { echo "pins are left"; exit 1; }
