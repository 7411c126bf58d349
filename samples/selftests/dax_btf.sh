#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What rdax finds of the private structures of the dax bus when it is loaded: if the kernel's BTF differs,
# or nothing describes them, it works without that bus, and says why in one line. The module rdax_btf
# changes what is found.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"

BUS_DRIVER=/sys/bus/dax/drivers/rdax

btf_cleanup() {
	cleanup
	poke rmmod rdax_btf >/dev/null
}
trap btf_cleanup EXIT

# What loading says of the dax bus.
said() {
	dmesg -C
	load || return
	dmesg | sed -n 's/.*rdax: \(devices of the dax bus\)/\1/p'
}

# finds NAME TEXT PARAMETER...: four tests of a load with these parameters of rdax_btf: what it says, that
# it has no driver on the bus, that namespaces are bound all the same, and that it unloads.
finds() {
	local name=$1 text=$2
	shift 2
	insmod "$HERE/rdax_btf.ko" "$@"
	expect "$name: it says so" "$text" said
	check "$name: no driver" test ! -e $BUS_DRIVER
	expect "$name: a namespace" ok bind "$NS"
	unbind "$NS" >/dev/null
	expect "$name: unloaded" ok poke rmmod rdax
	poke rmmod rdax_btf >/dev/null
}

unload
insmod "$HERE/rdax_btf.ko" answer=1 2>/dev/null || skip_all "no module rdax_btf, or no probes"
poke rmmod rdax_btf >/dev/null
modprobe -q dax || [ -d /sys/bus/dax ] || skip_all "no dax bus"
ktap_set_plan 21

# As it is.
expect "the same: nothing is said" "" said
check "the same: a driver" test -d $BUS_DRIVER
expect "the same: unloaded" ok poke rmmod rdax

DIFFERS="devices of the dax bus can't be bound: this kernel's private structures of that bus differ from those that rdax knows"
if [ -e /sys/kernel/btf/vmlinux ]; then
	finds "another size" "$DIFFERS" instead=task_struct
	finds "a member elsewhere" "$DIFFERS" moved=3
else
	for i in {1..8}; do
		ktap_test_skip "$i of what differs: this kernel has no BTF"
	done
fi

# The lab's module was built from the kernel's source, and compared with that.
insmod "$HERE/rdax_btf.ko" instead=no_structure_of_that_name
expect "no BTF, but source at the build: nothing is said" "" said
check "no BTF, but source at the build: a driver" test -d $BUS_DRIVER
poke rmmod rdax >/dev/null
poke rmmod rdax_btf >/dev/null

finds "neither BTF nor source" \
	"devices of the dax bus can't be bound: this kernel does not describe its private structures (CONFIG_DEBUG_INFO_BTF)" \
	answer=2
finds "no such bus" "devices of the dax bus can't be bound: this kernel has none (CONFIG_DAX)" answer=3
ktap_finished
