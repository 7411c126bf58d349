#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A virtual machine with KVM whose memory is a device of the dax bus: the Linux of this machine boots
# in it, fills the memory and reads it back, while here the device is synced again and again. Needs
# KVM, QEMU, cpio, and the kernel's image in RDAX_VM_KERNEL. RDAX_DAX_MEMORY is how the device is
# bound, if not with page frames.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=lib/dax.sh
. "$HERE/dax.sh"
IMAGE=${RDAX_VM_KERNEL:-/boot/vmlinuz-$(uname -r)}
MEMORY=${RDAX_DAX_MEMORY:-frames}
for program in qemu-system-x86_64 cpio; do
	command -v "$program" >/dev/null || skip_all "$program isn't there"
done
[ -r "$IMAGE" ] || skip_all "there is no $IMAGE: set RDAX_VM_KERNEL"
modprobe -q kvm_amd 2>/dev/null || modprobe -q kvm_intel 2>/dev/null
[ -w /dev/kvm ] || skip_all "there is no /dev/kvm"
dax_load
ktap_set_plan 5

work=$(mktemp -d) || exit 1
vm_cleanup() {
	[ -z "${syncs:-}" ] || kill "$syncs" 2>/dev/null
	dax_cleanup
	rm -rf "$work"
}
trap vm_cleanup EXIT

bound() {
	[ "$MEMORY" = frames ] || echo "$DAX" >/sys/module/rdax/parameters/pages || return
	dax_to rdax || return
	[ "$MEMORY" != tracked ] || echo tracked >"$DAX_DEVICE/rdax/memory" || return
	[ "$MEMORY" = frames ] || [ "$(cat "$DAX_DEVICE/rdax/memory")" = "$MEMORY" ]
}

# QEMU keeps such a machine for ever, and exits with 0 if it is told to.
stopped_by_kvm() {
	grep -q "KVM internal error\|error: kvm run failed" "$work/out"
}

# A panic resets the machine, and so does a triple fault, of which its console tells nothing. QEMU
# logs the registers at each reset. The first two resets are before the machine starts.
was_reset() {
	local resets
	resets=$(grep -c "^CPU Reset" "$work/resets" 2>/dev/null)
	[ "${resets:-0}" -gt 2 ]
}

registers() {
	awk '/^CPU Reset/ { resets++; line = 0 } resets == 3 && line++ < 24 { print "# " $0 }' \
		"$work/resets"
}

boots() {
	mkdir "$work/root"
	cp "$HERE/linux_vm_init" "$work/root/init"
	(cd "$work/root" && echo init | cpio --quiet -o -H newc >"$work/initrd") || return
	timeout 900 qemu-system-x86_64 -nodefaults -display none -d cpu_reset -D "$work/resets" \
		-machine q35,accel=kvm,kernel_irqchip=split,memory-backend=dax -cpu host -m 256M \
		-object "memory-backend-file,id=dax,mem-path=$DAX_NODE,size=256M,share=on,align=2M" \
		-kernel "$IMAGE" -initrd "$work/initrd" -serial "file:$work/console" \
		-append "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off" \
		>"$work/out" 2>&1 </dev/null &
	local vm=$! status=0
	while kill -0 "$vm" 2>/dev/null; do
		if stopped_by_kvm || was_reset; then
			kill "$vm"
		fi
		sleep 1
	done
	wait "$vm" || status=$?
	if stopped_by_kvm || was_reset; then
		status=1
	fi
	[ "$status" = 0 ] || { sed 's/^/# /' "$work/out" "$work/console"; registers; }
	return $status
}

right() {
	grep -q "^linux_vm: [1-9][0-9]* words, 0 wrong" "$work/console" ||
		{ sed 's/^/# /' "$work/console"; return 1; }
}

# What the machine has stored is here, without it: words whose upper half is this mark, in as many
# pages as it says.
stored() {
	local words
	words=$(sed -n 's/^linux_vm: \([0-9]*\) words.*/\1/p' "$work/console")
	python3 - "$DAX_NODE" "${words:?}" <<-'PY'
		import mmap, os, sys
		fd = os.open(sys.argv[1], os.O_RDONLY)
		with mmap.mmap(fd, 256 << 20, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
		    found = sum(memory[at + 4:at + 8] == b"xadr" for at in range(0, 256 << 20, 4096))
		stored = int(sys.argv[2]) * 8 // 4096
		print(f"# {found} pages of 4 KiB begin with such a word, of {stored}")
		sys.exit(not 0 < stored <= found)
	PY
}

check "bound, memory: $MEMORY" bound
(while sync "$DAX_NODE"; do
	echo >>"$work/syncs"
done) &
syncs=$!
check "Linux boots, and powers off" boots
kill "$syncs" && wait "$syncs" 2>/dev/null
check "its memory is right" right
check "synced meanwhile, 10 times or more" [ "$(wc -l <"$work/syncs")" -ge 10 ]
check "what it stored is on the device" stored
ktap_finished
