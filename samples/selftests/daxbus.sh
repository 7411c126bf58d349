#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A device of the dax bus ($RDAX_DAX_DEVICE): bound only when it was named, unbound at any time, and
# bound again; what the platform lacks; several ranges. Then each layer below it is removed while tasks
# use it in every way.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"

DEV=${RDAX_DAX_DEVICE:-}
[ -n "$DEV" ] || skip_all "no RDAX_DAX_DEVICE: scripts/lab guest --machine cxl, hmem or devdax"
KIND=${RDAX_DAX:-}
NODE=/dev/$DEV
DAX=/sys/bus/dax/devices/$DEV
DAX_DRIVERS=/sys/bus/dax/drivers
DAX_DRIVER=$DAX_DRIVERS/rdax

dax_driver() {
	local link
	link=$(readlink "$DAX/driver") && basename "$link" || echo none
}

named() {
	poke write "$DAX_DRIVER/new_id" "$DEV"
}

dax_bind() {
	poke write "$DAX_DRIVER/bind" "$DEV"
}

dax_unbind() {
	poke write "$DAX_DRIVERS/${1:-rdax}/unbind" "$DEV"
}

dax_cleanup() {
	[ -z "${BUSY_PID:-}" ] || kill "$BUSY_PID" 2>/dev/null
	[ "$(dax_driver)" = none ] || dax_unbind "$(dax_driver)" >/dev/null
	cleanup
}
trap dax_cleanup EXIT

# In the background: use the node until it is gone.
start_busy() {
	local n
	: >"$said"
	busy "$NODE" >"$said" 2>&1 &
	BUSY_PID=$!
	for ((n = 0; n < 300; n++)); do
		[ "$(head -n 1 "$said")" != busy ] || return 0
		sleep 0.1
	done
	return 1
}

# What it said in the end. busy has no limit of its own.
end_busy() {
	local n
	for ((n = 0; n < 600; n++)); do
		kill -0 "$BUSY_PID" 2>/dev/null || break
		sleep 0.1
	done
	unset BUSY_PID
	tail -n +2 "$said"
}

# One test: remove NAME COMMAND [ARGUMENTS]: a command that removes the device, while it is in use.
remove() {
	local name=$1 end log
	shift
	start_busy || {
		ktap_print_msg "$name: the device can't be used"
		ktap_test_fail "$name"
		return
	}
	log=$("$@" 2>&1)
	end=$(end_busy)
	if [ "$end" = gone ] && [ "$(dax_driver)" != rdax ]; then
		ktap_test_pass "$name"
	else
		ktap_print_msg "$name: $* said '$log', the tasks '$end', driver $(dax_driver)"
		ktap_test_fail "$name"
	fi
}

# The device is there again. Its name is in new_id, so it is bound.
is_back() {
	local n
	for ((n = 0; n < 100; n++)); do
		# The link to the driver is there before it has taken the device, these are not.
		[ "$(dax_driver)" = rdax ] && [ -e "$NODE" ] && [ -e "$DAX/faults" ] && return
		sleep 0.1
	done
	return 1
}

