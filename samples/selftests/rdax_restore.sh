#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# "rdax save" and "rdax restore" on real namespaces: after the module was removed, each device
# has its name, alignment, extents and bytes again. A configuration that does not fit is
# refused in a sentence, and nothing is bound then; what was begun is undone.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
TOOL=${RDAX_TOOL:-${KO%/*}/scripts/rdax}
[ -x "$TOOL" ] || skip_all "there is no $TOOL: set RDAX_TOOL"
python3 -c 'import tomllib' 2>/dev/null || skip_all "there is no python3 with tomllib"
[ -e "$DEVICES/$NS2" ] || skip_all "there is no $NS2"
modprobe -q nd_pmem || skip_all "no nd_pmem to take namespaces from"
ktap_set_plan 73

work=$(mktemp -d) || exit 1
config=$work/rdax.conf
mkdir "$work/mnt"
mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug

restore_cleanup() {
	umount "$work/mnt" 2>/dev/null
	cleanup
	modprobe -q -r nd_pmem
	rm -rf "$work"
}
trap restore_cleanup EXIT

# One test: ends NAME STATUS PATTERN ARGUMENTS...: how the tool ends, and a line of what it says.
ends() {
	local name=$1 status=$2 pattern=$3 got
	shift 3
	"$TOOL" "$@" >"$work/out" 2>&1 </dev/null
	got=$?
	if [ $got = "$status" ] && grep -qE -- "$pattern" "$work/out" &&
	   ! grep -qE 'Traceback|error in rdax itself' "$work/out"; then
		ktap_test_pass "$name"
	else
		ktap_print_msg "rdax $*: status $got instead of $status, or not '$pattern':"
		sed 's/^/# /' "$work/out"
		ktap_test_fail "$name"
	fi
}

# One more test of what the last call said.
says() {
	check "$1" grep -qE -- "$2" "$work/out"
}

tool() {
	"$TOOL" "$@" >"$work/out" 2>&1 </dev/null || {
		ktap_print_msg "rdax $*: $(cat "$work/out")"
		return 1
	}
}

restores() {
	local name=$1 status=$2 pattern=$3
	shift 3
	ends "$name" "$status" "$pattern" restore --config "$config" --module "$KO" "$@"
}

# What there is: a line for each device, with all that a restore must bring back.
state() {
	local path
	for path in "$CLASS"/rdax*; do
		[ -e "$path" ] || continue
		echo "${path##*/} $(basename "$(readlink "$path/device")") $(cat "$path/align") \
$(cat "$path/size") $(tr '\n' ',' <"$path/extents") $(sum_of "${path##*/}")"
	done
}

# The first and the last 16 MiB of a device.
sum_of() {
	local size
	size=$(cat "$CLASS/$1/size")
	{
		head -c 16M "/dev/$1"
		[ "$size" -le $((16 << 20)) ] ||
			tail -c +$((size - (16 << 20) + 1)) "/dev/$1"
	} | sha256sum | cut -c1-16
}

# Bytes that no other device has, at both ends.
mark() {
	local size count
	size=$(cat "$CLASS/$1/size")
	count=$((size < 16 << 20 ? size : 16 << 20))
	yes "$1 begins" | dd of="/dev/$1" bs=1M count="$count" iflag=fullblock,count_bytes \
		conv=notrunc status=none
	[ "$size" -le $((16 << 20)) ] || yes "$1 ends" | dd of="/dev/$1" bs=1M \
		count="$count" iflag=fullblock,count_bytes oflag=seek_bytes \
		seek=$((size - count)) conv=notrunc status=none
}

give_back() {
	local ns
	for ns in "$NS" "$NS2"; do
		! bound "$ns" || tool unbind "$ns" --yes || return
		[ "$(driver_of "$ns")" = nd_pmem ] || echo "$ns" >"$PMEM_DRIVER/bind" || return
	done
	unload
}

pmem() {
	disk=/dev/$(ls "$DEVICES/$NS2/block")
}

for ns in "$NS" "$NS2"; do
	driver_of "$ns" >/dev/null || echo "$ns" >"$PMEM_DRIVER/bind"
	disk=/dev/$(ls "$DEVICES/$ns/block")
	dd if=/dev/zero of="$disk" bs=1M count=1 conv=fsync status=none
done

#
# A division, of all kinds of devices
#
ends "nothing to save" 1 "no namespace is bound, nor a device of the dax bus: nothing was saved" save --output "$config"
check "no file of it" test ! -e "$config"

