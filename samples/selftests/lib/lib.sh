# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# Shared by the shell tests. To be sourced: reports in TAP through the kernel's
# ktap_helpers.sh, loads and unloads the module, binds namespaces, and leaves
# nothing bound or loaded, however a test ends.

set -u

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH="$HERE:$PATH:/usr/sbin:/sbin"
KO=${RDAX_KO:-$HERE/../../rdax.ko}
NS=${RDAX_NS:-namespace0.0}	# its data is lost
NS2=${RDAX_NS2:-namespace1.0}	# this one's too
DEVICES=/sys/bus/nd/devices
DRIVER=/sys/bus/nd/drivers/rdax
PMEM_DRIVER=/sys/bus/nd/drivers/nd_pmem
PARAMS=/sys/module/rdax/parameters
CLASS=/sys/class/dax

for helpers in "$HERE/../kselftest/ktap_helpers.sh" \
	       "${KSRC:-}/tools/testing/selftests/kselftest/ktap_helpers.sh"; do
	[ -r "$helpers" ] && break
done
# shellcheck source=/dev/null
. "$helpers" || exit 4
ktap_print_header

skip_all() {
	ktap_skip_all "$@"
	exit "$KSFT_SKIP"
}

loaded() {
	[ -d /sys/module/rdax ]
}

# What earlier tests left at the head might look like a file system.
load() {
	insmod "$KO" "force=$NS"
}

load_taking() {
	insmod "$KO" "bind=$1" "force=$1"
}

# The name of a device's driver, or nothing.
driver_of() {
	local link
	link=$(readlink "$DEVICES/$1/driver") && basename "$link"
}

bound() {
	[ "$(driver_of "$1")" = rdax ]
}

# The kernel adds namespaces, and looks for their drivers, in the background. Waits until it has.
settled() {
	cat "$DEVICES"/ndbus*/wait_probe >/dev/null
}

# The first namespace of the bus of that provider (ACPI.NFIT, e820) that has memory, and can be
# written.
namespace_of() {
	local bus ns
	for bus in "$DEVICES"/ndbus*; do
		[ "$(cat "$bus/provider")" = "$1" ] || continue
		for ns in "$bus"/region*/namespace*; do
			[ "$(cat "$ns/size" 2>/dev/null || echo 0)" != 0 ] || continue
			[ "$(cat "$ns/../read_only")" = 0 ] || continue
			echo "${ns##*/}"
			return
		done
	done
}

# Prints ok or the errno's name; fails with it.
bind() {
	poke write "$DRIVER/bind" "$1"
}

unbind() {
	poke write "$DRIVER/unbind" "$1"
}

# As a user would, newline included.
set_param() {
	echo "$2" >"$PARAMS/$1"
}

# The nodes that there are, e.g. "rdax0 rdax1".
nodes() {
	local node names=
	for node in /dev/rdax*; do
		[ -e "$node" ] && names="$names ${node##*/}"
	done
	echo "${names# }"
}

# What unloading refuses while a holder is there, it must do when none is.
unload() {
	! loaded || [ "$(poke rmmod rdax)" = ok ]
}

# One test: check NAME COMMAND [ARGUMENTS]
check() {
	local name=$1
	shift
	if "$@"; then
		ktap_test_pass "$name"
	else
		ktap_print_msg "failed: $*"
		ktap_test_fail "$name"
	fi
}

# One test of what a command prints: expect NAME TEXT COMMAND [ARGUMENTS]
expect() {
	local name=$1 text=$2 got
	shift 2
	got=$("$@" 2>&1)
	if [ "$got" = "$text" ]; then
		ktap_test_pass "$name"
	else
		ktap_print_msg "$*: '$got' instead of '$text'"
		ktap_test_fail "$name"
	fi
}

# In the background: keep a node open, or mapped; then let go of it.
hold() {
	coproc HOLDER { poke hold "$1" "$2"; }
	read -r held <&"${HOLDER[0]}"
	[ "$held" = ok ]
}

let_go() {
	local pid=$HOLDER_PID
	eval "exec ${HOLDER[1]}>&-"
	wait "$pid"
}


cleanup() {
	local ns
	[ -z "${HOLDER_PID:-}" ] || kill "$HOLDER_PID" 2>/dev/null
	for ns in "$NS" "$NS2"; do
		if bound "$ns"; then
			unbind "$ns" >/dev/null
		fi
	done
	unload || ktap_print_msg "the module is still loaded"
}
trap cleanup EXIT

[ "$(id -u)" = 0 ] || skip_all "must be root"
grep -q '^QEMU' /sys/class/dmi/id/sys_vendor 2>/dev/null ||
	{ [ -n "${RDAX_NS:-}" ] && [ -n "${RDAX_NS2:-}" ]; } ||
	skip_all "not in QEMU: name namespaces to overwrite in RDAX_NS and RDAX_NS2"
[ -d /sys/bus/nd ] || modprobe -q nfit || skip_all "no libnvdimm bus and no nfit module"
[ -e "$DEVICES/$NS" ] || skip_all "there is no $NS"