# libnvdimm may have numbered it anew.
back_by_any_name() {
	local n
	for ((n = 0; n < 100; n++)); do
		for DAX in /sys/bus/dax/devices/dax*; do
			[ -e "$DAX/size" ] || continue
			DEV=${DAX##*/}
			NODE=/dev/$DEV
			[ "$(named)" = ok ] && [ "$(dax_driver)" = rdax ] &&
				[ -e "$DAX/faults" ] && return
		done
		sleep 0.1
	done
	ktap_print_msg "what makes it said '$log'; devices: $(ls /sys/bus/dax/devices)"
	return 1
}

pattern_survives() {
	head -c 65536 /dev/urandom >"$data"
	dd if="$data" of="$NODE" bs=64K seek="$1" oflag=seek_bytes conv=notrunc,fsync status=none &&
		dd if="$NODE" bs=64K skip="$1" count=1 iflag=skip_bytes status=none | cmp - "$data"
}

nothing_left() {
	! grep -q "$DEV" /proc/iomem && [ ! -e "$DAX/faults" ] && [ ! -e "/sys/kernel/debug/rdax/$DEV" ]
}

extents() {
	cat "$DAX/rdax/extents"
}

static() {
	[ "$KIND" = devdax ]
}

data=$(mktemp) && said=$(mktemp) || exit 1
modprobe -q device_dax
# It would take the memory whenever a region of CXL is made again.
modprobe -qr kmem
[ ! -d $DAX_DRIVERS/kmem ] || skip_all "kmem is loaded, and has memory online"
ktap_set_plan "$({ static && echo 34; } || { [ "$KIND" = cxl ] && echo 41; } || echo 35)"

# Its own driver has it, or none.
[ "$(dax_driver)" = none ] || dax_unbind "$(dax_driver)" >/dev/null
expect "the module loads" "" insmod "$KO"
expect "loading takes nothing" none dax_driver
check "the driver is on the bus" test -d $DAX_DRIVER
expect "what is not named is refused" ENODEV dax_bind
expect "it is named" ok named
expect "and bound" rdax dax_driver
check "its memory is requested" grep -q "$DEV" /proc/iomem
check "its counters are there" test -e "$DAX/faults/pmd_mapped"
check "its entries are there" test -e "/sys/kernel/debug/rdax/$DEV/entries"
check "data is written and read" pattern_survives 0
if static; then
	expect "MAP_SYNC" ok poke sync-map "$NODE"
else
	expect "MAP_SYNC is refused" EOPNOTSUPP poke sync-map "$NODE"
fi

if insmod "$HERE/rdax_leaf.ko" 2>/dev/null; then
	expect "a leaf of 2 MiB" write-back poke leaf 2M "$NODE" 0
	poke rmmod rdax_leaf >/dev/null
else
	ktap_test_skip "a leaf of 2 MiB: no module rdax_leaf"
fi

# Unbound with an open file
check "a file is open" hold open "$NODE"
expect "it is unbound" ok dax_unbind
check "nothing is left" nothing_left
expect "no open succeeds" ENXIO poke open "$NODE"
expect "it is bound again" ok dax_bind
expect "it is opened" ok poke open "$NODE"
expect "it is unbound once more" ok dax_unbind

# By another driver, while our file is open; and ours, while its file is open.
if poke write $DAX_DRIVERS/device_dax/new_id "$DEV" >/dev/null 2>&1 ||
   poke write $DAX_DRIVERS/device_dax/bind "$DEV" >/dev/null 2>&1; then
	expect "device_dax takes it" device_dax dax_driver
	let_go
	expect "and its node opens" ok poke open "$NODE"
	check "its file is open" hold open "$NODE"
	expect "device_dax gives it back" ok dax_unbind device_dax
	expect "it is refused while that file is open" EBUSY dax_bind
	let_go
	poke write $DAX_DRIVERS/device_dax/remove_id "$DEV" >/dev/null
	expect "and bound afterwards" ok dax_bind
else
	let_go
	for n in 1 2 3 4 5; do
		ktap_test_skip "no device_dax"
	done
	expect "bound" ok dax_bind
fi

# A device of an NVDIMM that appears again is of its type.
poke rmmod device_dax >/dev/null

# Two ranges: the rest of the region's middle is another device's.
if ! static; then
	expect "unbound to be divided" ok dax_unbind
	size=$(cat "$DAX/size")
	region=$DAX/../dax_region
	echo $((size / 2)) >"$DAX/size"
	echo 1 >"$region/create"
	other=$(cat "$region/seed")
	echo $((size / 4)) >"/sys/bus/dax/devices/$other/size"
	echo $((size * 3 / 4)) >"$DAX/size"
	expect "two ranges are bound" ok dax_bind
	expect "they are its extents" "0 $((size / 2))
$((size * 3 / 4)) $((size / 4))" extents
	check "data goes over the seam" pattern_survives $((size / 2 - 32768))
fi

remove "unbind, in use" dax_unbind
expect "bound" ok dax_bind
remove "daxctl disable-device, in use" timeout 60 daxctl disable-device "$DEV"
# daxctl has taken the name out of new_id, too.
expect "named and bound again" ok named
case $KIND in
cxl)
	region=$(basename "$(dirname "$(readlink -f "$DAX/..")")")
	remove "cxl disable-region, in use" timeout 60 cxl disable-region "$region"
	cxl enable-region "$region" >/dev/null 2>&1
	check "it is back, and bound" is_back
	remove "rmmod dax_cxl, in use" poke rmmod dax_cxl
	modprobe dax_cxl
	check "it is back, and bound, again" is_back
	remove "cxl destroy-region, in use" timeout 60 cxl destroy-region -f "$region"
	log=$(cxl create-region -m -d decoder0.0 -w 1 -t ram mem0 2>&1)
	check "one made again is back, and bound" back_by_any_name
	for device in /sys/bus/pci/devices/*; do
		[ "$(cat "$device/class")" != 0x050210 ] || expander=$device
	done
	remove "the expander is removed, in use" poke write "$expander/remove" 1
	;;
hmem)
	remove "rmmod dax_hmem, in use" poke rmmod dax_hmem
	;;
devdax)
	remove "ndctl disable-namespace, in use" timeout 60 ndctl disable-namespace namespace1.0
	log=$(ndctl enable-namespace namespace1.0 2>&1)
	check "it is back, and bound" back_by_any_name
	remove "rmmod dax_pmem, in use" poke rmmod dax_pmem
	log=$(modprobe dax_pmem 2>&1)
	check "it is back, and bound, again" back_by_any_name
	;;
esac
check "nothing is left in the end" unload
ktap_finished
