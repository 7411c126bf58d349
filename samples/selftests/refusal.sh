#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A namespace that is somebody's must not be taken, and no byte of it changed:
# one that a btt, pfn or dax device has claimed, those child devices themselves
# (the bus offers them to a namespace driver: type confusion), one whose head or
# tail has a known signature, one too small for the alignment. Each refusal with its
# errno; `force` overrides a signature and nothing else.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
[ -e "$DEVICES/$NS2" ] || skip_all "there is no $NS2"
modprobe -q nd_pmem || skip_all "no nd_pmem to write signatures with"

# name, offset (negative: from the end), bytes as of printf
SIGNATURES=(
	'btt 0 BTT_ARENA_INFO\0\0'
	'btt-4K 4096 BTT_ARENA_INFO\0\0'
	'pfn 4096 NVDIMM_PFN_INFO\0'
	'dax 4096 NVDIMM_DAX_INFO\0'
	'ext4 1080 \x53\xef'
	'xfs 0 XFSB'
	'btrfs 65600 _BHRfS_M'
	'swap 4086 SWAPSPACE2'
	'luks 0 LUKS\xba\xbe'
	'lvm2 536 LVM2\x20001'
	'md-1.1 0 \xfc\x4e\x2b\xa9'
	'md-1.2 4096 \xfc\x4e\x2b\xa9'
	'f2fs 1024 \x10\x20\xf5\xf2'
	'gpt 512 EFI\x20PART'
	'mbr 510 \x55\xaa'
	'gpt-backup -512 EFI\x20PART'
	'gpt-backup-4K -4096 EFI\x20PART'
	'md-0.90 -65536 \xfc\x4e\x2b\xa9\0\0\0\0\x5a'
	'md-1.0 -8192 \xfc\x4e\x2b\xa9\x01'
	'zfs-label-0 16404 \0\0\0\x07version'
	'zfs-label-3 -245740 \0\0\0\x07version'
	'zfs-uberblock-2 -388096 \x0c\xb1\xba'
	'drbd -4036 \x83\x74\x02\x6d'
	'nilfs2-copy -4096 \x02\0\0\0\0\0\x34\x34'
	'hfs+ 1024 H+\0\x04'
	'hfs+-copy -1024 H+\0\x04'
	'ocfs2 4096 OCFSV2'
	'udf 32769 BEA01'
	'btrfs-copy 67108928 _BHRfS_M'
	'lvm2-odd 512 LABELONE'
	'apfs 32 NXSB'
	'exfat 3 EXFAT\x20\x20\x20'
	'vmfs 1048576 \x0d\xd0\x01\xc0'
)
TOOLS=(mkfs.ext4 mkswap sfdisk sfdisk-tail)
MODES=(sector fsdax devdax)
ktap_set_plan $(((${#SIGNATURES[@]} + ${#TOOLS[@]}) * 2 + ${#MODES[@]} * 5 + 9))

# Lend the namespace to nd_pmem for a command; its disk is then $disk.
with_pmem() {
	local ret
	poke write "$PMEM_DRIVER/bind" "$NS2" >/dev/null
	disk=/dev/$(ls "$DEVICES/$NS2/block")
	"$@"
	ret=$?
	poke write "$PMEM_DRIVER/unbind" "$NS2" >/dev/null
	return $ret
}

size() {
	blockdev --getsize64 "$disk"
}

put_bytes() {
	local at=$1
	((at >= 0)) || at=$(($(size) + at))
	# shellcheck disable=SC2059
	printf "$2" | dd of="$disk" bs=1 seek="$at" conv=notrunc,fsync status=none
}

# Where signatures are: the head, a copy of Btrfs' at 64 MiB, the tail.
wipe() {
	local at
	for at in 0 1 64 $(($(size) / 1048576 - 1)); do
		dd if=/dev/zero of="$disk" bs=1M count=1 seek="$at" conv=fsync status=none
	done
}

# Data of our own where no signature is: a wiped head would be noticed, too.
stamp() {
	wipe
	put_bytes 300000 "somebody's data"
}

run_tool() {
	case $1 in
	mkfs.ext4) mkfs.ext4 -q -F "$disk" 64M ;;
	mkswap) mkswap -q "$disk" ;;
	sfdisk) echo ',,L' | sfdisk -q -X gpt "$disk" ;;
	# The head is overwritten, by something that has no name.
	sfdisk-tail)
		echo ',,L' | sfdisk -q -X gpt "$disk"
		dd if=/dev/zero of="$disk" bs=1M count=1 conv=fsync
		;;
	esac >/dev/null 2>&1
}

