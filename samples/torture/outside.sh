#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# outside.sh SECONDS: programs that nobody here wrote, pointed at a device. Each checks what it has
# written. Prints TAP; what is not installed is skipped. The second namespace's data is lost.
# The checks are called by name.
# shellcheck disable=SC2317,SC2329
set -uo pipefail

seconds=${1:-20}
grep -q '^QEMU' /sys/class/dmi/id/sys_vendor 2>/dev/null || [ -n "${RDAX_NS2:-}" ] || {
	echo "outside.sh: not in QEMU: name the namespace to overwrite in RDAX_NS2" >&2
	exit 1
}
namespace=${RDAX_NS2:-namespace1.0}
driver=/sys/bus/nd/drivers/rdax
node=
number=0
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

result() {
	number=$((number + 1))
	echo "$1 $number - outside: $2"
	[ "$1" = ok ] || failed=1
}

# check NAME COMMAND...
check() {
	local name=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		result ok "$name"
	else
		sed 's/^/# /' "$work/out"
		result "not ok" "$name"
	fi
}

have() {
	command -v "$1" >/dev/null && return
	result ok "$2 # SKIP $1 is not installed"
	return 1
}

# engine, more options: mixed work by several jobs on parts of their own, everything verified
fio_verify() {
	local engine=$1
	shift
	fio --name=verify --filename="$node" --ioengine="$engine" --rw=randrw --size=4M \
		--offset_increment=4M --numjobs=4 --thread --verify=crc32c --verify_fatal=1 \
		--verify_backlog=64 --randrepeat=0 --time_based --runtime="$fio_seconds" \
		--output="$work/fio" "$@"
}

file_system() {
	mke2fs -q -F -t ext4 "$node" 32768 && e2fsck -fn "$node" || return
	head -c 9M /dev/urandom >"$work/data"
	debugfs -w -R "write $work/data data" "$node" && e2fsck -fn "$node" || return
	debugfs -R "dump data $work/again" "$node" && cmp "$work/data" "$work/again"
}

shredded() {
	shred -n 1 -z -s 8M "$node" && cmp -n 8388608 "$node" /dev/zero
}

copied() {
	head -c 16M /dev/urandom >"$work/data"
	dd if="$work/data" of="$node" bs=65537 conv=fsync,notrunc &&
		dd if="$node" of="$work/again" bs=1000003 iflag=fullblock,count_bytes count=16M &&
		cmp "$work/data" "$work/again"
}

[ -e "$driver" ] || insmod "${RDAX_KO:-rdax.ko}" "force=$namespace" || exit 2
echo "$namespace" >/sys/module/rdax/parameters/force
[ -e "$driver/$namespace" ] || echo "$namespace" >"$driver/bind" || exit 2
for device in /sys/class/dax/rdax*; do
	[ "$(basename "$(readlink "$device/device")")" != "$namespace" ] || node=/dev/${device##*/}
done
[ -n "$node" ] || exit 2
echo "TAP version 13"

engines="mmap psync pvsync2 io_uring libaio splice posixaio"
# The time is for all of them; stress-ng takes as much again.
fio_seconds=$((seconds / 8 + 1))
if have fio "fio"; then
	for engine in $engines; do
		case $engine in
		mmap) options=(--bsrange=4k-64k --fsync=64) ;;
		io_uring | libaio | posixaio) options=(--bs=16k --iodepth=8 --fdatasync=64) ;;
		psync) options=(--bsrange=512-64k --direct=1 --fdatasync=64) ;;
		*) options=(--bsrange=4k-64k) ;;
		esac
		check "fio, $engine, 4 jobs, verified" fio_verify "$engine" "${options[@]}"
	done
fi
if have stress-ng "stress-ng"; then
	# Its pokes at a device as such: every call that it knows, with valid and other arguments.
	check "stress-ng --dev" stress-ng --dev 4 --dev-file "$node" --timeout "$seconds"
fi
if have mke2fs "a file system by e2fsprogs"; then
	check "a file system by e2fsprogs" file_system
	check "badblocks -w" badblocks -f -w -b 4096 -t random "$node" 2048 0
fi
check "shred" shredded
check "dd, odd blocks" copied
echo "$namespace" >"$driver/unbind"
echo "1..$number"
exit "$failed"
