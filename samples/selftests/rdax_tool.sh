#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# scripts/rdax on real namespaces: it takes one from nd_pmem only if nobody loses
# by that, gives back what it could not take, says who uses what, makes and takes
# devices, and shows what was done to them. Each end has its exit status, and none
# a trace of Python, also when the standard files are closed, full or read by nobody.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
TOOL=${RDAX_TOOL:-${KO%/*}/scripts/rdax}
[ -x "$TOOL" ] || skip_all "there is no $TOOL: set RDAX_TOOL"
command -v python3 >/dev/null || skip_all "python3 isn't there"
[ -e "$DEVICES/$NS2" ] || skip_all "there is no $NS2"
modprobe -q nd_pmem || skip_all "no nd_pmem to take namespaces from"
ktap_set_plan 115

work=$(mktemp -d) || exit 1
mkdir "$work/mnt"

tool_cleanup() {
	[ -z "${sleeper:-}" ] || kill "$sleeper" 2>/dev/null
	swapoff "$disk" 2>/dev/null
	umount "$work/mnt" 2>/dev/null
	cleanup
	modprobe -q -r nd_pmem
	rm -rf "$work"
}
trap tool_cleanup EXIT

AS_NOBODY=(setpriv --reuid=65534 --regid=65534 --clear-groups)

# One test: ends NAME STATUS PATTERN [ARGUMENTS]: how the tool ends, and a line of what it says.
# $RUN stands before it.
RUN=()
ends() {
	local name=$1 status=$2 pattern=$3 got
	shift 3
	"${RUN[@]}" "$TOOL" "$@" >"$work/out" 2>&1 </dev/null
	got=$?
	if [ $got = "$status" ] && { [ -z "$pattern" ] || grep -qE -- "$pattern" "$work/out"; } &&
	   ! grep -q Traceback "$work/out"; then
		ktap_test_pass "$name"
	else
		ktap_print_msg "rdax $*: status $got instead of $status, or not '$pattern':"
		sed 's/^/# /' "$work/out"
		ktap_test_fail "$name"
	fi
}

# One test: broken NAME STATUS FILES PATTERN ARGUMENTS...: as ends, with standard files as FILES says
# (a redirection, or a pipe), and a line that is said on standard error; '' if nothing is.
broken() {
	local name=$1 status=$2 files=$3 pattern=$4 got
	shift 4
	bash -o pipefail -c "\"\$@\" $files" bash "$TOOL" "$@" 2>"$work/out" >"$work/stdout" </dev/null
	got=$?
	if [ $got = "$status" ] && ! grep -qE 'Traceback|Error|Errno|None' "$work/out" &&
	   if [ -n "$pattern" ]; then grep -qE -- "$pattern" "$work/out"; else [ ! -s "$work/out" ]; fi; then
		ktap_test_pass "$name"
	else
		ktap_print_msg "rdax $* $files: status $got instead of $status, or not '$pattern':"
		sed 's/^/# /' "$work/out"
		ktap_test_fail "$name"
	fi
}

# One more test of what the last call said.
says() {
	check "$1" grep -qE -- "$2" "$work/out"
}

# What the last call printed, as JSON: is EXPRESSION, of d, true?
json() {
	python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
region = [r for r in d["regions"] if r["namespace"] == sys.argv[2]]
devices = {v["name"]: v for r in region for v in r["devices"]}
other = [n for n in d["unbound"] if n["namespace"] == sys.argv[2]]
sys.exit(not eval(sys.argv[3]))' "$work/out" "$NS2" "$1"
}

pmem() {
	disk=/dev/$(ls "$DEVICES/$NS2/block")
}

size_of() {
	cat "$CLASS/$1/size"
}

wipe() {
	dd if=/dev/zero of="$disk" bs=1M count=1 conv=fsync status=none
}

# A driver may have been there before: what it has is nd_pmem's from now on.
driver_of "$NS2" >/dev/null || echo "$NS2" >"$PMEM_DRIVER/bind"
pmem
wipe
bytes=$(cat "$DEVICES/$NS2/size")
mib=$((bytes >> 20))

# Not bound; the module isn't loaded.
held="nd_pmem \(${disk##*/}\)"
ends "list, without the module" 0 "^$NS2 .* raw .* $held +yes$" list
cp "$work/out" "$work/before"
ends "bind of what isn't there" 4 "there is no namespace77.0" bind namespace77.0
RUN=("${AS_NOBODY[@]}")
ends "nobody can't load the module" 3 "load a module \(CAP_SYS_MODULE\)" bind "$NS2"
RUN=()
check "and it isn't" test ! -d /sys/module/rdax
ends "no module of that name" 1 "can't be loaded: .*nothing.ko" bind "$NS2" --module "$work/nothing.ko"

