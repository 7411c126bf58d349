#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Other drivers take a device of the dax bus while files and mappings of rdax are open: device_dax, and
# kmem, which makes ordinary memory of it. Those stay dead, also when rdax has the device again. Then what
# the leaves of all sizes are, and binding while the bus adds ranges to the device.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=lib/dax.sh
. "$HERE/dax.sh"
modprobe -q device_dax || skip_all "no device_dax"
dax_load

work=$(mktemp -d) || exit 1
policy=/sys/devices/system/memory/auto_online_blocks
was=$(cat $policy)
# What locks_of_a_bind has made.
forget_locks() {
	local trace=/sys/kernel/tracing
	[ -d $trace/instances/rdax_bind ] || return
	echo 0 >$trace/instances/rdax_bind/events/rdax_bind/lock/enable
	rmdir $trace/instances/rdax_bind
	echo '-:rdax_bind/lock' >>$trace/kprobe_events
}

takeover_cleanup() {
	[ -z "${OLD_PID:-}" ] || kill "$OLD_PID" 2>/dev/null
	[ -z "${racer:-}" ] || kill "$racer" 2>/dev/null
	forget_locks
	dax_cleanup
	if [ -n "${whole:-}" ]; then
		# One range again: those behind the first are removed before it grows.
		echo $((whole / 4)) >"$DAX_DEVICE/size"
		echo "$whole" >"$DAX_DEVICE/size"
	fi
	echo "$was" >$policy
	rm -rf "$work"
}
trap takeover_cleanup EXIT

# In the background: a file and a mapping, until they are asked whether the device is gone.
hold_both() {
	coproc OLD { poke hold both "$DAX_NODE"; }
	exec {old}<&"${OLD[0]}"
	read -r held <&"$old"
	[ "$held" = ok ]
}

# Not in a subshell, which would keep the pipe to it open.
ask() {
	local pid=$OLD_PID
	eval "exec ${OLD[1]}>&-"
	end=
	read -r -t 60 end <&"$old"
	exec {old}<&-
	kill "$pid" 2>/dev/null
	wait "$pid"
	unset OLD_PID
}

# By a mapping: device_dax has no read() and no write().
map_of() {
	poke hold map "$1" </dev/null
}

of_driver() {
	dax_to "$1" && [ "$(dax_driver)" = "$1" ]
}

size=$(cat "$DAX_DEVICE/size")
resource=$(cat "$DAX_DEVICE/resource")
G=$((1 << 30))
# The first page of 1 GiB that is in the device.
huge=$(((G - resource % G) % G))
divisible=$([ "$KIND" = devdax ] || echo yes)
ktap_set_plan 35

check "bound" of_driver rdax

# device_dax. An inode keeps the cdev with which it was opened, so the node is another driver's only when
# the last file of rdax is closed. A node of one's own has its own inode.
check "a file is open, and mapped" hold_both
check "device_dax takes it" of_driver device_dax
expect "no open of the same inode" ENXIO poke open "$DAX_NODE"
mknod "$work/node" c $((0x$(stat -c %t "$DAX_NODE"))) $((0x$(stat -c %T "$DAX_NODE")))
expect "another node maps it" ok map_of "$work/node"
ask
expect "ours stayed dead" gone echo "$end"
expect "the node opens now" ok map_of "$DAX_NODE"
check "bound again" of_driver rdax

check "a file is open, and mapped, again" hold_both
check "device_dax takes it again" of_driver device_dax
check "and gives it back" of_driver rdax
expect "a new file" ok map_of "$DAX_NODE"
ask
expect "the old one stayed dead" gone echo "$end"

# kmem
echo offline >$policy
modprobe -q kmem
check "a file is open, and mapped, once more" hold_both
if of_driver kmem; then
	ktap_test_pass "kmem takes it"
	first=/sys/devices/system/memory/memory$(((resource + (128 << 20) - 1) / (128 << 20)))
	before=$(awk '/MemTotal/ { print $2 }' /proc/meminfo)
	expect "some of it is online" ok poke write "$first/state" online_movable
	check "it is memory" test "$(awk '/MemTotal/ { print $2 }' /proc/meminfo)" -gt "$before"
	# What is in it now must not be seen by ours, nor changed.
	ask
	expect "ours stayed dead" gone echo "$end"
	expect "it is offline again" ok poke write "$first/state" offline
	check "it comes back from kmem" of_driver rdax
	expect "a new file then" ok map_of "$DAX_NODE"
	check "held by a file" hold_both
	check "kmem takes it again" of_driver kmem
	check "kmem gives it back" of_driver rdax
	ask
	expect "the old one stayed dead then" gone echo "$end"
