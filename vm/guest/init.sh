#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# PID 1 of the guest. It mounts the host's files read-only below a tmpfs, runs one command in them and
# reports its exit status on the second serial line. Settings: NONCE, COMMAND, DIRECTORY, MODULES, RELEASE, CGROUPS.

busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
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

for module in /modules/*.ko; do
	[ -f "$module" ] || continue
	$busybox insmod "$module" || echo "insmod $module failed, maybe built in"
done

# The host's whole tree, read-only; writes go to memory and die with the guest.
# virtiofs came with 5.4; "files=9p" on the command line tries the other way where both are possible.
case " $($busybox cat /proc/cmdline) " in *" files=9p "*) false ;; *) $busybox mount -t virtiofs -o ro host /lower ;; esac ||
	$busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose host9p /lower ||
	give_up "mounting the host's files failed by virtiofs and by 9p (CONFIG_VIRTIO_FS, CONFIG_NET_9P_VIRTIO)"
$busybox mount -t tmpfs -o size=1g tmpfs /upper || give_up "no tmpfs (CONFIG_TMPFS)"
$busybox mkdir /upper/data /upper/work
$busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root ||
	give_up "overlay over the host's files failed (CONFIG_OVERLAY_FS)"

# The command's directory may lie below /tmp or /run, which are about to be covered.
$busybox mkdir /directory
$busybox mount -o bind "/root$DIRECTORY" /directory || give_up "no directory $DIRECTORY"

# Fresh ones of everything the kernel makes, so that nothing of the host's shows through.
$busybox mount -t proc proc /root/proc
$busybox mount -t sysfs sysfs /root/sys
$busybox mount -t devtmpfs devtmpfs /root/dev
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
if [ -n "$MODULES" ]; then
	$busybox mkdir -p "/lib/modules/$RELEASE"
	$busybox mount -o bind "/lower$MODULES" "/lib/modules/$RELEASE"
	# iptables-legacy asks modprobe(8) for these, which the host need not have, or which it has for its own modules.
	for module in ip_tables ip6_tables; do $busybox modprobe $module; done
fi

# ip-netns(8) wants mounts that propagate.
$busybox mount -o rshared / 2>/dev/null
$busybox chroot /root /bin/sh -c 'ip link set lo up' || echo "no ip(8): lo stays down"

report begin
$busybox chroot /root /usr/bin/env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 SHUNT_IN_VM=1 SHUNT_VM_CGROUPS="$CGROUPS" SHUNT_PATIENCE="$PATIENCE" \
	PATH="$HOST_PATH" /bin/sh -c "cd '$DIRECTORY' && $COMMAND" </dev/null >/dev/ttyS1 2>&1
report "exit $?"
$busybox sync
$busybox reboot -f
