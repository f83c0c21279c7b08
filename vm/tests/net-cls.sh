#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# net-cls.sh: while an agent intercepts a cgroup, somebody tags sockets by net_cls (cgroup v1). Before 5.15 sockets of every
# cgroup then count as the root's; the agent has to notice, and interception goes on.
set -e
agent= server=
v1=/sys/fs/cgroup/net_cls,net_prio
group=/sys/fs/cgroup/unified/app
cleanup() {
	for child in $agent $server; do kill -9 $child 2>/dev/null || true; done
	node dist/main.js clean --name vm >/dev/null 2>&1 || true
	rmdir $group $v1/tagged 2>/dev/null || true
}
trap cleanup EXIT
mkdir $group
(cd /tmp && exec python3 -m http.server --bind 0.0.0.0 8080 >/dev/null 2>&1) &
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
ip addr add 10.79.0.1/32 dev lo
until_true curl -s -m 5 http://10.79.0.1:8080/
cat >/tmp/net-cls.yaml <<END
name: vm
mode: ebpf
verifyInterval: 10s
workloads:
  - name: app
    cgroup: $group
    outbound: { captureLocal: true }
END
rm -f /tmp/ready /tmp/net-cls.jsonl
node dist/main.js run --config /tmp/net-cls.yaml --record /tmp/net-cls.jsonl >/tmp/ready &
agent=$!
until_true grep -q ready /tmp/ready || { echo "not ready"; exit 1; }
# A connection of a process in the cgroup makes a record.
intercepted() {
	rm -f /tmp/before
	cp /tmp/net-cls.jsonl /tmp/before 2>/dev/null || : >/tmp/before
	sh -c "echo \$\$ >$group/cgroup.procs; exec curl -s -m 30 -o /dev/null http://10.79.0.1:8080/"
	more() { [ "$(wc -l </tmp/net-cls.jsonl)" -gt "$(wc -l </tmp/before)" ]; }
	tries=0
	until more; do
		tries=$((tries + 1))
		[ $tries -lt 20 ] || return 1
		sleep 0.1
	done
}
intercepted || { echo "not intercepted to begin with"; exit 1; }
mkdir $v1/tagged
echo 0x100001 >$v1/tagged/net_cls.classid
intercepted && echo "still intercepted at once" || echo "no longer intercepted"
until_true intercepted || { echo "not intercepted any more, a minute after net_cls came into use"; exit 1; }
kill -TERM $agent
wait $agent || { echo "the agent ended with $?"; exit 1; }
agent=
[ -z "$(ls /sys/fs/bpf 2>/dev/null | grep shunt)" ] || { echo "pins are left"; exit 1; }
echo "net-cls: ok"
