#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A DIMM that is not armed: what is written to it would be lost when the power fails, or
# at once. Its region is read-only from the start. It binds, the log says so, and
# writes are refused, where a copy with `dd conv=fsync` would seem to succeed.
# read_only.c has all that writes.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"

# The namespace of a region that is read-only.
read_only_namespace() {
	local ns
	for ns in "$DEVICES"/namespace*; do
		[ "$(cat "$ns/size")" != 0 ] || continue
		[ "$(cat "$ns/../read_only")" = 1 ] || continue
		echo "${ns##*/}"
		return
	done
}

NS=$(read_only_namespace)
[ -n "$NS" ] || skip_all "no region is read-only: scripts/lab guest --machine odd"
ktap_set_plan 9

said() {
	dmesg | grep -c "$NS: rdax: the region is read-only: writes are refused"
}

copy() {
	dd if=/dev/urandom of="$1" bs=64K count=1 conv=notrunc,fsync status=none 2>&1 |
		sed 's/.*: //'
}

checksum() {
	head -c 1M "$1" | md5sum
}

load
set_param force "$NS"
before=$(said)
expect "it binds" ok bind "$NS"
expect "the log says that it is read-only" $((before + 1)) said
sum=$(checksum /dev/rdax0)
expect "dd is refused" "Read-only file system" copy /dev/rdax0
expect "its content is as it was" "$sum" checksum /dev/rdax0
expect "mmap to write is refused" EROFS poke hold map /dev/rdax0
expect "its region is read-only" 1 cat "$DEVICES/$NS/../read_only"

# An administrator knows better.
echo 0 >"$DEVICES/$NS/../read_only"
expect "writes are accepted now" "" copy /dev/rdax0
echo 1 >"$DEVICES/$NS/../read_only"
expect "and are refused again" "Read-only file system" copy /dev/rdax0
expect "it unbinds" ok unbind "$NS"
ktap_finished
