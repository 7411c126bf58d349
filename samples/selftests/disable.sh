#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Taking away what rdax has with the tools of libnvdimm, while a node is mapped:
# ndctl says that it has, the node is gone, and afterwards the namespace is there
# under its old name, with its data. The dead mapping is all that holds the module.
# liveness.c has the other states in which a user can be.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
command -v ndctl >/dev/null || skip_all "no ndctl"
ktap_set_plan 29

PROVIDER=/sys/bus/platform/drivers/acpi-nfit
REGION=$(basename "$(readlink -f "$DEVICES/$NS/..")")
STAMP="liveness $$"

# What ndctl says at the end: how many it has disabled or enabled.
ndctl_says() {
	ndctl "$@" 2>&1 | tail -n 1
}

listed() {
	ndctl list -n "$NS" | sed -n 's/.*"dev":"\([^"]*\)".*/\1/p'
}

put_stamp() {
	printf '%s' "$STAMP" | dd of=/dev/rdax0 bs=4096 seek=3 oflag=seek_bytes conv=notrunc status=none
}

stamp() {
	dd if=/dev/rdax0 bs=${#STAMP} count=1 skip=3 iflag=skip_bytes status=none
}

there() {
	local i
	for ((i = 0; i < 200; i++)); do
		[ -e "$DEVICES/$1" ] && settled && return
		sleep 0.1
	done
	return 1
}

gone() {
	[ ! -e "$DEVICES/$1" ] && [ -z "$(nodes)" ]
}

works_again() {
	expect "$1: it can be bound again" ok bind "$NS"
	expect "$1: its data is there" "$STAMP" stamp
	expect "$1: as rdax0" rdax0 nodes
}

load
bind "$NS" >/dev/null
put_stamp
check "hold a node" hold map /dev/rdax0

expect "ndctl list shows it" "$NS" listed
expect "ndctl disable-namespace" "disabled 1 namespace" ndctl_says disable-namespace "$NS"
expect "$NS has no driver" "" driver_of "$NS"
expect "and no node" "" nodes
expect "once more: nothing to do" "disabled 1 namespace" ndctl_says disable-namespace "$NS"
works_again "disable-namespace"

expect "ndctl disable-region" "disabled 1 region" ndctl_says disable-region "$REGION"
check "$NS is gone" gone "$NS"
expect "and can't be bound" ENODEV bind "$NS"
expect "ndctl enable-region" "enabled 1 region" ndctl_says enable-region "$REGION"
check "$NS is there again" there "$NS"
works_again "enable-region"

if [ -e "$PROVIDER/ACPI0012:00" ]; then
	# Its bus is in use, by regions and DIMMs.
	expect "rmmod of the provider is refused" EAGAIN poke rmmod nfit
	expect "the provider lets go of its bus" ok poke write "$PROVIDER/unbind" ACPI0012:00
	check "all is gone" gone "$NS"
	expect "rmmod of the provider" ok poke rmmod nfit
	check "modprobe of the provider" modprobe nfit
	check "$NS is there once more" there "$NS"
	works_again "a new provider"
else
	for _ in 1 2 3 4 5 6 7 8 9; do
		ktap_test_skip "the provider is not ACPI's NFIT"
	done
fi

expect "rmmod is refused while a dead mapping is held" EAGAIN poke rmmod rdax
let_go
expect "rmmod works afterwards" ok poke rmmod rdax
expect "and leaves $NS alone" "" driver_of "$NS"
ktap_finished
