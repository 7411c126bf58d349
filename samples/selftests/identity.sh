#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The lists bind, force and divided mean one namespace, whatever its name is now. With
# labels, a namespace is meant by its UUID only: the names change when others were made
# or destroyed, and a name would take another one's data. Without labels it is meant by
# its name, or by its name and size. What a list says otherwise than it must is logged.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
ktap_set_plan 50

REGION=	# one whose namespaces have labels
SIZE=$((64 << 20))
UUIDS=(
	11111111-aaaa-4aaa-8aaa-a00000000001
	22222222-bbbb-4bbb-8bbb-b00000000002
	33333333-cccc-4ccc-8ccc-c00000000003
)

# The attribute of a namespace, or nothing.
attribute() {
	cat "$DEVICES/$1/$2" 2>/dev/null
}

# A namespace without UUID that can be written.
plain_namespace() {
	local ns
	for ns in "$DEVICES"/namespace*; do
		if [ ! -e "$ns/uuid" ] && [ "$(cat "$ns/../read_only")" = 0 ]; then
			echo "${ns##*/}"
			return
		fi
	done
}

labelled_region() {
	local region
	for region in "$DEVICES"/region*; do
		if [ "$(cat "$region/nstype")" = 5 ]; then
			echo "${region##*/}"
			return
		fi
	done
}

# Make labels on each DIMM that has room for them and has none.
init_labels() {
	ndctl disable-region all && ndctl init-labels all
	ndctl enable-region all
	settled
} >/dev/null 2>&1

# The namespaces of the region, by name.
names() {
	local ns
	for ns in "$DEVICES/$REGION"/namespace[0-9]*; do
		echo "${ns##*/}"
	done
}

name_of() {
	local ns
	for ns in $(names); do
		if [ "$(attribute "$ns" uuid)" = "$1" ]; then
			echo "$ns"
			return
		fi
	done
}

# The UUIDs of those that rdax has, in the order of UUIDS.
taken() {
	local uuid all=
	for uuid in "${UUIDS[@]}"; do
		if bound "$(name_of "$uuid")"; then
			all+=" $uuid"
		fi
	done
	echo "${all# }"
}

mark() {
	echo "identity.sh: from here" >/dev/kmsg
}

# How often it was said of a namespace since mark().
said() {
	dmesg | tac | sed '/identity.sh: from here/q' | grep -cF "rdax $1: rdax: $2"
}

# The module anew, with these parameters.
load_with() {
	unload && mark && insmod "$KO" "$@"
}

reload_region() {
	poke write /sys/bus/nd/drivers/nd_region/unbind "$REGION" >/dev/null
	poke write /sys/bus/nd/drivers/nd_region/bind "$REGION" >/dev/null
	settled
}

# Nothing is in the region but what libnvdimm keeps for the next one.
empty_region() {
	local ns
	for ns in $(names); do
		[ -z "$(driver_of "$ns")" ] || poke write "$DEVICES/$ns/driver/unbind" "$ns" >/dev/null
		[ "$(attribute "$ns" size)" = 0 ] || echo 0 >"$DEVICES/$ns/size" || return
	done
	reload_region
}

# A bind makes libnvdimm provide another one.
make_namespace() {
	local ns
	ns=$(attribute "$REGION" namespace_seed)
	echo "$1" >"$DEVICES/$ns/uuid" && echo "$SIZE" >"$DEVICES/$ns/size" &&
		[ "$(bind "$ns")" = ok ] && unbind "$ns" >/dev/null
}

zero() {
	dd if=/dev/zero of="$1" bs=1M count=2 conv=notrunc,fsync status=none
}

NS=$(plain_namespace)
if [ -n "$NS" ]; then
	bytes=$(attribute "$NS" size)
	other="parameter bind lists it with 1048576 bytes, which is ignored because it has $bytes bytes"
	check "by name" load_with "bind=$NS" "force=$NS"
	check "it is taken" bound "$NS"
	check "by name and size" load_with "bind=namespace99.0,$NS:$bytes" "force=$NS:$bytes"
	check "it is taken" bound "$NS"
	check "by name and size with a suffix" load_with "bind=$NS:$((bytes >> 10))k" "force=$NS"
	check "it is taken" bound "$NS"
	check "by name and another size" load_with "bind=$NS:1M" "force=$NS"
	check "it is not taken" test -z "$(driver_of "$NS")"
	expect "the log has both sizes, once" 1 said "$NS" "$other"
	check "by name and two sizes" load_with "bind=$NS:1M,$NS:$bytes" "force=$NS"
	check "it is taken" bound "$NS"
	expect "nothing is said" 0 said "$NS" "parameter bind lists it"

	# A signature, to be bound over by name and size.
	printf 'XFSB' | dd of=/dev/rdax0 conv=notrunc,fsync status=none
	unbind "$NS" >/dev/null
	set_param force "$NS:1M"
	expect "force with another size" EEXIST bind "$NS"
	expect "the refusal says what to write" 1 \
		said "$NS" "refused, it may hold data: XFS at byte 0x0 (parameter force=$NS overrides)"
	set_param force "$NS:$bytes"
	set_param divided "$NS:1M"
	expect "force with its size" ok bind "$NS"
	expect "divided with another size: a device" rdax0 nodes
	zero /dev/rdax0
	unbind "$NS" >/dev/null
	set_param divided "$NS:$bytes"
	expect "bind" ok bind "$NS"
	expect "divided with its size: no device" "" nodes
	check "rmmod" unload