else
	ktap_print_msg "$(dmesg | grep -i kmem | tail -n 1)"
	for n in 1 2 3 4 5 6 7 8 9 10; do
		ktap_test_skip "kmem does not take it"
	done
	ask
	expect "ours stayed dead" gone echo "$end"
	of_driver rdax
fi
dax_release
poke rmmod kmem >/dev/null
check "bound to look at leaves" of_driver rdax

# Leaves
if insmod "$HERE/rdax_leaf.ko" 2>/dev/null; then
	# The largest first: the sizes of entries do not grow.
	if [ $((huge + G)) -le "$size" ]; then
		expect "a leaf of 1 GiB" write-back poke leaf 1G "$DAX_NODE" $huge
	else
		ktap_test_skip "a leaf of 1 GiB: none is in the device"
	fi
	expect "a leaf of 2 MiB" write-back poke leaf 2M "$DAX_NODE" $((4 << 20))
	expect "a leaf of 4 KiB" write-back poke leaf 4K "$DAX_NODE" 0
	poke rmmod rdax_leaf >/dev/null
else
	for n in 1 2 3; do
		ktap_test_skip "no module rdax_leaf"
	done
fi

# Ranges that are added while it is bound: `mapping` does not ask for the driver.
RANGES=16 STRIDE=$((8 << 20)) LENGTH=$((4 << 20))
add_ranges() {
	local n from
	for ((n = 0; n < RANGES; n++)); do
		from=$((resource + whole / 2 + n * STRIDE))
		printf '%x-%x' $from $((from + LENGTH - 1)) >"$DAX_DEVICE/mapping" || return
		sleep 0.01
	done
}

# The extents of the device with the first of its ranges, up to all.
expected() {
	local n
	echo "0 $((whole / 4))"
	for ((n = 0; n < RANGES; n++)); do
		echo "$((whole / 2 + n * STRIDE)) $LENGTH"
	done
}

# Each bind has the ranges that there were when it began.
binds_meanwhile() {
	local n lines bad=0
	local extents all
	mapfile -t all < <(expected)
	for ((n = 0; n < 10; n++)); do
		echo $((whole / 4)) >"$DAX_DEVICE/size" || return
		add_ranges &
		racer=$!
		while kill -0 $racer; do
			echo "$DAX" >"$DAX_DRIVERS/rdax/bind"
			extents=()
			mapfile -t extents <"$DAX_DEVICE/rdax/extents"
			lines=${#extents[@]}
			seen[lines]=$((${seen[lines]:-0} + 1))
			[ "$lines" != 0 ] && [ "${extents[*]}" = "${all[*]:0:lines}" ] || bad=$((bad + 1))
			echo "$DAX" >"$DAX_DRIVERS/rdax/unbind"
		done 2>/dev/null
		wait $racer || return
		racer=
	done
	ktap_print_msg "bound with so many ranges: ${!seen[*]}; so often: ${seen[*]}"
	[ $bad = 0 ]
}
seen=()

# How often a bind takes the bus's rwsem to read.
locks_of_a_bind() {
	local trace=/sys/kernel/tracing
	local instance=$trace/instances/rdax_bind
	[ -e $trace/kprobe_events ] || mount -t tracefs tracefs $trace
	echo 'p:rdax_bind/lock down_read_interruptible' >>$trace/kprobe_events
	mkdir $instance
	echo "$BASHPID" >$instance/set_event_pid
	echo 1 >$instance/events/rdax_bind/lock/enable
	echo "$DAX" >"$DAX_DRIVERS/rdax/bind"
	grep -c ' lock: ' $instance/trace
	forget_locks
}

if [ -n "$divisible" ]; then
	echo "$DAX" >"$DAX_DRIVERS/rdax/unbind"
	whole=$size
	check "each bind has the first ranges, complete" binds_meanwhile
	# The bus once; rdax before and after it copies the first range, and all of them.
	expect "a bind waits for who changes the list" 5 locks_of_a_bind
	echo "$DAX" >"$DAX_DRIVERS/rdax/unbind"
	expect "bound with all of them" ok poke write "$DAX_DRIVERS/rdax/bind" "$DAX"
	expect "they are its extents" "$(expected)" cat "$DAX_DEVICE/rdax/extents"
	# One more, meanwhile: it counts from the next bind on.
	from=$((resource + whole / 2 + RANGES * STRIDE))
	expect "a range more, while bound" ok \
		poke write "$DAX_DEVICE/mapping" "$(printf '%x-%x' $from $((from + LENGTH - 1)))"
	expect "not in the extents yet" "$(expected)" cat "$DAX_DEVICE/rdax/extents"
else
	for n in 1 2 3 4 5 6; do
		ktap_test_skip "the bus does not divide it"
	done
fi
ktap_finished