# What somebody uses.
mkfs.ext4 -q -F "$disk" 64M
mount "$disk" "$work/mnt"
echo "somebody's data" >"$work/mnt/file"
ends "mounted" 5 "refused: ${disk##*/} is mounted at $work/mnt " bind "$NS2" --module "$KO"
expect "still of nd_pmem" nd_pmem driver_of "$NS2"
check "still writable" cp "$work/mnt/file" "$work/mnt/copy"
ends "list says that it is mounted" 0 "^$NS2 .* no; ${disk##*/} is mounted at $work/mnt$" list
umount "$work/mnt"
sleep 1000 3<"$disk" &
sleeper=$!
ends "open" 5 "refused: ${disk##*/} is open in $sleeper sleep" bind "$NS2"
kill "$sleeper"
wait "$sleeper"
sleeper=
ends "a file system" 1 "may hold data: ext2, ext3 or ext4 at byte 0x438 \(--force" bind "$NS2"
says "given back, it says" "given back to nd_pmem$"
expect "given back" nd_pmem driver_of "$NS2"
pmem
mount "$disk" "$work/mnt"
expect "as it was" "somebody's data" cat "$work/mnt/copy"
ends "mounted, by force" 0 "by force, although ${disk##*/} is mounted" bind "$NS2" --force
check "bound" bound "$NS2"
umount "$work/mnt"
ends "unbind, to nd_pmem" 0 "^$NS2: unbound, now of nd_pmem$" unbind "$NS2" --to nd_pmem
expect "of nd_pmem" nd_pmem driver_of "$NS2"
pmem
mkswap "$disk" >/dev/null && swapon "$disk"
ends "swapped on, by force" 5 "is swapped on \(swapoff" bind "$NS2" --force
swapoff "$disk"
# A claim is gone only when ndctl has made it raw: with the command that the tool names.
ndctl create-namespace -f -e "$NS2" -m sector >/dev/null 2>&1
ends "claimed, by force" 1 "in sector mode, for btt.*; that gives up all data" bind "$NS2" --force
eval "$(sed -n "s/.*'\(ndctl [^']*\)'.*/\1/p" "$work/out")" >/dev/null 2>&1
! bound "$NS2" || unbind "$NS2" >/dev/null
driver_of "$NS2" >/dev/null || echo "$NS2" >"$PMEM_DRIVER/bind"
pmem
mkfs.ext4 -q -F "$disk" 64M

# Bound.
ends "bound by force" 0 "^$NS2: bound: rdax0, ${mib}M; align 2M$" bind "$NS2" --force --align 2M
check "by rdax" bound "$NS2"
expect "the parameter align is as before" 4K cat "$PARAMS/align"
expect "the parameter force is as before" "" cat "$PARAMS/force"
ends "bound already" 0 "bound already: rdax0" bind "$NS2"
ends "bound already, otherwise" 1 "already, with align 2M" bind "$NS2" --align 4K
ends "nothing is left" 1 "$NS2 has 0 left, and 4K more are wanted" create "$NS2" --size 4K
ends "smaller, not confirmed" 6 "--yes is needed" resize rdax0 64M
says "what is lost, it says" "rdax0 loses its last $((mib - 64))M"
expect "nothing was done" "$bytes" size_of rdax0
ends "smaller" 0 "^rdax0: 64M, was ${mib}M; $((mib - 64))M of $NS2 left$" resize rdax0 64M --yes
expect "by so much" $((64 << 20)) size_of rdax0
ends "create" 0 "^rdax1: 32M of $NS2, align 4K; $((mib - 96))M left$" create "$NS2" -s 0.03125G -a 4K
expect "that size" $((32 << 20)) size_of rdax1
expect "that alignment" 4096 cat "$CLASS/rdax1/align"
check "a node" test -c /dev/rdax1
ends "not a multiple of align" 1 "size 1048576 refused: not a multiple of align" create "$NS2" --size 1MB
expect "no device of it" "rdax0 rdax1" nodes
ends "larger than there is" 1 "refused: $NS2 has $((mib - 96))M left, and 1T more are wanted" resize rdax1 +1T
ends "larger" 0 "^rdax1: 48M, was 32M; $((mib - 112))M of $NS2 left$" resize rdax1 +16M

