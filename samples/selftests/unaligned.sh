#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Media that does not begin at a multiple of 2 MiB. memremap() would map all of it with
# 4 KiB pages: seconds, and 2 GiB of page tables a TiB, which stay. Here it is mapped in
# two parts, with a seam at the first multiple of 2 MiB. Binding takes next to no memory,
# and nobody sees the seam.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"

LEAF=$((2 << 20))

# The largest namespace that is not aligned.
unaligned_namespace() {
	local ns most=0 found=
	for ns in "$DEVICES"/namespace*; do
		(($(cat "$ns/size") > most && $(cat "$ns/resource") % LEAF)) || continue
		most=$(cat "$ns/size")
		found=${ns##*/}
	done
	echo "$found"
}

NS=$(unaligned_namespace)
[ -n "$NS" ] || skip_all "no namespace is unaligned: scripts/lab guest --machine odd"
size=$(cat "$DEVICES/$NS/size")
seam=$((LEAF - $(cat "$DEVICES/$NS/resource") % LEAF))
# Less than half of what page tables for 4 KiB pages would have.
most=$((size / 1048576))
((most > 16384)) || skip_all "$NS is too small to tell"
ktap_set_plan 17

# What the kernel has taken, in KiB.
taken() {
	awk '$1 == "MemFree:" { print -$2 }' /proc/meminfo
}

costs_little() {
	local before cost
	echo 3 >/proc/sys/vm/drop_caches
	before=$(taken)
	[ "$(bind "$NS")" = ok ] || return
	cost=$(($(taken) - before))
	ktap_print_msg "binding $((size >> 30)) GiB took $cost KiB"
	((cost < most))
}

data=$(mktemp) || exit 1
head -c $((2 * LEAF)) /dev/urandom >"$data"

# FROM (a multiple of 512): 4 MiB are written from there, and read.
copy() {
	dd if="$data" of=/dev/rdax0 bs="$2" seek="$1" oflag=seek_bytes conv=notrunc,fsync \
		status=none && same "$1"
}

same() {
	dd if=/dev/rdax0 bs=1M skip="$1" count=$((2 * LEAF)) iflag=skip_bytes,count_bytes \
		status=none | cmp - "$data"
}

# The tests that need no huge entries: an unbind takes most of a minute where Linux looks for a debug
# object in each page of what is unmapped.
as_others() {
	local tests
	for tests in "rw -f file" "punch -v pte" "fsync -v pte"; do
		# shellcheck disable=SC2086 # words
		if ! env RDAX_NS="$NS" RDAX_KO="$KO" "$HERE/"$tests >"$data.log" 2>&1 ||
			! grep '^ok' "$data.log" | grep -qv SKIP; then
			tail -n 20 "$data.log"
			return 1
		fi
	done
}

load
set_param force "$NS"
check "binding costs little memory" costs_little
check "once more" unbind "$NS"
check "and again" costs_little
check "a copy over the seam" copy $((seam - LEAF / 2)) 64K
check "from the start" copy 0 1M
check "from it on" copy "$seam" 1M
check "by odd pieces" copy $((seam - LEAF / 2 + 512)) 12345
check "at the end" copy $((size - 2 * LEAF)) 1M
check "what lies at the seam is there after the next bind" \
	copy $((seam - LEAF / 2)) 4K
check "unbound" unbind "$NS"
check "bound" bind "$NS"
check "it is there" same $((seam - LEAF / 2))
check "unbound" unbind "$NS"
unload

# A signature at the tail, which is in the second part.
check "loaded anew" insmod "$KO"
head_of_tail=$((size - 512))
set_param force "$NS"
bind "$NS" >/dev/null
printf 'EFI PART' | dd of=/dev/rdax0 bs=8 seek=$head_of_tail oflag=seek_bytes conv=notrunc \
	status=none
unbind "$NS" >/dev/null
echo >"$PARAMS/force"
expect "a signature at the tail" EEXIST bind "$NS"
set_param force "$NS"
bind "$NS" >/dev/null
dd if=/dev/zero of=/dev/rdax0 bs=512 count=1 seek=$head_of_tail oflag=seek_bytes \
	conv=notrunc status=none
unbind "$NS" >/dev/null
check "unloaded" unload
check "the tests of calls and syncs" as_others
rm -f "$data" "$data.log"
ktap_finished