divide() {
	local at
	tool bind "$NS" --align 2M --module "$KO" && tool resize rdax0 1G --yes &&
		tool create "$NS" --size 2G --align 1G || return
	tool bind "$NS2" --align 2M && tool resize rdax2 64M --yes &&
		tool create "$NS2" --size 32M && tool create "$NS2" --size 64M --align 4K &&
		tool destroy rdax3 --yes && tool resize rdax2 160M && tool resize rdax4 65540K || return
	# Two that lie between each other, one of more extents than a page can show.
	echo rdax7 >"$DEVICES/$NS2/rdax_region/create" &&
		echo rdax9 >"$DEVICES/$NS2/rdax_region/create" &&
		echo 4K >"$CLASS/rdax7/align" && echo 4K >"$CLASS/rdax9/align" || return
	for ((at = 0; at < 300; at++)); do
		echo "$(((500 << 20) + at * 8192)) 4K" >"$CLASS/rdax7/extents" || return
	done
	for at in 5 3 4; do
		echo "$(((500 << 20) + at * 8192 + 4096)) 4K" >"$CLASS/rdax9/extents" || return
	done
	# And one without bytes.
	echo rdax11 >"$DEVICES/$NS2/rdax_region/create"
}
check "divided" divide
for device in rdax0 rdax1 rdax2 rdax4 rdax7 rdax9; do
	mark "$device"
done
state >"$work/before"
expect "seven devices" 7 grep -c . "$work/before"
expect "each has bytes of its own" 7 sh -c "awk '{ print \$NF }' $work/before | sort -u | wc -l"

ends "save" 0 "^$NS2: saved: rdax2 160M, rdax4 65540K, rdax7 1200K, rdax9 12K, rdax11 0$" \
	save --output "$config"
expect "all extents" "300 3" sh -c \
	"python3 -c 'import sys, tomllib
