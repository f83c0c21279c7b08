#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# rules.sh BACKEND: rules by hand are applied in both families, found as planned, lead connections to the proxy's port, and
# are gone without a trace when removed.
set -e
ip netns add a
ip netns add b
trap 'ip netns del a; ip netns del b' EXIT
ip -n a link set lo up
# A pod's addresses, and the way out that the validation's connections take.
if ip -n a link add eth0 type veth peer name eth0 netns b; then ip -n b link set eth0 up; else ip -n a link add eth0 type dummy; fi
ip -n a addr add 10.77.0.1/24 dev eth0
[ ! -e /proc/net/if_inet6 ] || ip -n a addr add fd77::1/64 dev eth0 nodad
ip -n a link set eth0 up
ip -n a route add default via 10.77.0.9
[ ! -e /proc/net/if_inet6 ] || ip -n a route add default via fd77::9
saved() {
	if [ "$1" = nftables ]; then
		ip netns exec a nft list ruleset
	else
		for save in iptables-save ip6tables-save iptables-legacy-save ip6tables-legacy-save; do
			ip netns exec a $save 2>/dev/null || true
		done
	fi
}
shunt() { node dist/main.js rules "$@" --netns a --backend $backend; }
backend=$1
shunt apply
[ "$(saved $1 | grep -ci shunt)" -gt 0 ] || { echo "$1: no rules after apply"; exit 1; }
shunt verify
shunt validate
shunt remove
if saved $1 | grep -i shunt; then echo "$1: left after remove"; exit 1; fi
echo "$1: ok"
