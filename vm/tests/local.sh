#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# local.sh MODE: test/vm/traffic.sh for kernels that can't join two namespaces. A client and a server share one namespace, or
# without any a cgroup of the machine's own; outbound connections by IPv4, IPv6 and v4-mapped go through the agent, and its
# records name where they were going. What auto takes is in "chosen".
set -e
mode=$1 server= agent= group=
cleanup() {
	for child in $agent $server; do kill $child 2>/dev/null || true; done
	[ -z "$agent" ] || wait $agent || true
	node dist/main.js clean --name vm >/dev/null 2>&1 || true
	ip netns del a 2>/dev/null || true
	[ -z "$group" ] || rmdir $group
}
trap cleanup EXIT
if ip netns add a 2>/dev/null; then
	workload="netns: a"
	inside() { ip netns exec a "$@"; }
elif group=$(sed -n 's/^cgroup2* \(\S*\) cgroup2 .*/\1/p' /proc/mounts | tail -1) && [ -n "$group" ]; then
	group=$group/app
	mkdir $group
	workload="cgroup: $group"
	inside() { sh -c "echo \$\$ >$group/cgroup.procs; exec \"\$@\"" inside "$@"; }
else
	echo "neither network namespaces (CONFIG_NET_NS) nor cgroup2 (CONFIG_CGROUPS)"
	exit 77
fi
inside ip link set lo up
inside ip addr replace 10.79.0.1/32 dev lo
addresses=10.79.0.1
destinations=10.79.0.1:8080
any=0.0.0.0
if [ -e /proc/net/if_inet6 ]; then
	inside ip addr replace fd79::1/128 dev lo nodad
	addresses="10.79.0.1 [fd79::1] [::ffff:10.79.0.1]"
	destinations="10.79.0.1:8080 \\[fd79::1\\]:8080"
	any=::
fi
(cd /tmp && if [ -z "$group" ]; then exec ip netns exec a python3 -m http.server --bind $any 8080; else exec python3 -m http.server --bind $any 8080; fi >/dev/null 2>&1) &
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
until_true inside curl -s -m 5 http://10.79.0.1:8080/
# Rules can't tell whose a connection is that arrives: a packet has no socket yet.
inbound=true kind=$mode
[ $mode != auto ] || kind=$chosen
case "$group$kind" in /*iptables | /*nftables) inbound=false ;; esac
cat >/tmp/local.yaml <<END
name: vm
mode: $mode
workloads:
  - name: app
    $workload
    inbound: { enabled: $inbound }
    outbound: { captureLocal: true }
END
rm -f /tmp/local.jsonl /tmp/ready
node dist/main.js run --config /tmp/local.yaml --record /tmp/local.jsonl >/tmp/ready 2>&1 &
agent=$!
ready() { grep -q '^ready' /tmp/ready || ! kill -0 $agent; }
until_true ready
if ! grep -q '^ready' /tmp/ready; then
	status=0
	wait $agent || status=$?
	agent=
	cat /tmp/ready
	# Rules for one cgroup of a machine need more than rules for a namespace.
	[ $status != 69 ] || [ -z "$group" ] || [ "$mode" = auto ] || exit 77
	exit 1
fi
cat /tmp/ready
set -f
for address in $addresses; do
	code=$(inside curl -s -m 30 -o /dev/null -w '%{http_code}' "http://$address:8080/") || true
	[ "$code" = 200 ] || { echo "$mode: $address answered $code"; exit 1; }
done
kill -TERM $agent
wait $agent || { echo "$mode: the agent ended with $?"; agent=; exit 1; }
agent=
for destination in $destinations; do
	grep '"direction":"outbound"' /tmp/local.jsonl | grep -q "\"originalDestination\":\"$destination\"" ||
		{ echo "$mode: no record of $destination"; cat /tmp/local.jsonl; exit 1; }
done
[ "$(grep -c '"direction":"outbound"' /tmp/local.jsonl)" = "$(echo $addresses | wc -w)" ] || { echo "other records:"; cat /tmp/local.jsonl; exit 1; }
[ -z "$(ls /sys/fs/bpf 2>/dev/null | grep shunt)" ] || { echo "pins are left"; exit 1; }
echo "$mode: ok"