# In use.
hold map /dev/rdax1
holder=$(pgrep -P "$HOLDER_PID" -x poke)
ends "list says by whom" 0 "^$NS2 +rdax1 +48M .* $holder poke$" list
says "and what is free" "^$NS2 +\(free\) +$((mib - 112))M$"
ends "list --json" 0 '"users_complete": true' list --json
check "devices" json "list(devices) == ['rdax0', 'rdax1'] and devices['rdax1']['size'] == 48 << 20"
check "users" json "devices['rdax1']['users'] == [{'pid': $holder, 'command': 'poke', 'how': ['mapped'], 'stale': False}] and not devices['rdax0']['users']"
check "faults" json "sum(devices['rdax1']['faults'][n] for n in ('pte_mapped', 'pmd_mapped')) >= 1"
check "what is free, and whose it is" json "region[0]['available_size'] == ($mib - 112) << 20 and not other"
ends "destroy, in use" 5 "refused: rdax1 is in use by $holder poke" destroy rdax1 --yes
ends "unbind, in use" 5 "refused: rdax1 is in use by $holder poke \(--force" unbind "$NS2" --yes
expect "nothing was done" "rdax0 rdax1" nodes

# A picture: of the 2 MiB that are mapped and dirty, then synced, then with a hole.
ends "map, dirty" 0 "^M 2M dirty: 2M$" map rdax1 --ascii
says "the rest" "^\. not mapped: 46M$"
says "where it lies" "^extent: 48M at 0, from 64M of the region on$"
ends "sync" 0 "^rdax1: durable, 1 entries written back$" sync rdax1
ends "map, synced" 0 "^\. not mapped: 48M$" map rdax1 --ascii
let_go
yes | dd of=/dev/rdax1 bs=4K count=4 conv=notrunc status=none
ends "punch, not confirmed" 6 "--yes is needed" punch rdax1 --offset 4K --length 8K
check "nothing was done" cmp -s -n 16384 /dev/rdax1 <(yes)
ends "punch" 0 "^rdax1: 8K from 4K on are zeroes$" punch rdax1 --offset 4K --length 8K -y
check "zeroes, and nothing else" cmp -s -n 16384 /dev/rdax1 \
	<({ yes | head -c 4096; head -c 8192 /dev/zero; yes; } 2>/dev/null)
ends "map, with a hole" 0 "^ +0 \.oo\.{13}$" map rdax1 --ascii --length 64K
ends "map --svg" 0 "" map rdax1 --svg "$work/map.svg"
check "is XML, with the hole" python3 -c 'import sys, xml.etree.ElementTree as tree
titles = [node.text for node in tree.parse(sys.argv[1]).iter("{http://www.w3.org/2000/svg}title")]
sys.exit("hole: 8K at 4K" not in titles)' "$work/map.svg"

# Without rights.
RUN=("${AS_NOBODY[@]}")
ends "nobody: list" 0 "^IN USE BY: only processes that this user may" list
ends "nobody: map" 3 "the right to enter /sys/kernel/debug " map rdax1
ends "nobody: resize" 3 "the right to write .*/rdax1/size " resize rdax1 4K --yes
ends "nobody: punch" 3 "the right to read and write /dev/rdax1 " punch rdax1 --offset 0 --length 4K -y
ends "nobody: unbind" 3 "the right to write .*/drivers/rdax/unbind " unbind "$NS2" --yes
RUN=()

# Wrong usage.
ends "no such command" 2 "there is no command 'crate': did you mean 'create'\?$" crate
ends "no such size" 2 "'5X' is not a number of bytes" resize rdax1 5X
ends "no such device" 4 "there is no rdax77" destroy rdax77 --yes

# Standard files that are closed, full, or read by nobody: the work is done all the same.
full="standard output can't be written: No space left on device"
broken "create, >&-" 0 '>&-' '' create "$NS2" --size 4M
expect "it is there" $((4 << 20)) size_of rdax2
broken "destroy, >/dev/full" 0 '>/dev/full' "^rdax: it is done, but $full" destroy rdax2 --yes
expect "it has gone" "rdax0 rdax1" nodes
broken "resize, <&-" 0 '<&-' '' resize rdax1 52M
expect "larger" $((52 << 20)) size_of rdax1
broken "not confirmed, <&-" 6 '<&-' "--yes is needed" resize rdax1 48M
broken "confirmed, 2>&-" 0 '2>&-' '' resize rdax1 48M --yes
expect "smaller" $((48 << 20)) size_of rdax1
broken "sync, nobody reads" 0 '| :' '' sync rdax1
broken "list, nobody reads" 0 '| :' '' list
broken "list, >&-" 1 '>&-' "^rdax: standard output can't be written: it is closed$" list
broken "list, >/dev/full" 1 '>/dev/full' "^rdax: $full" list
broken "map, >/dev/full" 1 '>/dev/full' "^rdax: $full" map rdax1
broken "refused, all closed" 4 '<&- >&- 2>&-' '' sync rdax77

# What is counted, in all and in an interval.
cat >"$work/stat.py" <<'END'
import json, mmap, os, subprocess, sys, time

