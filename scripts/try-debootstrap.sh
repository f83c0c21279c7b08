#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tries commands on a fresh system: scripts/try-debootstrap.sh [-k] SUITE [COMMAND]
#
#   scripts/try-debootstrap.sh trixie 'npm test'
#   scripts/try-debootstrap.sh noble 'npm run demo'
#
# Builds a minimal root of the suite (bookworm, trixie, noble …) with debootstrap, once; copies it, puts
# Node 24 and npm from the npm registry and a copy of this repository into it, and runs the command there
# by chroot in a mount namespace of its own. Nothing else is installed first: that is the point. -k keeps
# the copy for a second look. Needs root, debootstrap and npm on the host; the kernel is the host's.
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

root=$(mktemp -d "${TMPDIR:-/var/tmp}/fresh-$suite.XXXXXX")
# The namespace's mounts are gone when it ends; only then is the copy removed.
trap '[ $keep = yes ] && echo "kept: $root" || rm -rf --one-file-system "$root"' EXIT
cp -a "$base/." "$root"
mkdir -p "$root/opt/node" "$root/root/shunt"
cp -a "$cache/node-24/." "$root/opt/node"
tar -C "$repository" --exclude=./node_modules --exclude=./dist --exclude=./.cache --exclude=./coverage --exclude=build -cf - . |
	tar -C "$root/root/shunt" -xf -
# How this host reaches the network: resolver, and the certificates it trusts (a company's proxy, say).
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/etc/ssl/certs"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"

echo "- $command in a fresh $suite"
# shellcheck disable=SC2016 # expanded inside the namespace
unshare --mount --pid --fork --propagation private sh -c '
	mount --bind "$1" "$1"
	mount -t proc proc "$1/proc"
	mount --rbind /sys "$1/sys"
	mount --rbind /dev "$1/dev"
	mount -t tmpfs tmpfs "$1/run"
	mount -t tmpfs tmpfs "$1/tmp"
	exec chroot "$1" /usr/bin/env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 ${http_proxy:+http_proxy="$http_proxy"} \
		${https_proxy:+https_proxy="$https_proxy"} SHUNT_PATIENCE="${SHUNT_PATIENCE:-1}" \
		NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
		npm_config_cafile=/etc/ssl/certs/ca-certificates.crt \
		PATH=/opt/node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		sh -c "cd /root/shunt && $2"
' sh "$root" "$command"
