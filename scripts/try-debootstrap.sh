#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tries commands on a fresh system: scripts/try-debootstrap.sh [-k] SUITE [COMMAND]
#
#   scripts/try-debootstrap.sh trixie 'npm test'
#   scripts/try-debootstrap.sh noble 'npm run demo'
#
# Builds a minimal root of the suite (bookworm, trixie, noble …) with debootstrap, once; copies it, puts
# Node 24 and npm from the npm registry and a copy of this repository into it, and runs the command there.
# Nothing else is installed first: that is the point. -k keeps the copy for a second look.
#
# The command sees its own mounts, processes, network, IPC and cgroups: what else runs on the host neither
# disturbs it nor is disturbed. Its cgroup2 hierarchy is /sys/fs/cgroup (a cgroup made for it is the root),
# without v1 beside it, as these systems have it; its bpffs is /sys/fs/bpf. The network is slirp4netns: the
# host's connections by a process, not by a rule. Needs root, debootstrap and npm on the host; slirp4netns
# is unpacked into the cache when it is not there. The kernel is the host's.
set -eu

keep=no
[ "${1:-}" = -k ] && { keep=yes; shift; }
suite=${1:?which suite, such as trixie}
command=${2:-npm test}
repository=$(cd "$(dirname "$0")/.." && pwd)
cache=${SHUNT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shunt}
base=$cache/root-$suite
arch=$(node -p process.arch)
mkdir -p "$cache"

case $suite in
bookworm | trixie | forky | sid)
	mirror=http://deb.debian.org/debian
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	;;
*)
	mirror=http://archive.ubuntu.com/ubuntu
	# An older debootstrap does not know newer names; Ubuntu's releases all use this script.
	script=/usr/share/debootstrap/scripts/gutsy
	[ "$arch" = arm64 ] && mirror=http://ports.ubuntu.com/ubuntu-ports
	keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg
	if [ ! -f "$keyring" ]; then
		# Debian has no package of it. The file may come from anywhere, as only Ubuntu's archive key of
		# 2018 is taken out of it, by its fingerprint; a false one has another.
		keyring=$cache/ubuntu-archive-2018.gpg
		package=ubuntu-keyring_2023.11.28.1_all.deb
		if [ ! -s "$keyring" ]; then
			curl -fsS -o "$cache/$package" "http://archive.ubuntu.com/ubuntu/pool/main/u/ubuntu-keyring/$package"
			dpkg-deb -x "$cache/$package" "$cache/ubuntu-keyring"
			gpg --batch --quiet --no-default-keyring \
				--keyring "$cache/ubuntu-keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg" \
				--output "$keyring" --export F6ECB3762474EDA9D21B7022871920D1991BC93C
			rm -r "${cache:?}/$package" "$cache/ubuntu-keyring"
			[ -s "$keyring" ] || { echo "the keyring has no key of that fingerprint"; exit 1; }
		fi
	fi
	;;
esac

if [ ! -f "$base/.complete" ]; then
	echo "- debootstrap $suite from $mirror"
	rm -rf "$base"
	components=main
	[ "$mirror" = http://deb.debian.org/debian ] || components=main,universe
	debootstrap --variant=minbase --components=$components --keyring="$keyring" "$suite" "$base" "$mirror" ${script:+"$script"}
	touch "$base/.complete"
fi

if [ ! -x "$cache/node-24/bin/node" ]; then
	echo "- Node 24 and npm from the npm registry"
	mkdir -p "$cache/node-24"
	(cd "$cache/node-24" && npm pack --silent "node-linux-$arch@24" npm@11)
	tar -xzf "$cache"/node-24/node-linux-*.tgz -C "$cache/node-24" --strip-components=1
	mkdir -p "$cache/node-24/lib/node_modules/npm"
	tar -xzf "$cache"/node-24/npm-*.tgz -C "$cache/node-24/lib/node_modules/npm" --strip-components=1
	ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$cache/node-24/bin/npm"
	ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$cache/node-24/bin/npx"
	rm "$cache"/node-24/*.tgz
fi

slirp=$(command -v slirp4netns || true)
if [ -z "$slirp" ]; then
	slirp=$cache/slirp4netns/usr/bin/slirp4netns
	if [ ! -x "$slirp" ]; then
		echo "- slirp4netns into the cache"
		mkdir -p "$cache/slirp4netns"
		(cd "$cache/slirp4netns" && apt-get download -qq slirp4netns libslirp0)
		for package in "$cache"/slirp4netns/*.deb; do dpkg-deb -x "$package" "$cache/slirp4netns"; done
		rm "$cache"/slirp4netns/*.deb
	fi
	libraries=$(dirname "$cache"/slirp4netns/usr/lib/*/libslirp.so.0)
