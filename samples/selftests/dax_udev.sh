#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# scripts/udev and devices of the dax bus, with a real udevd: names by the place, whatever driver
# has the device; rdax's owner and mode; what an administrator wants, over a rebind; and daxctl's
# rule only while the device is not rdax's.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=lib/dax.sh
. "$HERE/dax.sh"
# shellcheck source=lib/udevd.sh
. "$HERE/udevd.sh"
[ -e /usr/lib/udev/rules.d/90-daxctl-device.rules ] || skip_all "daxctl's rule isn't there"
modprobe -q device_dax || skip_all "no device_dax"
dax_load
ktap_set_plan 19

udev_cleanup() {
	udevd_ends
	dax_cleanup
	rm -rf /run/udev /dev/dax
}
trap udev_cleanup EXIT

owner() {
	stat -L -c '%U:%G %a' "$DAX_NODE"
}

# The names that lead to the node.
links() {
	local link
	for link in /dev/dax/*/*; do
		[ "$(readlink -f "$link")" != "$DAX_NODE" ] || echo "${link#/dev/dax/}"
	done | sort | paste -sd ' '
}

wanted() {
	udevadm info --query=property --property=SYSTEMD_WANTS --value "$DAX_NODE"
}

# As when the machine starts.
trigger() {
	udevadm trigger --action="$1" "$DAX_DEVICE"
	settle
}

link=by-path/${KIND/devdax/nvdimm}-$(cat "$DAX_DEVICE/resource")
uuid=$(cat "$DAX_DEVICE/../uuid" 2>/dev/null)
link=$link${uuid:+ by-uuid/$uuid}
restore=rdax-restore-dax@$DAX.service
reconfigure=daxdev-reconfigure@dev-$DAX.service

dax_release
mkdir -p "$RULES"
cp "$UDEV"/*.rules "$RULES/"
# It would load kmem, which makes ordinary memory of the device.
: >"$RULES/80-drivers.rules"
check "udev knows every word of the rules" udevadm verify --no-summary "$UDEV"/*.rules
check "udevd starts" "$UDEVD" --daemon
trigger add
expect "no driver: its names" "$link" links
expect "no driver: daxctl's work, and ours" "$reconfigure $restore" wanted
expect "no driver: the kernel's mode" "root:root 600" owner
dax_to rdax
settle
expect "rdax: its names" "$link" links
expect "rdax: owner and mode" "root:disk 660" owner
trigger add
expect "rdax: no work for daxctl" "$restore" wanted
dax_release
settle
expect "unbound: its names" "$link" links
expect "unbound: the kernel's mode again" "root:root 600" owner
# What rdax did not have is left as it is.
chown daemon "$DAX_NODE"
check "of device_dax" dax_to device_dax
settle
expect "device_dax: its names" "$link" links
expect "device_dax: an owner that was changed since stays" "daemon:root 600" owner
dax_to rdax
settle
check "of device_dax at once" dax_to device_dax
settle
expect "device_dax at once: the kernel's mode" "root:root 600" owner
echo "KERNEL==\"$DAX\", OWNER=\"nobody\", GROUP=\"daemon\", MODE=\"0640\"" \
	>"$RULES/61-rdax-local.rules"
reload_rules
for turn in once twice; do
	dax_release
	dax_to rdax
	settle
	expect "rebound $turn: the administrator's owner and mode" "nobody:daemon 640" owner
done
check "and its owner can open it" setpriv --reuid=65534 --regid=65534 --clear-groups \
	head -c 0 "$DAX_NODE"
check "udevd ends" udevd_ends
ktap_finished
