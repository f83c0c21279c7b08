#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# PID 1 of the guest. It mounts the host's files read-only below a tmpfs (or takes those packed beside it), runs one command
# in them and reports its exit status on the second serial line.
# Settings: NONCE, COMMAND, DIRECTORY, MODULES, RELEASE, CGROUPS, FILES, HOST_PATH, PATIENCE.

busybox=/bin/busybox
# Devices that a kernel without devtmpfs does not make.
make_devices() {
	$busybox mount -t devtmpfs devtmpfs "$1" 2>/dev/null && return
	[ -z "$2" ] || $busybox mount -t tmpfs tmpfs "$1"
	while read -r name major minor; do
		[ -e "$1/$name" ] || $busybox mknod -m 666 "$1/$name" c "$major" "$minor"
	done <<-END
		console 5 1
		null 1 3
		zero 1 5
		full 1 7
		random 1 8
		urandom 1 9
		tty 5 0
		ptmx 5 2
		ttyS0 4 64
		ttyS1 4 65
	END
}
make_devices /dev
. /settings

# ttyS0 carries the kernel's log. ttyS1 carries the command's output between two frame lines, byte for
# byte: without "raw" the line discipline would turn every newline into two characters.
$busybox stty -F /dev/ttyS1 raw -echo 2>/dev/null
report() {
	printf '@@%s %s\n' "$NONCE" "$*" >/dev/ttyS1
}

# Whatever goes wrong before the command is the machine's fault and never looks like the command's.
give_up() {
	report "broken $*"
	$busybox sync
	$busybox reboot -f
}
$busybox mount -t proc proc /proc || give_up "no /proc (CONFIG_PROC_FS)"
$busybox mount -t sysfs sysfs /sys || echo "no /sys (CONFIG_SYSFS)"

for module in /modules/*.ko; do
	[ -f "$module" ] || continue
	$busybox insmod "$module" || echo "insmod $module failed, maybe built in"
done
$busybox grep -q '	tmpfs$' /proc/filesystems && $busybox mount -t tmpfs tmpfs /upper || give_up "no tmpfs (CONFIG_TMPFS)"
[ -e /proc/net/tcp ] || give_up "no IPv4 (CONFIG_INET)"


if [ "$FILES" = packed ]; then
	# Mounts of namespaces want a root that is one.
	$busybox mount -o bind /root /root || give_up "mount --bind /root"
else
	# The host's whole tree, read-only; writes go to memory and die with the guest. virtiofs came with 5.4;
	# "files=9p" and "files=packed" on the command line try the other ways where several are possible.
	case " $($busybox cat /proc/cmdline) " in
	*" files=packed "*) give_up "nothing shared: as asked for" ;;
	*" files=9p "*) false ;;
	*) $busybox mount -t virtiofs -o ro host /lower ;;
	esac ||
		$busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose host9p /lower ||
		give_up "nothing shared: neither virtiofs nor 9p (CONFIG_VIRTIO_FS, CONFIG_NET_9P_VIRTIO)"
	$busybox mount -o remount,size=1g /upper
	$busybox mkdir /upper/data /upper/work
	$busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root ||
		give_up "nothing shared: no overlay over the host's files (CONFIG_OVERLAY_FS)"
fi

# The command's directory may lie below /tmp or /run, which are about to be covered.
$busybox mount -o bind "/root$DIRECTORY" /directory || give_up "no directory $DIRECTORY"

# Fresh ones of everything the kernel makes, so that nothing of the host's shows through.
$busybox mount -t proc proc /root/proc
$busybox mount -t sysfs sysfs /root/sys
make_devices /root/dev mounted
$busybox mkdir -p /root/dev/pts /root/dev/shm
$busybox mount -t devpts devpts /root/dev/pts
$busybox mount -t tmpfs tmpfs /root/dev/shm
$busybox mount -t tmpfs tmpfs /root/run
$busybox mount -t tmpfs tmpfs /root/tmp
[ -d "/root$DIRECTORY" ] || { $busybox mkdir -p "/root$DIRECTORY" && $busybox mount -o bind /directory "/root$DIRECTORY"; }
# As systemd mounts them: v2 alone, both (hybrid), or v1 alone.
if [ "$CGROUPS" = v2 ]; then
	$busybox mount -t cgroup2 cgroup2 /root/sys/fs/cgroup || echo "no cgroup2"
else
	$busybox mount -t tmpfs tmpfs /root/sys/fs/cgroup
	for controller in net_cls,net_prio pids; do
		$busybox mkdir "/root/sys/fs/cgroup/$controller"
		$busybox mount -t cgroup -o "$controller" cgroup "/root/sys/fs/cgroup/$controller" || echo "no cgroup v1 $controller"
	done
	if [ "$CGROUPS" = hybrid ]; then
		$busybox mkdir /root/sys/fs/cgroup/unified
		$busybox mount -t cgroup2 cgroup2 /root/sys/fs/cgroup/unified
	fi
fi

# Modules of this kernel, not of the host's, for the guest's programs and for /sbin/modprobe out here.
if [ -n "$MODULES" ] && [ "$FILES" = shared ]; then
	$busybox mkdir -p "/lib/modules/$RELEASE"
	$busybox mount -o bind "/lower$MODULES" "/lib/modules/$RELEASE"
	# iptables-legacy asks modprobe(8) for these, which the host need not have, or which it has for its own modules.
	for module in unix ip_tables ip6_tables; do $busybox modprobe $module; done
fi
[ -e /proc/net/unix ] || give_up "no unix sockets (CONFIG_UNIX)"

# ip-netns(8) wants mounts that propagate.
$busybox mount -o rshared / 2>/dev/null
$busybox chroot /root /bin/sh -c 'ip link set lo up' || echo "no ip(8): lo stays down"

report begin
$busybox chroot /root /usr/bin/env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 SHUNT_IN_VM=1 SHUNT_VM_CGROUPS="$CGROUPS" SHUNT_PATIENCE="$PATIENCE" \
	PATH="$HOST_PATH" /bin/sh -c "cd '$DIRECTORY' && $COMMAND" </dev/null >/dev/ttyS1 2>&1
report "exit $?"
$busybox sync
$busybox reboot -f
