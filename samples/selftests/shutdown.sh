#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Leaves a device bound, and a page of it dirty, for the machine to shut down: what is
# written back then can only be seen on the console (booted with `tp_printk`), by whoever
# started the machine. Not run by the kselftest runner.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
trap - EXIT

load || exit 1
[ "$(bind "$NS")" = ok ] || exit 1
poke hold map /dev/rdax0 </dev/null || exit 1
grep ' dirty$' /sys/kernel/debug/rdax/rdax0/entries || exit 1

cd /sys/kernel/tracing || exit 1
mountpoint -q . || mount -t tracefs tracefs . || exit 1
cd /sys/kernel/tracing || exit 1
echo 'p:rdax/written_back arch_wb_cache_pmem size=%si' >kprobe_events || exit 1
echo 'p:rdax/flushed nvdimm_flush' >>kprobe_events || exit 1
echo 1 >events/rdax/enable || exit 1
echo 'rdax: shutting down' >/dev/kmsg
