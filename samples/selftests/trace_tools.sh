#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The trace events through the tools that an operator has: perf, trace-cmd and bpftrace find
# them, format them, filter and count them.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
for tool in perf trace-cmd bpftrace python3; do
	command -v "$tool" >/dev/null || skip_all "$tool isn't there"
done
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing ||
	skip_all "no tracefs"
load_taking "$NS"
bound "$NS" || skip_all "$NS can't be bound"
ktap_set_plan 9

work=$(mktemp -d) || exit 1
tools_cleanup() {
	cleanup
	rm -rf "$work"
}
trap tools_cleanup EXIT

# Seven write faults of 4 KiB, a sync of what they wrote, and a punch.
cat >"$work/act.py" <<'END'
import mmap, os
fd = os.open("/dev/rdax0", os.O_RDWR)
with mmap.mmap(fd, 2 << 20, offset=4 << 20) as memory:
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for page in range(7):
        memory[page * 8192] = 1
    os.fsync(fd)
END
act=(python3 "$work/act.py")

# lines NUMBER PATTERN FILE: so many lines match
lines() {
	local got
	got=$(grep -cE -- "$2" "$3")
	[ "$got" = "$1" ] && return
	ktap_print_msg "$got lines, not $1, match '$2':"
	sed 's/^/# /' "$3" | tail -n 20
	return 1
}

perf stat -x, -a -e 'rdax:rdax_fault,rdax:rdax_entry_create,rdax:rdax_sync,rdax:rdax_punch' \
	-o "$work/stat" -- "${act[@]}"
check "perf stat: faults" lines 1 '^7,+rdax:rdax_fault,' "$work/stat"
check "perf stat: none of another kind" lines 1 '^0,+rdax:rdax_punch,' "$work/stat"

perf record -q -a -o "$work/data" -e rdax:rdax_fault -e rdax:rdax_sync --filter 'bytes > 0' \
	-- "${act[@]}" >/dev/null 2>"$work/err"
perf script -i "$work/data" >"$work/script" 2>>"$work/err"
check "perf script: faults" lines 7 \
	'rdax:rdax_fault: rdax0 WRITE\|.* pgoff 0x4[0-9a-f]+ order 0 mapped' "$work/script"
check "perf script: a sync" lines 1 \
	'rdax:rdax_sync: rdax0 start (0|0x0) end .* runs 7 bytes 28672 result 0' "$work/script"

trace-cmd record -q -o "$work/dat" -e rdax:rdax_fault -f 'pgoff == 0x402' -e rdax:rdax_entry_create \
	"${act[@]}" >/dev/null 2>"$work/err"
trace-cmd report -i "$work/dat" >"$work/report" 2>>"$work/err"
check "trace-cmd: a filter" lines 1 'rdax_fault: +rdax0 WRITE\|.* order 0 mapped' "$work/report"
check "trace-cmd: entries" lines 7 'rdax_entry_create: +rdax0 pgoff 0x4[0-9a-f]+ order 0' \
	"$work/report"

# with_bpf NAME COMMAND...: a check of what bpftrace found.
with_bpf() {
	local name="bpftrace: $1"
	shift
	if [ -n "$has_bpf" ]; then
		check "$name" "$@"
	else
		ktap_test_skip "$name: this kernel has no BPF"
	fi
}

# CONFIG_BPF_SYSCALL
has_bpf=$(cat /proc/sys/kernel/bpf_stats_enabled 2>/dev/null || true)
[ -z "$has_bpf" ] ||
	bpftrace -q -e 'tracepoint:rdax:rdax_fault { @faults[args.minor, args.order, args.result] = count(); }
	tracepoint:rdax:rdax_sync /args.runs/ { @bytes = sum(args.bytes); @runs = sum(args.runs); }' \
		-c "${act[*]}" >"$work/bpf" 2>"$work/err"
with_bpf "faults" lines 1 '^@faults\[0, 0, 0\]: 7$' "$work/bpf"
with_bpf "what a sync wrote" lines 1 '^@bytes: 28672$' "$work/bpf"
with_bpf "in runs" lines 1 '^@runs: 7$' "$work/bpf"
ktap_finished
