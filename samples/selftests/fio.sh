#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# fio with verification, which nobody here wrote. By its engines that know
# mappings: dev-dax wants the class `dax` and its `size`; mmap maps a window, and
# syncs it by msync(). By those that read and write: with and without O_DIRECT,
# with fsync, one request at a time and many. Each block carries a checksum, read
# back after all are written.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
command -v fio >/dev/null || skip_all "fio isn't there"
ktap_set_plan 16

load
bind "$NS" >/dev/null
work=$(mktemp -d) || exit 1
cd "$work" || exit 1

mapped() {
	cat "$CLASS"/rdax0/faults/*_mapped | awk '{ n += $1 } END { print n }'
}

# engine, block size, kind of writes, more options
verify() {
	local status engine=$1 bs=$2 rw=$3
	shift 3
	fio --name=verify --filename=/dev/rdax0 --ioengine="$engine" --bs="$bs" --rw="$rw" \
	    --size=16M --verify=crc32c --verify_fatal=1 --do_verify=1 "$@" \
	    --output-format=terse >out 2>&1
	status=$?
	[ $status = 0 ] || sed 's/^/# /' out
	return $status
}

# has ENGINE TESTS: else that many are skipped.
has() {
	local _
	if fio --enghelp | grep -qw -- "$1"; then
		return
	fi
	for _ in $(seq "$2"); do
		ktap_test_skip "this fio has no engine $1"
	done
	return 1
}

for engine in dev-dax mmap; do
	has $engine 3 || continue
	before=$(mapped)
	check "$engine, 4 KiB blocks at random" verify "$engine" 4k randwrite
	check "$engine, 256 KiB blocks in turn" verify "$engine" 256k write
	# An engine that never faults here has verified something else.
	check "$engine faulted on the device" test "$(mapped)" -gt "$before"
done
if has mmap 1; then
	check "mmap, with msync" verify mmap 64k randwrite --fsync=32
fi

before=$(mapped)
if has sync 1; then
	check "sync, O_DIRECT, 64 KiB blocks" verify sync 64k write --direct=1
fi
if has psync 2; then
	check "psync, 4 KiB blocks at random, with fsync" verify psync 4k randwrite --size=4M \
		--fsync=64
	check "psync, mixed reads and writes of odd sizes" verify psync 4k randrw --size=8M \
		--bsrange=512-20k --bs_unaligned --fdatasync=50 --direct=1
fi
for engine in io_uring libaio; do
	has $engine 2 || continue
	check "$engine, 4 KiB blocks at random, 16 in flight" verify $engine 4k randwrite --size=4M \
		--iodepth=16 --direct=1
	check "$engine, mixed reads and writes, with fsync" verify $engine 64k randrw \
		--iodepth=8 --fsync=16
done
# What reads and writes maps nothing.
check "no engine of these faulted" test "$(mapped)" = "$before"
both() {
	verify psync 16k randwrite --do_verify=0 && verify mmap 16k randwrite --verify_only
}
check "what was written, the mapping has" both
cd /
rm -r "$work"
ktap_finished
