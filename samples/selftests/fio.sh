#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# fio with verification, which nobody here wrote, by both of its engines that
# know mappings; dev-dax wants the class `dax` and its `size`; mmap maps a
# window. Each block carries a checksum, read back after all are written.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
command -v fio >/dev/null || skip_all "fio isn't there"
ktap_set_plan 6

load
bind "$NS" >/dev/null
work=$(mktemp -d) || exit 1
cd "$work" || exit 1

mapped() {
	cat "$CLASS"/rdax0/faults/*_mapped | awk '{ n += $1 } END { print n }'
}

# engine, block size, kind of writes
verify() {
	local status
	fio --name=verify --filename=/dev/rdax0 --ioengine="$1" --bs="$2" --rw="$3" \
	    --size=16M --verify=crc32c --verify_fatal=1 --do_verify=1 \
	    --output-format=terse >out 2>&1
	status=$?
	[ $status = 0 ] || sed 's/^/# /' out
	return $status
}

for engine in dev-dax mmap; do
	if ! fio --enghelp | grep -qw -- "$engine"; then
		for _ in 1 2 3; do
			ktap_test_skip "this fio has no engine $engine"
		done
		continue
	fi
	before=$(mapped)
	check "$engine, 4 KiB blocks at random" verify "$engine" 4k randwrite
	check "$engine, 256 KiB blocks in turn" verify "$engine" 256k write
	# An engine that never faults here has verified something else.
	check "$engine faulted on the device" test "$(mapped)" -gt "$before"
done
cd /
rm -r "$work"
ktap_finished
