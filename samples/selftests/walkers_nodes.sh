#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The test `walkers` where memory is on several NUMA nodes: policies have a choice then, pages
# can be moved, and NUMA balancing looks at the mappings.
set -u

[ -d /sys/devices/system/node/node1 ] || {
	echo "TAP version 13"
	echo "1..0 # SKIP one NUMA node only"
	exit 4
}
exec "$(dirname "$0")/walkers" -t policies -t files -t daemons
