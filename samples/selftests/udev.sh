#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# scripts/udev, with a real udevd: a machine comes up with the namespaces of
# rdax.conf bound and the others with nd_pmem; nodes have the rules' owner, mode and
# names, an administrator's rules come after them, and all that survives a rebind.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=lib/udevd.sh
. "$HERE/udevd.sh"
MODULES=/lib/modules/$(uname -r)
[ -e "$DEVICES/$NS2" ] || skip_all "there is no $NS2"
modprobe -q nd_pmem || skip_all "no nd_pmem"
getent group disk >/dev/null || skip_all "no group disk"
ktap_set_plan 31

work=$(mktemp -d) || exit 1

udev_cleanup() {
	udevd_ends
	cleanup
	modprobe -q -r nd_pmem
	umount "$MODULES" 2>/dev/null
	rm -rf "$work" /run/udev /run/modprobe.d/rdax.conf /dev/dax
}
trap udev_cleanup EXIT

# modprobe is to find rdax: the modules of nd_pmem, and rdax, in place of all.
install_modules() {
	local root=$work/root$MODULES kind file
	mkdir -p "$root"
	while read -r kind file _; do
		[ "$kind" != insmod ] || cp "$file" "$root/" || return
	done < <(modprobe --show-depends nd_pmem)
	cp "$KO" "$root/" && depmod -b "$work/root" "$(uname -r)" 2>/dev/null &&
		mount --bind "$root" "$MODULES"
}

# As when the machine starts: no driver, and udev is told of each device there is.
coldplug() {
	local ns
	for ns in "$NS" "$NS2"; do
		[ -z "$(driver_of "$ns")" ] || poke write "$DEVICES/$ns/driver/unbind" "$ns" >/dev/null
	done
	unload && modprobe -r nd_pmem
	udevadm trigger --action=add --subsystem-match=nd
	settle
}

owner() {
	stat -L -c '%U:%G %a' "$1"
}

target() {
	readlink -f "$1" | grep -v /by-
}

property() {
	udevadm info --query=property --property="$1" /dev/rdax0 | sed '/=$/d'
}

# Which units systemd starts for the namespace.
wanted() {
	udevadm info --query=property --property=CURRENT_TAGS --property=SYSTEMD_WANTS \
		"$DEVICES/$NS2" | sort | paste -sd ' '
}

rebind() {
	unbind "$NS2" >/dev/null
	settle
	bind "$NS2" >/dev/null
	settle
}

link=/dev/dax/by-namespace/$NS2
# The tag must be there after each event, not only have been there once.
wants="CURRENT_TAGS=:systemd: SYSTEMD_WANTS=rdax-restore@$NS2.service"

# Earlier tests may have left something that looks like a file system.
driver_of "$NS2" >/dev/null || echo "$NS2" >"$PMEM_DRIVER/bind"
disk=/dev/$(ls "$DEVICES/$NS2/block")
[ -b "$disk" ] && dd if=/dev/zero of="$disk" bs=1M count=1 conv=fsync status=none
check "udev knows every word of the rules" udevadm verify --no-summary "$UDEV"/*.rules
check "modules for modprobe" install_modules
mkdir -p "$RULES" /run/modprobe.d
check "udevd starts" "$UDEVD" --daemon

# Without rdax.conf and the rules: what the rest would be like if they did nothing.
coldplug
expect "without: nd_pmem takes it" nd_pmem driver_of "$NS2"
check "without: rdax isn't loaded" test ! -d /sys/module/rdax

sed "s/^#options rdax .*/options rdax bind=$NS2/" "$UDEV/rdax.conf" >/run/modprobe.d/rdax.conf
# It looks for changed files of modprobe.d only now and then.
reload_rules
check "rdax.conf has an example to use" grep -q "^options rdax bind=$NS2" /run/modprobe.d/rdax.conf
coldplug
expect "rdax.conf: rdax takes it" rdax driver_of "$NS2"
expect "rdax.conf: nd_pmem takes the other" nd_pmem driver_of "$NS"
expect "without rules: the kernel's mode" "root:root 600" owner /dev/rdax0

# daxctl's rule for its class would tag our nodes, too: what of this is our rules' own?
cp "$UDEV"/*.rules "$RULES/"
: >"$RULES/90-daxctl-device.rules"
reload_rules
coldplug
expect "again: rdax takes it" rdax driver_of "$NS2"
expect "owner and mode" "root:disk 660" owner /dev/rdax0
expect "its name" /dev/rdax0 target "$link"
expect "systemd restores it" "$wants" wanted
expect "systemd's tag" TAGS=:systemd: property TAGS
rm "$RULES/90-daxctl-device.rules"
reload_rules
unbind "$NS2" >/dev/null
settle
check "unbound: no name" test ! -L "$link"
# If this changed, systemd would bind it again.
expect "unbound: nothing new for systemd" "$wants" wanted
bind "$NS2" >/dev/null
settle
expect "bound again: owner and mode" "root:disk 660" owner /dev/rdax0
expect "bound again: its name" /dev/rdax0 target "$link"
expect "bound again: systemd's tag" TAGS=:systemd: property TAGS
expect "bound again: no work for daxctl" "" property SYSTEMD_WANTS

# The name is of the device that begins where the namespace begins.
size=$(cat "$CLASS/rdax0/size")
region=$DEVICES/$NS2/rdax_region
echo $((size - (4 << 20))) >"$CLASS/rdax0/size"
echo 1 >"$region/create"
echo 4M >"$CLASS/rdax1/size"
settle
expect "a second device: owner and mode" "root:disk 660" owner /dev/rdax1
expect "a second device: not its name" /dev/rdax0 target "$link"
echo rdax0 >"$region/delete"
settle
check "the first destroyed: no name" test ! -L "$link"
echo 1 >"$region/create"
settle
check "another without bytes: no name" test ! -L "$link"
echo 4M >"$CLASS/rdax0/size"
settle
expect "another in its place: its name" /dev/rdax0 target "$link"

# What an administrator wants.
echo 'SUBSYSTEM=="dax", KERNEL=="rdax*", OWNER="nobody", GROUP="daemon", MODE="0640"' \
	>"$RULES/61-rdax-local.rules"
reload_rules
for turn in once twice; do
	rebind
	expect "rebound $turn: the administrator's owner and mode" "nobody:daemon 640" owner /dev/rdax0
	expect "rebound $turn: its name" /dev/rdax0 target "$link"
done
check "and its owner can open it" setpriv --reuid=65534 --regid=65534 --clear-groups \
	head -c 0 /dev/rdax0
check "udevd ends" udevd_ends
ktap_finished
