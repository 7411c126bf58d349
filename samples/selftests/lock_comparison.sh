#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# samples/lock-comparison: each scheme keeps out those that it says it keeps out, counted by the
# holders of each page, and lets in those that it says it doesn't: faults on the same page, ranges of
# another size, CPUs of another NUMA node. Two nodes of two CPUs each are needed.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"

MODULE=${KO%/*}/samples/lock-comparison/lock_comparison.ko
DIR=/sys/kernel/debug/lock_comparison
PAGES=$((1 << 20))

# The program rmmod that lies beside this one is another test.
removed() {
	[ "$(poke rmmod lock_comparison)" = ok ] && [ ! -d "$DIR" ]
}

cleanup() {
	[ ! -d "$DIR" ] || removed
}

# value KEY: of the result that stands in $result
value() {
	local word
	for word in $result; do
		[ "${word%%=*}" != "$1" ] || echo "${word#*=}"
	done
}

# run SCHEME WORDS...: one measurement. Who holds a lock sleeps for a moment, so that others try.
run() {
	local scheme=$1
	shift
	echo "measure=throughput scheme=$scheme contention=full count=50 nap=50 check=1 $*" \
		>"$DIR/run" || return
	result=$(cat "$DIR/run")
	[ "$(value pairs)" = $((50 * $(value threads))) ]
}

# excludes CLAIM COUNT: none if it does, and some if it doesn't
excludes() {
	if [ "$1" = 1 ]; then
		[ "$2" = 0 ]
	else
		[ "$2" -gt 0 ]
	fi
}

against_faults() {
	run "$1" threads=4 node=0 && excludes "$2" "$(value violations)"
}

against_sizes() {
	run "$1" threads=4 node=0 huge=50 && excludes "$2" "$(value violations)"
}

against_nodes() {
	run "$1" threads=8 && excludes "$2" "$(value across)"
}

# What fits no other: the size that came first stays, and is the lock of all of it.
entries_stay() {
	run entry-bit threads=4 node=0 huge=50 "populate=$1" || return
	[ "$(value violations)" = 0 ] && excludes "$2" "$(value fallbacks)"
}

memory_of() {
	echo "measure=memory scheme=$1 count=$PAGES" >"$DIR/run" || return
	result=$(cat "$DIR/run")
}

# Eight bytes a page at least, and not twice that.
entries_take_memory() {
	memory_of entry-bit && [ "$(value left)" -ge $((8 * PAGES)) ] &&
		[ "$(value left)" -lt $((16 * PAGES)) ]
}

errno_of() {
	poke write "$DIR/run" "$1"
}

step_errno_of() {
	poke write "$DIR/step" "$1"
}

# A lock that a step left would stop the next one.
steps_of_all() {
	local scheme page
	while read -r result; do
		scheme=$(value scheme)
		echo "scheme=$scheme" >"$DIR/step" || return
		for page in 7 7 $(((1 << 28) - 1)); do
			echo "page=$page warm-up=1" >"$DIR/step" || return
			echo "page=$page" >"$DIR/step" || return
		done
	done <<<"$schemes"
}

[ -r "$MODULE" ] || skip_all "there is no $MODULE: make -C samples/lock-comparison"
[ -d /sys/devices/system/node/node1 ] || skip_all "one NUMA node only"
insmod "$MODULE" || exit 1
schemes=$(cat "$DIR/schemes")
count=$(wc -l <<<"$schemes")
ktap_set_plan $((3 * count + 15))

while read -r result; do
	scheme=$(value scheme)
	faults=$(value faults)
	sizes=$(value sizes)
	nodes=$(value nodes)
	check "$scheme: faults excluded: $faults" against_faults "$scheme" "$faults"
	if [ "$scheme" = hashed-all ] && [ -e /proc/lockdep ]; then
		ktap_test_skip "$scheme: lockdep reports who holds two mutexes of one class"
	else
		check "$scheme: other sizes excluded: $sizes" against_sizes "$scheme" "$sizes"
	fi
	check "$scheme: other nodes excluded: $nodes" against_nodes "$scheme" "$nodes"
done <<<"$schemes"
check "entry-bit: 2 MiB falls back where 4 KiB came first" entries_stay 4k 0
check "entry-bit: and doesn't where it came first itself" entries_stay 2m 1
check "entry-bit: entries stay" entries_take_memory

expect "an unknown scheme" ENOENT errno_of "scheme=unheard-of"
expect "an unknown word" EINVAL errno_of "scheme=range colour=red"
expect "a number out of range" EINVAL errno_of "scheme=range threads=0"
expect "a node without CPUs" ENODEV errno_of "scheme=range node=99"
expect "a line too long" E2BIG errno_of "scheme=range $(printf '%600s' '')"
expect "a step of no scheme" ENOENT step_errno_of "scheme=unheard-of"
expect "a step before there is a mapping" ENODEV step_errno_of "page=1"
check "steps of each scheme" steps_of_all
expect "a step without a page" EINVAL step_errno_of "warm-up=1"
expect "a page that is too far" EINVAL step_errno_of "page=$((1 << 28))"
expect "a result of what failed is not there" "" cat "$DIR/run"
check "rmmod" removed
ktap_finished
