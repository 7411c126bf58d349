#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Where libnvdimm knows no DIMMs it is unknown what makes writes durable. A user
# who is not told so takes a sync for more than it is: each bind warns, once. No
# other bind does: NVDIMMs have DIMMs, and virtio-pmem is flushed by the host.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"

WARNING="unable to guarantee persistence of writes"

# How often the log warns of this namespace.
warnings() {
	dmesg | grep -c "$1: rdax: $WARNING"
}

bind_and_unbind() {
	set_param force "$1"
	[ "$(bind "$1") $(unbind "$1")" = "ok ok" ]
}

grep -q "Persistent Memory (legacy)" /proc/iomem || skip_all "no legacy pmem: boot with memmap=32M!1G"
modprobe -q nd_e820 || skip_all "no module nd_e820"
settled
legacy=$(namespace_of e820)
[ -n "$legacy" ] || skip_all "no namespace on legacy pmem"

ktap_set_plan 8
load
check "legacy pmem binds" bind_and_unbind "$legacy"
expect "and warns" 1 warnings "$legacy"
check "it binds again" bind_and_unbind "$legacy"
expect "and warns again" 2 warnings "$legacy"
for ns in "$NS" namespace2.0; do
	if [ ! -e "$DEVICES/$ns" ]; then
		ktap_test_skip "there is no $ns"
		ktap_test_skip "there is no $ns"
		continue
	fi
	check "$ns binds" bind_and_unbind "$ns"
	expect "and does not warn" 0 warnings "$ns"
done
ktap_finished