tool, name, how = sys.argv[1:]

def stat(line):
    return json.loads(line)["devices"][0]

def touch():
    """Five faults of 4 KiB, none of which is ahead of another, and a sync."""
    fd = os.open(f"/dev/{name}", os.O_RDWR)
    with mmap.mmap(fd, 2 << 20) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(5):
            memory[page * 8192] = 1
    os.fsync(fd)

if how == "twice":
    def stats():
        return stat(subprocess.check_output([tool, "stat", "--json", name]))
    before = stats()
    touch()
    now = stats()
    faults = now["faults"]["pte_mapped"] - before["faults"]["pte_mapped"]
    written = now["entries"]["writebacks"] - before["entries"]["writebacks"]
else:
    with subprocess.Popen([tool, "stat", "--json", "--interval", "0.2", name],
                          stdout=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["seconds"] is None
        touch()
        faults = written = 0
        # The first look may come between the faults and the write-back.
        end = time.monotonic() + 60
        while (faults < 5 or written < 5) and time.monotonic() < end:
            line = process.stdout.readline()
            assert json.loads(line)["seconds"] >= 0.2
            faults += stat(line)["faults"]["pte_mapped"]
            written += stat(line)["entries"]["writebacks"]
        process.terminate()
print(faults, written)
sys.exit((faults, written) != (5, 5))
END
ends "stat of one" 0 "^rdax1( +[0-9.]+k?){9}$" stat rdax1
ends "stat of all" 0 "^rdax0 " stat
RUN=("${AS_NOBODY[@]}")
ends "stat, for nobody" 0 "^TOTAL " stat rdax1
RUN=()
ends "stat of what isn't there" 4 "there is no rdax77$" stat rdax77
ends "stat, --count alone" 2 "argument --count: needs --interval" stat --count 2
check "stat counts" python3 "$work/stat.py" "$TOOL" rdax1 twice
check "stat counts in intervals" python3 "$work/stat.py" "$TOOL" rdax1 interval
broken "stat, nobody reads on" 0 '| head -n 1' '' stat --interval 0.1
broken "stat, >/dev/full" 1 '>/dev/full' "^rdax: $full" stat --interval 0.1

# A UUID in place of a name.
uuid=$(cat "$DEVICES/$NS2/uuid" 2>/dev/null)
if [ -n "$uuid" ]; then
	ends "by its UUID" 0 "^$NS2: bound already" bind "$uuid"
else
	ktap_test_skip "by its UUID: it has none"
fi
uuid=00000000-1111-2222-3333-444455556666
ends "a UUID that none has" 4 "no namespace has the uuid $uuid$" unbind "$uuid" --yes

# Memory that is read-only.
region=$(basename "$(dirname "$(readlink -f "$DEVICES/$NS2")")")
read_only="the memory is read-only: $region/read_only"
echo 1 >"$DEVICES/$region/read_only"
ends "read-only: list" 0 "^$NS2: the memory is read-only$" list
ends "read-only: list --json" 0 "" list --json
check "read-only: as JSON" json "region[0]['read_only'] is True"
ends "read-only: bind" 0 "^$NS2: bound already: .*; $read_only$" bind "$NS2"
ends "read-only: punch" 1 "^rdax: refused: $read_only$" punch rdax1 --offset 0 --length 4K --yes
ends "read-only: sync" 0 "^rdax1: durable, " sync rdax1
ends "read-only: resize" 0 "^rdax1: 44M, was 48M;" resize rdax1 44M --yes
echo 0 >"$DEVICES/$region/read_only"
ends "read-only no more: list --json" 0 "" list --json
check "read-only no more: as JSON" json "region[0]['read_only'] is False"

# All that is free, and what is printed for programs.
ends "create, all that is free" 0 "\"available_size\": 0$" create "$NS2" --json
check "all of it" python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(d["name"] != "rdax2" or d["size"] != int(sys.argv[2]) << 20)' "$work/out" $((mib - 108))
ends "not a multiple of align, not asked" 1 "refused: 1M is not a multiple of .* rdax2, 2M$" resize rdax2 1M
ends "destroy it" 0 "^rdax2: destroyed; " destroy rdax2 --yes

# And back.
ends "destroy" 0 "^rdax1: destroyed; $((mib - 64))M of $NS2 left$" destroy rdax1 --yes
expect "destroyed" rdax0 nodes
ends "unbind of a divided one, not confirmed" 6 "--yes is needed" unbind "$NS2"
ends "unbind" 0 "now of nd_pmem" unbind "$NS2" --yes --to nd_pmem
expect "no node" "" nodes
"$TOOL" list >"$work/out" 2>&1
check "list, as before" cmp "$work/before" "$work/out"
ktap_finished
