#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# ndctl takes a namespace for a block device: it opens the node whose name is in the
# directory `block`, and gives up unless there is exactly one name. So there is one,
# however many devices a region has, and ndctl disables, destroys and makes anew what
# rdax has. What it says is compared word for word.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
command -v ndctl >/dev/null || skip_all "no ndctl"
ktap_set_plan 54

REGION=$(basename "$(readlink -f "$DEVICES/$NS/..")")
DIR=$DEVICES/$NS/rdax_region

# What ndctl says at the end: how many it has disabled or enabled.
ndctl_says() {
	ndctl "$@" 2>&1 | tail -n 1
}

complaints() {
	ndctl "$@" 2>&1 | grep -v '^destroyed [01] namespace'
}

not_bound() {
	! bound "$1"
}

listed() {
	ndctl list -n "$NS" | sed -n 's/.*"blockdev":"\([^"]*\)".*/\1/p'
}

names() {
	local name all=
	for name in "$DEVICES/$NS/block"/*; do
		[ -e "$name" ] && all="$all ${name##*/}"
	done
	echo "${all# }"
}

create() {
	poke write "$DIR/create" 1
}

delete() {
	poke write "$DIR/delete" "$1"
}

# A region with that many devices.
divide() {
	local i
	settled
	# ndctl has it bound to nd_pmem when it is done with it.
	[ -z "$(driver_of "$NS")" ] || poke write "$DEVICES/$NS/driver/unbind" "$NS" >/dev/null
	set_param divided "$NS" && bind "$NS" >/dev/null || return
	for ((i = 0; i < $1; i++)); do
		create >/dev/null || return
	done
}

load
set_param force "$NS"

# The name, while devices come and go.
check "a region without devices" divide 0
expect "its name is that of a node which is always there" null names
expect "ndctl list shows it" null listed
expect "the first device" ok create
expect "is named" rdax0 names
expect "ndctl list shows it" rdax0 listed
expect "a second" ok create
expect "a third" ok create
expect "change nothing" rdax0 names
expect "the first goes" ok delete rdax0
expect "the next is named" rdax1 names
expect "it opens" ok poke open /dev/rdax1
expect "the last goes" ok delete rdax2
expect "and changes nothing" rdax1 names
expect "none is left" ok delete rdax1
expect "none is named" null names
check "unbound" unbind "$NS"
check "nothing is named" test ! -e "$DEVICES/$NS/block"

for devices in 0 1 2 3; do
	check "$devices devices" divide "$devices"
	expect "$devices: ndctl disable-namespace" "disabled 1 namespace" \
		ndctl_says disable-namespace "$NS"
	expect "$devices: no driver has it" "" driver_of "$NS"

	check "$devices devices again" divide "$devices"
	expect "$devices: ndctl disable-region" "disabled 1 region" ndctl_says disable-region "$REGION"
	expect "$devices: ndctl enable-region" "enabled 1 region" ndctl_says enable-region "$REGION"

	check "$devices devices once more" divide "$devices"
	# It counts only those that had labels or an info block.
	expect "$devices: ndctl destroy-namespace" "" complaints destroy-namespace -f "$NS"
	check "$devices: rdax has it no more" not_bound "$NS"
done
ktap_finished
