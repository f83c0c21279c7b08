#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tuples.sh: two namespaces connect from the same loopback address and port to the same proxy port at once, while the agent
# stands still and can't tell them apart by time; each record must have the destination of its own namespace.
set -e
agent=
cleanup() {
	[ -z "$agent" ] || kill -CONT $agent 2>/dev/null || true
	[ -z "$agent" ] || kill -9 $agent 2>/dev/null || true
	node dist/main.js clean --name vm >/dev/null 2>&1 || true
	ip netns del a
	ip netns del b
}
ip netns add a
ip netns add b
trap cleanup EXIT
for n in a b; do
	ip -n $n link set lo up
	# So that nobody's address is out of reach before the programs see the connection.
	ip -n $n link add eth0 type dummy 2>/dev/null || ip -n $n link add eth0 type veth peer name eth1
	ip -n $n link set eth0 up
	ip -n $n addr add 10.78.0.1/24 dev eth0
	[ ! -e /proc/net/if_inet6 ] || ip -n $n addr add fd78::1/64 dev eth0 nodad
done
count=2
[ ! -e /proc/net/if_inet6 ] || count=4
# Waits, for up to a minute, until a command succeeds.
until_true() {
	tries=0
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || return 1
		sleep 0.2
	done
}
rm -f /tmp/ready /tmp/tuples.jsonl
node dist/main.js run --name vm --record /tmp/tuples.jsonl --workload-netns a --workload-netns b >/tmp/ready &
agent=$!
until_true grep -q ready /tmp/ready || { echo "not ready"; exit 1; }
connect='
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
tcp = socket.socket(family)
tcp.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 40123))
tcp.settimeout(60)
tcp.connect((sys.argv[1], 80))
print("connected", flush=True)
tcp.recv(1)
'
kill -STOP $agent
clients=
for pair in "a 10.78.0.10" "b 10.78.0.20" "a fd78::10" "b fd78::20"; do
	set -- $pair
	case $2$count in *:*2) continue ;; esac
	rm -f "/tmp/client-$2"
	ip netns exec $1 python3 -c "$connect" $2 >"/tmp/client-$2" 2>&1 &
	clients="$clients $!"
	until_true grep -q connected "/tmp/client-$2" || { echo "$2 from $1:"; cat "/tmp/client-$2"; exit 1; }
done
kill -CONT $agent
for client in $clients; do wait $client || true; done
for pair in "a 10.78.0.10:80" "b 10.78.0.20:80" 'a \[fd78::10\]:80' 'b \[fd78::20\]:80'; do
	set -- $pair
	case $2$count in *:*:*2) continue ;; esac
	told() { grep "\"workload\":\"$1\"" /tmp/tuples.jsonl | grep -q "\"originalDestination\":\"$2\""; }
	until_true told "$1" "$2" || { echo "no record of $2 from $1:"; cat /tmp/tuples.jsonl; exit 1; }
done
[ "$(wc -l </tmp/tuples.jsonl)" = $count ] || { echo "not $count records:"; cat /tmp/tuples.jsonl; exit 1; }
kill -TERM $agent
wait $agent || { echo "the agent ended with $?"; exit 1; }
agent=
echo "tuples: ok"