# The head and the tail, where signatures are.
sum() {
	{
		head -c 1M "$disk"
		tail -c 1M "$disk"
	} | sha256sum
}

# Write something with this command, and tell the sum.
prepare() {
	stamp
	"$@"
	sum
}

# NAME COMMAND [ARGUMENTS]: what the command wrote is refused, and still there.
refused_untouched() {
	local name=$1 before
	shift
	before=$(with_pmem prepare "$@")
	expect "$name refused" EEXIST bind "$NS2"
	if bound "$NS2"; then
		unbind "$NS2" >/dev/null
	fi
	expect "$name untouched" "$before" with_pmem sum
}

# The device that has claimed the namespace, e.g. btt1.0.
claimer() {
	local holder
	holder=$(cat "$DEVICES/$NS2/holder" 2>/dev/null)
	echo "${holder##*/}"
}

no_driver() {
	local ns
	for ns in "$NS" "$NS2"; do
		[ -z "$(driver_of "$ns")" ] ||
			poke write "$DEVICES/$ns/driver/unbind" "$ns" >/dev/null
	done
}

reload_region() {
	poke write /sys/bus/nd/drivers/nd_region/unbind "$1" >/dev/null
	poke write /sys/bus/nd/drivers/nd_region/bind "$1" >/dev/null
	settled
}

# nd_pmem has taken all that it found: only what a test lends it is its own.
no_driver
load
with_pmem wipe

expect "an empty namespace is taken" ok bind "$NS2"
expect "and can't be taken twice" EBUSY bind "$NS2"
unbind "$NS2" >/dev/null

set_param align 1G
expect "smaller than the alignment" ENOSPC bind "$NS2"
set_param align 4K

for signature in "${SIGNATURES[@]}"; do
	read -r name offset bytes <<<"$signature"
	refused_untouched "$name" put_bytes "$offset" "$bytes"
done
for tool in "${TOOLS[@]}"; do
	if ! command -v "${tool%-tail}" >/dev/null; then
		ktap_test_skip "$tool isn't there"
		ktap_test_skip "$tool isn't there"
		continue
	fi
	refused_untouched "what $tool made" run_tool "$tool"
done

# The last tool's signature is still there.
set_param force "$NS"
expect "force of another namespace" EEXIST bind "$NS2"
set_param force "namespace99.0,$NS2"
before=$(with_pmem sum)
expect "force of this namespace" ok bind "$NS2"
unbind "$NS2" >/dev/null
expect "bound by force, untouched" "$before" with_pmem sum
set_param force ""
expect "force gone again" EEXIST bind "$NS2"
with_pmem wipe

# Real claims, as ndctl makes them; force does not override these.
region=$(basename "$(readlink -f "$DEVICES/$NS2/..")")
for mode in "${MODES[@]}"; do
	if ! ndctl create-namespace -f -e "$NS2" -m "$mode" >/dev/null 2>&1; then
		for _ in 1 2 3 4 5; do
			ktap_test_skip "ndctl can't make it $mode"
		done
		continue
	fi
	set_param force "$NS2"
	child=$(claimer)
	ktap_print_msg "$mode: $NS2 is claimed by $child"
	expect "$mode: claimed" EBUSY bind "$NS2"
	poke write "$DEVICES/$child/driver/unbind" "$child" >/dev/null
	expect "$mode: the child device itself" ENODEV bind "$child"
	expect "$mode: still claimed" EBUSY bind "$NS2"
	set_param force ""
	# Without nd_pmem nobody reads the info block, so nobody claims.
	modprobe -r nd_pmem
	reload_region "$region"
	expect "$mode: info block" EEXIST bind "$NS2"
	modprobe nd_pmem
	reload_region "$region"
	check "$mode: still whole" test -n "$(claimer)"
	# ndctl writes the name into each driver's bind file until one takes it.
	ndctl create-namespace -f -e "$NS2" -m raw >/dev/null 2>&1
	no_driver
	with_pmem wipe
done
expect "an empty namespace again" ok bind "$NS2"
unbind "$NS2" >/dev/null
check "rmmod" unload
modprobe -r dax_pmem nd_pmem
ktap_finished
