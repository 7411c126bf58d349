#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# scripts/rdax on a device of the dax bus: from no driver, device_dax and kmem to rdax and back, also
# when files are open or memory is online; what it shows of the device; saved, and restored.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=lib/dax.sh
. "$HERE/dax.sh"
TOOL=${RDAX_TOOL:-${KO%/*}/scripts/rdax}
[ -x "$TOOL" ] || skip_all "there is no $TOOL: set RDAX_TOOL"
command -v python3 >/dev/null || skip_all "python3 isn't there"
dax_load
unload
ktap_set_plan 44

work=$(mktemp -d) || exit 1
policy=/sys/devices/system/memory/auto_online_blocks
was=$(cat $policy)
tool_cleanup() {
	[ -z "${sleeper:-}" ] || kill "$sleeper" 2>/dev/null
	dax_cleanup
	echo "$was" >$policy
	rm -rf "$work"
}
trap tool_cleanup EXIT

# One test: ends NAME STATUS PATTERN [ARGUMENTS]: how the tool ends, and a line of what it says.
ends() {
	local name=$1 status=$2 pattern=$3 got
	shift 3
	"$TOOL" "$@" >"$work/out" 2>&1 </dev/null
	got=$?
	if [ $got = "$status" ] && grep -qE -- "$pattern" "$work/out"; then
		ktap_test_pass "$name"
	else
		ktap_print_msg "rdax $*: status $got instead of $status, or not '$pattern':"
		sed 's/^/# /' "$work/out"
		ktap_test_fail "$name"
	fi
}

open_it() {
	sleep 1000 3<"$DAX_NODE" &
	sleeper=$!
}

close_it() {
	kill "$sleeper"
	wait "$sleeper" 2>/dev/null
	sleeper=
}

size=$(cat "$DAX_DEVICE/size")
mib=$((size >> 20))
ends "list, without the module" 0 "^$DAX .* nobody +yes$" list
ends "bind" 0 "^$DAX: bound: .*; align 2M$" bind "$DAX" --module "$KO"
expect "of rdax" rdax dax_driver
ends "bound already" 0 "^$DAX: bound already: " bind "/dev/$DAX"
ends "list" 0 " $DAX +[0-9]+[MG] +2M .* -$" list
printf x | dd of="$DAX_NODE" bs=1 seek=$((3 << 20)) conv=notrunc status=none
ends "sync" 0 "^$DAX: durable, [0-9]+ entries written back$" sync "$DAX"
ends "map" 0 "^$DAX: .*, align 2M; " map "$DAX" --ascii
ends "stat" 0 "^$DAX +0 " stat "$DAX"
ends "punch, without --yes" 6 "are lost$" punch "$DAX" --offset 2M --length 2M
ends "punch" 0 "^$DAX: 2M from 2M on are zeroes$" punch "$DAX" --offset 2M --length 2M --yes
expect "a zero" " 00" od -An -tx1 -j$((3 << 20)) -N1 --width=1 "$DAX_NODE"
ends "the bus divides it" 2 "divided by the dax bus itself" resize "$DAX" 4M

# The configuration
ends "save" 0 "^$DAX: saved: " save --output "$work/conf" "$DAX"
open_it
ends "unbind in use" 5 "in use by $sleeper sleep" unbind "$DAX"
ends "unbind by force" 0 "^$DAX: unbound$" unbind "$DAX" --force
close_it
ends "restore" 0 "^$DAX: restored: " restore --config "$work/conf"
sed -i 's/^resource = .*/resource = 0x1000/' "$work/conf"
ends "restore of another place" 1 "no device of the dax bus begins at 0x1000" \
	restore --config "$work/conf"

# Pages
ends "pages, of what is bound" 5 "is bound with frames \('rdax unbind $DAX' first\)$" \
	bind "$DAX" --memory pages
ends "unbind, for pages" 0 "^$DAX: unbound$" unbind "$DAX"
ends "pages" 0 "^$DAX: bound: .*; with pages$" bind "$DAX" --memory pages
expect "it has them" pages cat "$DAX_DEVICE/rdax/memory"
ends "save, with pages" 0 "^$DAX: saved: " save --output "$work/pages" "$DAX"
"$TOOL" unbind "$DAX" >/dev/null && echo >/sys/module/rdax/parameters/pages
ends "restore, with pages" 0 "^$DAX: restored: " restore --config "$work/pages"
expect "it has them again" pages cat "$DAX_DEVICE/rdax/memory"
ends "tracked" 0 "^$DAX: bound already: .*; with tracked pages$" bind "$DAX" --memory tracked
expect "it tracks" tracked cat "$DAX_DEVICE/rdax/memory"
exec 9<"/dev/$DAX"
ends "untracked, but in use" 5 "$DAX: is bound with tracked: the device is in use$" \
	bind "$DAX" --memory pages
exec 9<&-
ends "save, tracked" 0 "^$DAX: saved: " save --output "$work/pages" "$DAX"
"$TOOL" unbind "$DAX" >/dev/null && echo >/sys/module/rdax/parameters/pages
ends "restore, tracked" 0 "^$DAX: restored: " restore --config "$work/pages"
expect "it tracks again" tracked cat "$DAX_DEVICE/rdax/memory"
"$TOOL" unbind "$DAX" >/dev/null && echo >/sys/module/rdax/parameters/pages
"$TOOL" bind "$DAX" >/dev/null

# Other drivers
ends "to device_dax" 0 "^$DAX: now of device_dax$" unbind "$DAX" --to device_dax
expect "of device_dax" device_dax dax_driver
open_it
ends "from device_dax, open" 5 "in use by $sleeper sleep" bind "$DAX" --force
close_it
ends "from device_dax" 0 "^$DAX: bound: " bind "$DAX"
ends "data to be lost" 6 "the data in it will be lost" unbind "$DAX" --to kmem
if [ $((size % (128 << 20))) != 0 ]; then
	for _ in 1 2 3 4 5 6 7; do
		ktap_test_skip "it has not whole blocks of memory, of 128 MiB"
	done
else
	echo offline >$policy
	ends "to kmem" 0 "^$DAX: now of kmem; 0 of $((mib / 128)) memory blocks are online$" \
		unbind "$DAX" --to kmem --yes
	expect "of kmem" kmem dax_driver
	# Movable, so that it can be taken offline again.
	block=/sys/devices/system/memory/memory$(($(cat "$DAX_DEVICE/resource") / (128 << 20)))
	echo online_movable >"$block/state"
	ends "from kmem, online" 5 "1 of its $((mib / 128)) memory blocks are online \('daxctl off" \
		bind "$DAX"
	ends "list says so" 0 "^$DAX .* no; $DAX is ordinary memory" list
	check "what it says to do" daxctl offline-memory "$DAX"
	ends "from kmem" 0 "^$DAX: bound: " bind "$DAX"
	expect "of rdax again" rdax dax_driver
fi
ends "unbind" 0 "^$DAX: unbound$" unbind "$DAX"
# The driver forgets the name.
modprobe -q device_dax
check "another driver's, by its type or not" test "$(dax_driver)" != rdax
ktap_finished