d = tomllib.load(open(sys.argv[1], \"rb\"))
print(*[len(v[\"extents\"]) for r in d[\"region\"] for v in r[\"device\"] if v[\"name\"] in (\"rdax7\", \"rdax9\")])' \
	$config"
expect "mode" 600 stat -c %a "$config"
ends "save again" 0 "rdax.conf: as it was$" save --output "$config"
cp "$config" "$work/good"

#
# The module goes, and nd_pmem has the namespaces, as at boot
#
check "given back, unloaded" give_back
expect "no device is left" "" nodes
restores "dry run" 0 "^$NS2: would be bound: rdax2 160M, rdax4" --dry-run
check "it loaded no module" test ! -d /sys/module/rdax
expect "it took nothing" nd_pmem driver_of "$NS2"
restores "restore" 0 "^$NS2: restored: rdax2 160M, rdax4 65540K, rdax7 1200K, rdax9 12K, rdax11 0$"
says "and the other" "^$NS: restored: rdax0 1G, rdax1 2G$"
state >"$work/after"
check "names, alignments, extents and bytes are as before" diff "$work/before" "$work/after"
expect "the region's align" 2097152 cat "$DEVICES/$NS2/rdax_region/align"
expect "the parameter divided is as before" "" cat "$PARAMS/divided"
expect "the parameter align is as before" 4K cat "$PARAMS/align"
restores "restore again" 0 "^$NS2: as configured: "

# What was changed by hand is left so.
tool destroy rdax4 --yes
restores "divided otherwise" 1 "$NS2 is bound otherwise, and left as it is: there is no rdax4$"
says "the rest is as configured" "^$NS: as configured: "
expect "nothing was done" "rdax0 rdax1 rdax11 rdax2 rdax7 rdax9" nodes
ends "save of what there is now" 0 "what was there is in .*rdax.conf~$" save --output "$config"
check "the file before is kept" cmp "$work/good" "$config~"
cp "$work/good" "$config"

# Only one, and by two at once.
check "given back, unloaded again" give_back
restores "restore of one" 0 "^$NS: restored: " "$NS"
expect "only that one" nd_pmem driver_of "$NS2"
tool restore --config "$config" "$NS2" >"$work/one" &
one=$!
tool restore --config "$config" "$NS2" >"$work/two" &
two=$!
check "one of two at once" wait "$one"
check "the other of two at once" wait "$two"
state >"$work/after"
check "all is as before" diff "$work/before" "$work/after"

#
# Configurations that do not fit: $NS is there, nd_pmem has $NS2
#
tool unbind "$NS2" --yes --to nd_pmem
pmem
sum=$(head -c 4M "$disk" | sha256sum)

# Two tests: NAME PATTERN, and what to do to the lines about $NS2, of sed or to be added.
refused() {
	local name=$1 pattern=$2 how=$3
	{
		sed "/$NS2/,\$d" "$work/good"
		sed -n "/$NS2/,\$p" "$work/good" | sed -E "$how"
		[ -z "${4:-}" ] || printf '%b' "$4"
	} >"$config"
	restores "$name" 1 "$pattern"
	check "$name: nothing is bound" untouched
}

untouched() {
	[ "$(driver_of "$NS2")" = nd_pmem ] && [ "$(nodes)" = "rdax0 rdax1" ] &&
		[ "$(cat "$PARAMS/divided")" = "" ] && pmem &&
		[ "$(head -c 4M "$disk" | sha256sum)" = "$sum" ]
}

refused "another size" "refused: $NS2 is another namespace, or has changed: it has 512M, not 1G$" \
	's/^size = .*/size = "1G"/'
says "the rest is as configured" "^$NS: as configured"
refused "another address" "it is at 0x[0-9a-f]+, not at 0x1000$" 's/^resource = .*/resource = 0x1000/'
refused "another uuid" "no namespace has the uuid 0c3f0000-" \
	's/^size =/uuid = "0c3f0000-1111-2222-3333-444455556666"\n&/'
refused "no such namespace" "there is no namespace77.0$" "s/$NS2/namespace77.0/"
refused "the namespace twice" "$NS2 is configured again at " "" \
	"\n[[region]]\nnamespace = \"$NS2\"\nwhole = true\n"
refused "wrong in each line" "device 1 \(rdax2\): '0 1M' is not a multiple of its align, 2M$" \
	's/"rdax9"/"rdax1"/; s/"rdax11"/"rdax9"/
		/"rdax2"/,/extents/s/extents = .*/extents = ["0 1M"]/
		/"rdax4"/,/extents/s/extents = .*/extents = ["512K 1M", "512M 4K"]/
		/"rdax7"/,/extents/s/align = .*/aling = "4K"/
		/"rdax9"/,/extents/s/extents = .*/extents = "0 1G"/'
says "an overlap" "rdax2 and rdax4 overlap: '0 1M' and '512K 1M'$"
says "beyond the end" "rdax4: '512M 4K' is beyond the size, 512M$"
says "a name twice" "rdax1 is configured again at .*: $NS$"
says "a key that is unknown" "device 3 \(rdax7\): there is no key 'aling'$"
says "a wrong type" "device 5 \(rdax9\): extents: an array is needed, not a string$"
refused "not TOML" "not valid TOML, so nothing of it is used: .*line" 's/^size = .*/size = = 1/'

# What only the driver finds, when other devices are there already.
refused "a number that no device has" \
	"rdax2000000 can't be made: there is no such number.*; undone: it was given back to nd_pmem$" \
	's/"rdax11"/"rdax2000000"/'

# A name that a device has which is not in the file.
sed "/$NS2/,\$!d; s/\"rdax9\"/\"rdax1\"/" "$work/good" | sed '1i [[region]]' >"$config"
restores "a name that is taken now" 1 "refused: $NS has a device rdax1 already$"
check "a name that is taken now: nothing is bound" untouched

# Interrupted when a device is there.
cp "$work/good" "$config"
"$TOOL" restore --config "$config" >"$work/out" 2>&1 &
tool_pid=$!
for ((n = 0; n < 1000; n++)); do
	[ ! -e /dev/rdax7 ] || break
	sleep 0.01
done
kill "$tool_pid"
wait "$tool_pid"
expect "interrupted" 143 echo $?
check "it was undone" untouched
restores "and restored" 0 "^$NS2: restored: "
state >"$work/after"
check "all is as before, still" diff "$work/before" "$work/after"

# Bound when the module was loaded, without a device, as modprobe.d can have it.
check "given back, unloaded for the third time" give_back
echo "$NS2" >"$PMEM_DRIVER/unbind"
insmod "$KO" "bind=$NS2" "divided=$NS2" align=2M
check "bound without a device" test "$(bound "$NS2" && nodes)" = ""
restores "divided then" 0 "^$NS2: restored: "
state >"$work/after"
check "all is as before, once more" diff "$work/before" "$work/after"

# A device with all of it: its name is none that is configured.
check "given back, unloaded for the fourth time" give_back
printf '[[region]]\nnamespace = "%s"\nwhole = true\n' "$NS2" >"$config"
sed "/$NS2/,\$d" "$work/good" | sed '$d' >>"$config"
restores "whole" 0 "^$NS2: restored: rdax2 512M$"
restores "whole, again" 0 "^$NS2: as configured: rdax2 512M$"

# Something known at its head; and in use.
tool unbind "$NS2" --yes --to nd_pmem
pmem
mkfs.ext4 -q -F "$disk" 16M
restores "a file system" 1 "ext4 at byte 0x438 \('force = true' overrides\); it was given back to nd_pmem$"
expect "given back" nd_pmem driver_of "$NS2"
sed -i 's/^whole.*/&\nforce = true/' "$config"
pmem
mount "$disk" "$work/mnt"
restores "mounted, force" 1 "refused: ${disk##*/} is mounted at $work/mnt "
umount "$work/mnt"
restores "not mounted, force" 0 "^$NS2: restored: rdax2 512M$"
ends "save keeps force" 0 "^$NS2: saved: rdax2 512M$" save --output "$config"
expect "of that one only" 1 grep -c '^force = true$' "$config"
ktap_finished
