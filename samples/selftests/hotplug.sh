#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An NVDIMM that is plugged in while the machine runs: nothing takes it that was not told
# to, those that are bound go on undisturbed, and `bind=` takes it when it appears.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
[ -n "${RDAX_MONITOR:-}" ] || skip_all "no QEMU monitor: scripts/lab guest --machine odd"
ktap_set_plan 17

NS=namespace1.0
SIZE=256

monitor() {
	echo "$1" >"$RDAX_MONITOR"
}

# Plug a DIMM in; its namespace, when it is there.
plug() {
	local before ns i
	before=$(cd "$DEVICES" && echo namespace*)
	monitor "object_add memory-backend-ram,id=ram-$1,size=${SIZE}M,share=on"
	monitor "device_add nvdimm,id=dimm-$1,memdev=ram-$1"
	for ((i = 0; i < 200; i++)); do
		for ns in "$DEVICES"/namespace*; do
			case " $before " in
			*" ${ns##*/} "*) ;;
			*)
				echo "${ns##*/}"
				return
				;;
			esac
		done
		sleep 0.1
	done
	return 1
}

driver_later() {
	settled
	driver_of "$1"
}

stamp() {
	dd if=/dev/rdax0 bs=16 skip=3 count=1 status=none
}

load
set_param force "$NS"
expect "one is bound" ok bind "$NS"
printf 'before the plug ' | dd of=/dev/rdax0 bs=16 seek=3 conv=notrunc status=none
check "and is mapped" hold map /dev/rdax0

first=$(plug a)
check "a DIMM is plugged in" test -n "$first"
expect "nobody takes it" "" driver_later "$first"
expect "its size" $((SIZE << 20)) cat "$DEVICES/$first/size"
expect "the other is bound as before" rdax driver_of "$NS"
expect "it binds" ok bind "$first"
expect "as the next device" "rdax0 rdax1" nodes
check "it can be written" dd if=/dev/urandom of=/dev/rdax1 bs=1M count=$SIZE conv=notrunc status=none
expect "it unbinds" ok unbind "$first"
let_go
expect "the first has its data" "before the plug " stamp
expect "it unbinds" ok unbind "$NS"
check "unloaded" unload

# The next one gets the next name.
region=${first#namespace}
next=namespace$((${region%.*} + 1)).0
check "loaded with bind=$next" load_taking "$next"
expect "a second DIMM" "$next" plug b
expect "is taken" rdax driver_later "$next"
expect "it unbinds" ok unbind "$next"
ktap_finished
