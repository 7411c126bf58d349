# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# For the tests of a device of the dax bus: to be sourced after lib.sh. DAX is its name: in the
# lab's guests cxl, hmem and devdax $RDAX_DAX_DEVICE, whose data are lost. KIND is what memory it is.
DAX=${RDAX_DAX_DEVICE:-}
DAX_DEVICE=/sys/bus/dax/devices/$DAX
DAX_DRIVERS=/sys/bus/dax/drivers
DAX_NODE=/dev/$DAX
KIND=${RDAX_DAX:-}

dax_driver() {
	local link
	link=$(readlink "$DAX_DEVICE/driver") && basename "$link"
}

# To no driver, and no driver's from now on.
dax_release() {
	local driver
	driver=$(dax_driver) && echo "$DAX" >"$DAX_DRIVERS/$driver/unbind"
	for driver in "$DAX_DRIVERS"/*; do
		[ ! -e "$driver/remove_id" ] || echo "$DAX" >"$driver/remove_id"
	done
}

# dax_to DRIVER
dax_to() {
	dax_release
	[ -d "$DAX_DRIVERS/$1" ] || modprobe "$1" || return
	[ "$(dax_driver)" = "$1" ] || echo "$DAX" >"$DAX_DRIVERS/$1/new_id"
	[ "$(dax_driver)" = "$1" ]
}

dax_load() {
	loaded || insmod "$KO"
	[ -d "$DAX_DRIVERS/rdax" ] || skip_all "this module has no driver for the dax bus"
}

[ -n "$DAX" ] || skip_all "needs a device of the dax bus: name one to overwrite in RDAX_DAX_DEVICE"
[ -e "$DAX_DEVICE" ] || skip_all "there is no $DAX"

dax_cleanup() {
	dax_release
	cleanup
}
trap dax_cleanup EXIT
