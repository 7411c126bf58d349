#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Pmem that shares a section of the memory map with ordinary memory, as that of the
# e820 map does. The kernel does not ask the driver about memory errors there: binding
# says so, for such a namespace and for no other, and it is true.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
WARNING="memory errors near its start or end are not handled"
OFFLINE=/sys/devices/system/memory/hard_offline_page

warnings() {
	dmesg | grep -c "$1: rdax: $WARNING"
}

# Has the kernel handled an error at this byte of the media?
handled() {
	local address
	address=$(printf '%#x' $(($(cat "$DEVICES/$1/resource") + $2)))
	echo "$address" 2>/dev/null >"$OFFLINE" && echo handled || echo "not handled"
}

grep -q "Persistent Memory (legacy)" /proc/iomem || skip_all "no legacy pmem: boot with memmap=64M!1G"
modprobe -q nd_e820 || skip_all "no module nd_e820"
[ -w "$OFFLINE" ] || skip_all "no $OFFLINE"
settled
legacy=$(namespace_of e820)
other=$(namespace_of ACPI.NFIT)
[ -n "$legacy" ] || skip_all "no namespace on legacy pmem"
[ -n "$other" ] || skip_all "no namespace on an NVDIMM"

ktap_set_plan 10
load
for ns in "$legacy" "$other"; do
	set_param force "$ns"
	[ "$ns" = "$legacy" ] && want=1 || want=0
	before=$(warnings "$ns")
	expect "$ns binds" ok bind "$ns"
	expect "$ns: warned $want times" $((before + want)) warnings "$ns"
	check "$ns is mapped" hold map /dev/rdax0
	if [ "$want" = 1 ]; then
		expect "$ns: an error" "not handled" handled "$ns" 4096
	else
		expect "$ns: an error" handled handled "$ns" 4096
	fi
	let_go
	expect "$ns unbinds" ok unbind "$ns"
done
ktap_finished
