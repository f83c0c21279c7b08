#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# adoption.sh: an agent is killed; while nobody is there nothing passes by; the next agent takes over what is in the
# kernel, the same maps, and intercepts with it; stopped, it leaves nothing.
set -e
agent= server=
cleanup() {
	[ -z "$agent" ] || kill -9 $agent 2>/dev/null || true
	[ -z "$server" ] || kill $server 2>/dev/null || true
	node dist/main.js clean --name vm >/dev/null 2>&1 || true
	ip netns del a
	ip netns del b
}
ip netns add a
ip netns add b
trap cleanup EXIT
for n in a b; do ip -n $n link set lo up; done
ip -n a link add eth0 type veth peer name eth0 netns b
ip -n a addr add 10.77.0.1/24 dev eth0
ip -n b addr add 10.77.0.2/24 dev eth0
for n in a b; do ip -n $n link set eth0 up; done
(cd /tmp && exec ip netns exec b python3 -m http.server 8080 >/dev/null 2>&1) &
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
get() { ip netns exec a curl -s -m 30 -o /dev/null -w '%{http_code}' http://10.77.0.2:8080/ || true; }
start() {
	rm -f /tmp/ready
	node dist/main.js run --name vm --record /tmp/adoption.jsonl --workload-netns a >/tmp/ready &
	agent=$!
	until_true grep -q ready /tmp/ready || { echo "not ready"; exit 1; }
}
# Pinned maps by inode, or rules without their counters and the time of the listing.
kernel_state() {
	pins=$(grep ' - bpf ' /proc/self/mountinfo | cut -d' ' -f5 | while read -r mount; do find "$mount/shunt/vm" -path '*map*' -type f -printf '%P %i\n' 2>/dev/null; done | sort -u)
	if [ -n "$pins" ]; then echo "$pins"; else ip netns exec a iptables-save | grep SHUNT | sed 's/\[.*\]//'; fi
}
rm -f /tmp/adoption.jsonl
until_true ip netns exec a curl -s -m 5 http://10.77.0.2:8080/
start
[ "$(get)" = 200 ] || { echo "no traffic through the first agent"; exit 1; }
before=$(kernel_state)
[ -n "$before" ] || { echo "nothing in the kernel"; exit 1; }
kill -9 $agent
wait $agent || true
[ "$(get)" = 000 ] || { echo "a connection passed while no agent was there"; exit 1; }
start
after=$(kernel_state)
[ "$before" = "$after" ] || { echo "not adopted:"; echo "$before"; echo "became"; echo "$after"; exit 1; }
[ "$(get)" = 200 ] || { echo "no traffic through the second agent"; exit 1; }
kill -TERM $agent
wait $agent || { echo "the agent ended with $?"; exit 1; }
agent=
grep -q '"originalDestination":"10.77.0.2:8080"' /tmp/adoption.jsonl || { echo "no record"; exit 1; }
echo "adopted: $(echo "$before" | wc -l) parts"
[ -z "$(kernel_state)" ] || { echo "left behind: $(kernel_state)"; exit 1; }
echo "adoption: ok"
