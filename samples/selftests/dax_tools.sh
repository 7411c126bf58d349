#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Programs that know devices of the dax bus, unmodified, on one that rdax has: daxctl, daxio, fio's
# engine dev-dax, QEMU (the device is a guest's memory, and an NVDIMM of it), libpmem2. With
# RDAX_DAX_DRIVER=device_dax they are run on Linux's own driver, for comparison: what fails there as
# well is not rdax's.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=lib/dax.sh
. "$HERE/dax.sh"
DRIVER=${RDAX_DAX_DRIVER:-rdax}
for program in daxctl daxio fio qemu-system-x86_64 python3; do
	command -v "$program" >/dev/null || skip_all "$program isn't there"
done
modprobe -q device_dax || skip_all "no device_dax"
[ "$DRIVER" != rdax ] || dax_load
ktap_set_plan 23

work=$(mktemp -d) || exit 1
cd "$work" || exit 1
tools_cleanup() {
	dax_cleanup
	rm -rf "$work"
}
trap tools_cleanup EXIT

# quiet COMMAND...: its output only if it fails.
quiet() {
	local status
	"$@" >out 2>&1 </dev/null
	status=$?
	[ $status = 0 ] || sed 's/^/# /' out
	return $status
}

# What daxctl says of the device: the value of a key, or nothing.
listed() {
	daxctl list -d "$DAX" | python3 -c "import json, sys
d = json.load(sys.stdin); d = d[0] if isinstance(d, list) else d
print(d.get('$1', ''))"
}

mapped() {
	[ "$DRIVER" = rdax ] || return 0
	cat "$DAX_DEVICE"/faults/*_mapped | awk '{ n += $1 } END { print n }'
}

# faulted BEFORE: a program that has never faulted here has tested something else.
faulted() {
	[ "$DRIVER" != rdax ] || [ "$(mapped)" -gt "$1" ]
}

# daxctl
check "bound to $DRIVER" dax_to "$DRIVER"
expect "daxctl list: the mode" devdax listed mode
expect "daxctl list: enabled" "" listed state
expect "daxctl list: the size" "$(cat "$DAX_DEVICE/size")" listed size
check "daxctl disable-device" quiet daxctl disable-device "$DAX"
expect "daxctl list: disabled" disabled listed state
expect "no driver" "" dax_driver
# It binds the driver that it knows for the mode, not the one that was there.
check "daxctl enable-device" quiet daxctl enable-device "$DAX"
expect "of device_dax" device_dax dax_driver
check "daxctl reconfigure-device" quiet daxctl reconfigure-device --force -m devdax "$DAX"
expect "still of device_dax" device_dax dax_driver
check "bound to $DRIVER again" dax_to "$DRIVER"

# daxio
head -c 4M /dev/urandom >data
before=$(mapped)
check "daxio writes" quiet daxio -i data -o "$DAX_NODE"
check "daxio reads" quiet daxio -i "$DAX_NODE" -o back -l 4M
check "the same" cmp data back
check "daxio zeroes" quiet daxio -z -o "$DAX_NODE" -s 1M -l 1M
zeroed() {
	quiet daxio -i "$DAX_NODE" -o back -l 4M && cmp -n 1M data back &&
		cmp -n 1M -i 1M:0 back /dev/zero && cmp -i 2M data back
}
check "that part, and no other" zeroed

# fio
verify() {
	quiet fio --name=verify --filename="$DAX_NODE" --ioengine=dev-dax --bs="$1" --rw="$2" \
		--size=4M --verify=crc32c --verify_fatal=1 --do_verify=1
}
check "fio dev-dax, 4 KiB blocks at random" verify 4k randwrite
check "fio dev-dax, 256 KiB blocks in turn" verify 256k write
check "they faulted on the device" faulted "$before"

# QEMU
qemu() {
	timeout 100 qemu-system-x86_64 -nodefaults -display none -no-reboot -accel tcg "$@" \
		>out 2>&1 </dev/null
}

# backend SIZE
backend() {
	echo "memory-backend-file,id=dax,mem-path=$DAX_NODE,size=$1,share=on,align=2M"
}

as_memory() {
	qemu -machine pc,memory-backend=dax -m 64M -object "$(backend 64M)" \
		-device isa-debug-exit,iobase=0xf4 -kernel "$HERE/tiny_guest"
	[ $? = 33 ] || { sed 's/^/# /' out; return 1; }
	# What the guest has stored, without it. daxio does not truncate the file.
	rm back
	quiet daxio -i "$DAX_NODE" -k 16M -o back -l 1M && python3 - back <<-'PY'
		import array, sys
		words = array.array("I", open(sys.argv[1], "rb").read())
		sys.exit(len(words) != 1 << 18 or any(word != (16 << 20) + 4 * i ^ 0x5ad0da7a for i, word in enumerate(words)))
	PY
}
check "QEMU: a guest's memory, in which it stores" as_memory

as_nvdimm() {
	printf 'as an NVDIMM' >text
	quiet daxio -i text -o "$DAX_NODE" -s 0 || return
	# Where the NVDIMM is: QEMU's memory devices begin at 4 GiB with so little memory.
	printf 'xp /12c 0x100000000\nquit\n' |
		timeout 100 qemu-system-x86_64 -nodefaults -display none -accel tcg -S -monitor stdio \
			-machine pc,nvdimm=on -m 64M,slots=2,maxmem=4G -object "$(backend 64M)" \
			-device nvdimm,memdev=dax >out 2>&1
	grep -q "^0000000100000000: 'a' 's' ' ' 'a' 'n' ' ' 'N' 'V' 'D' 'I' 'M' 'M'" out ||
		{ sed 's/^/# /' out; return 1; }
}
check "QEMU: an NVDIMM, with what is there" as_nvdimm

# libpmem2
if [ ! -x "$HERE/dax_pmem2" ]; then
	ktap_test_skip "libpmem2 wasn't there at the build"
elif [ "$KIND" != devdax ]; then
	# The library asks libndctl for the region's, and both end with a null pointer.
	ktap_test_skip "libpmem2 takes no memory but NVDIMMs', whatever the driver"
else
	check "libpmem2" quiet dax_pmem2 "$DAX_NODE"
fi
cd /
ktap_finished