fi

root=$(mktemp -d "${TMPDIR:-/var/tmp}/fresh-$suite.XXXXXX")
network=$root.net
# Not called shunt…: a search for leftovers would find it.
cgroup=$(findmnt -nr -o TARGET -t cgroup2 | head -n 1)/$(basename "$root")
slirp_pid=

clean_up() {
	[ -z "$slirp_pid" ] || kill "$slirp_pid" || true
	[ ! -e "$network" ] || { umount "$network" || true; rm "$network"; }
	rm -f "$root.slirp"
	# Nobody is in there any more: all ended with the first process of their namespace.
	[ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} +
	# The namespace's mounts are gone when it ends; only then is the copy removed.
	if [ $keep = yes ]; then echo "kept: $root"; else rm -rf --one-file-system "$root"; fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cp -a "$base/." "$root"
mkdir -p "$root/opt/node" "$root/root/shunt"
cp -a "$cache/node-24/." "$root/opt/node"
tar -C "$repository" --exclude=./node_modules --exclude=./dist --exclude=./.cache --exclude=./coverage --exclude=build -cf - . |
	tar -C "$root/root/shunt" -xf -
# slirp4netns forwards DNS to the host's resolver; and the certificates the host trusts (a company's proxy, say).
rm -f "$root/etc/resolv.conf"
echo "nameserver 10.0.2.3" >"$root/etc/resolv.conf"
mkdir -p "$root/etc/ssl/certs"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"

mkdir "$cgroup"
touch "$network"
unshare --net="$network" true
LD_LIBRARY_PATH=${libraries:-} "$slirp" --configure --mtu=1500 --netns-type=path "$network" tap0 >"$root.slirp" 2>&1 &
slirp_pid=$!
# It has no better sign than its address.
tries=0
until nsenter --net="$network" ip -4 -o address show dev tap0 2>/dev/null | grep -q inet; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || { cat "$root.slirp"; exit 1; }
	sleep 0.1
done

echo "- $command in a fresh $suite"
# The shell enters the cgroup before the cgroup namespace is made: that makes it the root of it.
# shellcheck disable=SC2016 # expanded inside the namespace
nsenter --net="$network" sh -c 'echo 0 >"$1/cgroup.procs"; shift; exec "$@"' sh "$cgroup" \
	unshare --mount --pid --ipc --cgroup --fork --kill-child --propagation private sh -c '
	mount --bind "$1" "$1"
	mount -t proc proc "$1/proc"
	mount -t sysfs sysfs "$1/sys"
	mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
	mount -t bpf bpf "$1/sys/fs/bpf"
	mount --rbind /dev "$1/dev"
	mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts "$1/dev/pts"
	mount -t tmpfs tmpfs "$1/dev/shm"
	mount -t tmpfs tmpfs "$1/run"
	mount -t tmpfs tmpfs "$1/tmp"
	exec chroot "$1" /usr/bin/env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 ${http_proxy:+http_proxy="$http_proxy"} \
		${https_proxy:+https_proxy="$https_proxy"} SHUNT_PATIENCE="${SHUNT_PATIENCE:-1}" \
		NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
		npm_config_cafile=/etc/ssl/certs/ca-certificates.crt \
		PATH=/opt/node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		sh -c "cd /root/shunt && $2"
' sh "$root" "$command"