else
	for _ in {1..19}; do
		ktap_test_skip "each namespace has a UUID, or is read-only"
	done
fi

REGION=$(labelled_region)
if [ -z "$REGION" ]; then
	init_labels
	REGION=$(labelled_region)
fi
if [ -z "$REGION" ]; then
	for _ in {1..31}; do
		ktap_test_skip "no region has labels: scripts/lab guest --machine odd"
	done
	ktap_finished
fi

insmod "$KO"
check "an empty region" empty_region
for uuid in "${UUIDS[@]}"; do
	check "a namespace $uuid" make_namespace "$uuid"
done
mapfile -t before < <(for uuid in "${UUIDS[@]}"; do name_of "$uuid"; done)
ktap_print_msg "they are ${before[*]}"

# A user who writes a name means what has it now.
expect "a write to the driver's bind file names the second" ok bind "${before[1]}"
expect "the second is taken" "${UUIDS[1]}" taken

# By UUID.
check "bind= with the UUID of the second" load_with "bind=namespace99.0,${UUIDS[1]}"
expect "the second is taken" "${UUIDS[1]}" taken
check "bind= with two UUIDs, one in capitals" load_with "bind=${UUIDS[0]},${UUIDS[2]^^}"
expect "the first and the third are taken" "${UUIDS[0]} ${UUIDS[2]}" taken

# By name.
hint="lists its name, which is ignored because names of namespaces with labels may change: list its UUID"
check "bind= with the name of the second" load_with "bind=${before[1]}"
expect "none is taken" "" taken
expect "the log says what to write, once" 1 said "${before[1]}" "parameter bind $hint ${UUIDS[1]}"
check "bind= with its name and size" load_with "bind=${before[1]}:$SIZE"
expect "none is taken" "" taken
expect "the log says what to write" 1 said "${before[1]}" "parameter bind $hint ${UUIDS[1]}"
check "bind= with both" load_with "bind=${before[1]},${UUIDS[1]}"
expect "the second is taken" "${UUIDS[1]}" taken
expect "nothing is said" 0 said "${before[1]}" "parameter bind $hint"

# force and divided.
printf 'XFSB' | dd of=/dev/rdax0 conv=notrunc,fsync status=none
unbind "${before[1]}" >/dev/null
mark
set_param force "${before[1]}"
expect "force with its name" EEXIST bind "${before[1]}"
expect "the log says what to write" 1 said "${before[1]}" "parameter force $hint ${UUIDS[1]}"
expect "and so does the refusal" 1 said "${before[1]}" \
	"refused, it may hold data: XFS at byte 0x0 (parameter force=${UUIDS[1]} overrides)"
set_param force "${UUIDS[1]}"
set_param divided "${before[1]}"
expect "force with its UUID, divided with its name" ok bind "${before[1]}"
expect "a device" rdax0 nodes
expect "the log says what to write" 1 said "${before[1]}" "parameter divided $hint ${UUIDS[1]}"
zero /dev/rdax0
unbind "${before[1]}" >/dev/null
set_param divided "${UUIDS[1]}"
expect "divided with its UUID" ok bind "${before[1]}"
expect "no device" "" nodes

# The first is destroyed, and the region enabled anew: other names for the same memory.
check "bind= with the UUID of the third" load_with "bind=${UUIDS[2]}"
unbind "${before[2]}" >/dev/null
echo 0 >"$DEVICES/${before[0]}/size"
reload_region
ktap_print_msg "the third is $(name_of "${UUIDS[2]}") now"
check "names have changed" test "$(name_of "${UUIDS[2]}")" != "${before[2]}"
expect "the third is taken" "${UUIDS[2]}" taken
check "rmmod" unload
empty_region
ktap_finished
