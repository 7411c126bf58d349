#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run.sh DIRECTORY NAME COMMAND...: COMMAND in a guest, with $RDAX_COVERAGE loaded; which places of
# $RDAX_KO were reached goes to DIRECTORY/NAME, and where its sections are to DIRECTORY/sections.
set -e
directory=$1
name=$2
shift 2
debugfs=/sys/kernel/debug/rdax_coverage

insmod "$RDAX_COVERAGE"
insmod "$RDAX_KO"
{
	echo "base:$(cat $debugfs/base)"
	cd /sys/module/rdax/sections
	grep . .[!.]*
} >"$directory/$name.sections"
cd - >/dev/null
rmmod rdax
status=0
"$@" || status=$?
cat $debugfs/reached >"$directory/$name"
exit "$status"
