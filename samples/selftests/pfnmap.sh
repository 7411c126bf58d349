#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Linux's own test of pfn mappings (selftests/mm/pfnmap), which nobody here
# wrote: madvise, partial munmap, mremap and fork on the node. It skips itself
# as a whole where the node isn't what it wants; here that is a failure.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"
ktap_set_plan 2

load
bind "$NS" >/dev/null
output=$(pfnmap -- /dev/rdax0 2>&1)
status=$?
while read -r line; do
	echo "# $line"
done <<<"$output"

totals=$(echo "$output" | sed -n 's/^# Totals: //p')
passed=$(echo "$totals" | sed -n 's/^pass:\([0-9]*\).*/\1/p')
skipped=$(echo "$totals" | sed -n 's/.*skip:\([0-9]*\).*/\1/p')
check "pfnmap ends with success" test $status = 0
check "pfnmap: ${passed:-0} passed, ${skipped:-0} skipped of its own" test "${passed:-0}" -gt 0
ktap_finished
