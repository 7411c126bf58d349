#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a user tries first with a new node: dd, cp, cmp, sha256sum, od, tail,
# sync, truncate, redirections. Each either does what it does to a file or a
# disk, or says why not; none overwrites what it was not told to.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
[ -e "$DEVICES/$NS2" ] || skip_all "there is no $NS2"
dumpers=()
for tool in hexdump xxd; do
	! command -v "$tool" >/dev/null || dumpers+=("$tool")
done
ktap_set_plan $((45 + ${#dumpers[@]}))

# The small one: some tools go through all of it.
NODE=/dev/rdax0
load_taking "$NS2"
work=$(mktemp -d) || exit 1
cd "$work" || exit 1
SIZE=$(cat "$CLASS/rdax0/size")
MIB=1048576

# Bytes that are not the same anywhere.
head -c $((4 * MIB)) /dev/urandom >random

# FILE OFFSET LENGTH: is that what the node has there?
node_has() {
	local offset=$2
	cmp -n "$3" -i "$offset:0" "$NODE" "$1"
}

# fresh: known bytes at the node's head and tail.
fresh() {
	dd if=random of=$NODE bs=1M conv=notrunc status=none &&
		dd if=random of=$NODE bs=1M seek=$((SIZE - 4 * MIB)) oflag=seek_bytes conv=notrunc \
			status=none
}

unharmed() {
	node_has random 0 $((4 * MIB)) && node_has random $((SIZE - 4 * MIB)) $((4 * MIB))
}

# fails_with MESSAGE COMMAND...: it fails, and says that.
fails_with() {
	local message=$1
	shift
	! LC_ALL=C "$@" 2>message >&2 && grep -q "$message" message
}

check "the node is filled" fresh
check "and has it, at both ends" unharmed

#
# dd
#

# Each writes at an offset of its own, and reads it back in another way.
at=$((8 * MIB))
for flags in "bs=4k" "bs=1M" "bs=4k oflag=direct" "bs=4k oflag=dsync" "bs=1M oflag=direct,dsync" \
	     "bs=1M oflag=sync conv=notrunc,fsync" "bs=777 conv=notrunc,fdatasync"; do
	at=$((at + 8 * MIB))
	# shellcheck disable=SC2086
	check "dd writes: $flags" dd if=random of=$NODE $flags seek=$at oflag=seek_bytes status=none
	check "it has arrived: $flags" node_has random $at $((4 * MIB))
done

for flags in "bs=4k" "bs=1M" "bs=4k iflag=direct" "bs=1M iflag=direct" "bs=513 iflag=fullblock"; do
	# shellcheck disable=SC2086
	check "dd reads: $flags" dd if=$NODE of=copy $flags skip=$at count=$((4 * MIB)) \
		iflag=skip_bytes,count_bytes status=none
	check "it is right: $flags" cmp random copy
done

# seek= and skip= in blocks, from one place of the node to another.
check "dd from the node to itself" dd if=$NODE of=$NODE bs=64k skip=0 seek=1600 count=64 \
	conv=notrunc status=none
check "it has arrived" node_has random $((1600 * 65536)) $((4 * MIB))

over_the_end() {
	fails_with "No space left on device" dd if=random of=$NODE bs=1M seek=$((SIZE - MIB)) \
		oflag=seek_bytes conv=notrunc && node_has random $((SIZE - MIB)) $MIB
}
check "dd over the end writes what fits, and says that there is no more" over_the_end
check "dd behind the end" fails_with "No space left on device" \
	dd if=random of=$NODE bs=1M count=1 seek="$SIZE" oflag=seek_bytes conv=notrunc
check "the node is filled again" fresh

#
# Reading
#

sum=$(sha256sum <random)
digest_of_head() {
	[ "$(head -c $((4 * MIB)) $NODE | sha256sum)" = "$sum" ]
}
digest_of_tail() {
	[ "$(tail -c $((4 * MIB)) $NODE | sha256sum)" = "$sum" ]
}
check "head -c and sha256sum" digest_of_head
check "tail -c finds the end" digest_of_tail
same_dump() {
	[ "$(od -A d -t x1z -j 12345 -N 300 $NODE)" = "$(od -A d -t x1z -j 12345 -N 300 random)" ]
}
check "od -j -N" same_dump
every_byte() {
	[ "$(tail -c +$((SIZE - MIB + 1)) $NODE | wc -c)" = $MIB ]
}
check "who reads to the end gets all of it, and no more" every_byte

#
# cp, and redirections
#

tr '\000-\377' '\001-\377\000' <random >other
cp_to() {
	cp other $NODE && node_has other 0 $((4 * MIB)) && [ -c $NODE ]
}
check "cp to the node writes at its head" cp_to
check "what is behind is left" node_has random $((SIZE - 4 * MIB)) $((4 * MIB))
check "the node is filled again, once more" fresh

truncating() {
	: >$NODE && unharmed
}
check ": > the node is nothing" truncating
cat_to() {
	cat other >$NODE && node_has other 0 $((4 * MIB)) && fresh
}
check "cat > the node" cat_to

append() {
	fails_with "No space left on device" bash -c "echo x >>$NODE" && unharmed
}
check "echo >> the node finds no room behind its end, and does not overwrite its head" append
tee_append() {
	fails_with "No space left on device" tee -a $NODE <other && unharmed
}
check "nor does tee -a" tee_append

#
# What is refused; sync; dumps
#

refused_truncate() {
	fails_with "Invalid argument" truncate -s 0 $NODE && unharmed
}
check "truncate is refused" refused_truncate
check "sync FILE (fsync)" sync $NODE
check "sync -d FILE (fdatasync)" sync -d $NODE
for tool in "${dumpers[@]}"; do
	case $tool in
	hexdump) options=(-C -s 12345 -n 300) ;;
	xxd) options=(-s 12345 -l 300) ;;
	esac
	same_as_file() {
		[ "$("$tool" "${options[@]}" $NODE)" = "$("$tool" "${options[@]}" random)" ]
	}
	check "$tool" same_as_file
done

cd /
rm -r "$work"
ktap_finished
