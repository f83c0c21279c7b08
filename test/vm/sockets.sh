#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside the guest, in the root of the repository: what the programs do to sockets besides TCP connections.
set -e

server= web= sidecar= agent=
cleanup() {
	for child in $server $web $sidecar $agent; do kill $child 2>/dev/null || true; done
	ip netns del a 2>/dev/null || true
	ip netns del b 2>/dev/null || true
}
trap cleanup EXIT
ip netns add a
ip netns add b
for n in a b; do ip -n $n link set lo up; done
ip -n a link add eth0 type veth peer name eth0 netns b
ip -n a addr add 10.77.0.1/24 dev eth0
ip -n a addr add fd77::1/64 dev eth0 nodad
for host in 2 3 4; do
	ip -n b addr add 10.77.0.$host/24 dev eth0
	ip -n b addr add fd77::$host/64 dev eth0 nodad
done
for n in a b; do ip -n $n link set eth0 up; done

# Waits, for up to a minute, until a file has a line.
until_line() {
	tries=0
	until grep -q "$1" "$2" 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || { echo "no $1 in $2"; exit 1; }
		[ -z "$agent" ] || kill -0 $agent 2>/dev/null || { echo "the agent has ended"; exit 1; }
		sleep 0.2
	done
}
programs=test/support/programs
ip netns exec b python3 $programs/dns_server.py 10.77.0.2 10.77.0.3 10.77.0.4 fd77::2 fd77::3 fd77::4 >/tmp/server &
server=$!
until_line ready /tmp/server
(cd /tmp && exec ip netns exec b python3 -m http.server --bind :: 8080 >/dev/null 2>&1) &
web=$!
start_sidecar() {
	rm -f /tmp/sidecar
	ip netns exec a python3 -u $programs/sidecar.py --uid 1337 --gid 1337 >/tmp/sidecar &
	sidecar=$!
	until_line ready /tmp/sidecar
}
start_sidecar

cat >/tmp/agent.yaml <<'END'
name: vm
mode: ebpf
workloads:
  - name: a
    netns: a
    proxy: { external: true, uid: 1337, gid: 1337 }
    inbound: { enabled: false }
    outbound: { dns: { capture: all } }
END
node dist/main.js run --config /tmp/agent.yaml >/tmp/ready &
agent=$!
until_line ready /tmp/ready

# A long buffer is what a getsockopt program can spoil, with EFAULT. Seen to pass without the guard of
# bpf/getsockopt.bpf.c under Debian's 6.1.0-56 as well: a kernel that needs it would show it here. No option is 9999.
read_option='
import ctypes, errno, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
tcp = socket.socket()
option, length = int(sys.argv[1]), ctypes.c_int(int(sys.argv[2]))
status = libc.getsockopt(tcp.fileno(), socket.IPPROTO_TCP, option, ctypes.create_string_buffer(length.value), ctypes.byref(length))
print(errno.errorcode[ctypes.get_errno()] if status else "read")
'
for read in "11 104 read" "11 8192 read" "9999 104 ENOPROTOOPT" "9999 8192 ENOPROTOOPT" "9999 65536 ENOPROTOOPT"; do
	set -- $read
	told=$(ip netns exec a python3 -c "$read_option" $1 $2)
	[ "$told" = "$3" ] || { echo "getsockopt of option $1, $2 bytes: $told instead of $3"; exit 1; }
done
echo "getsockopt: ok"

# An unmodified proxy learns where connections were going, whether it listened before the agent came or does since.
for age in old new; do
	for address in 10.77.0.2 fd77::2; do
		case $address in *:*) host="[$address]" ;; *) host=$address ;; esac
		code=$(ip netns exec a curl -s -m 30 --retry 5 --retry-connrefused -o /dev/null -w '%{http_code}' "http://$host:8080/") || true
		[ "$code" = 200 ] || { echo "$address by the $age proxy: $code"; exit 1; }
		until_line "outbound $address 8080" /tmp/sidecar
	done
	kill $sidecar
	wait $sidecar 2>/dev/null || true
	[ $age = new ] || start_sidecar
done
sidecar=
echo "external proxy: ok"

# One socket, several resolvers at once: each answer comes from the one that was asked.
check_several() {
	told=$(ip netns exec a python3 $programs/dns_several.py vm.test $1 | grep -o '"from": "[^"]*", "port": 53, "address": "[^"]*"')
	[ "$(echo "$told" | cut -d'"' -f4,10 | tr '\n' ' ')" = "$2" ] || { echo "$1 told: $told"; exit 1; }
}
check_several "10.77.0.2 10.77.0.3 10.77.0.4" '10.77.0.2"192.0.2.1 10.77.0.3"192.0.2.2 10.77.0.4"192.0.2.3 '
check_several "fd77::4 fd77::3 fd77::2" 'fd77::4"192.0.2.6 fd77::3"192.0.2.5 fd77::2"192.0.2.4 '
check_several "10.77.0.4 fd77::2 10.77.0.2 fd77::3" '10.77.0.4"192.0.2.3 fd77::2"192.0.2.4 10.77.0.2"192.0.2.1 fd77::3"192.0.2.5 '
node dist/main.js status --name vm --json | grep -q '"dns": *10\b' || { echo "not all queries were captured"; node dist/main.js status --name vm --json; exit 1; }
echo "dns: ok"

kill -TERM $agent
wait $agent || { echo "the agent ended with $?"; exit 1; }
