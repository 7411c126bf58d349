#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module's own suites, which a kernel with KUnit runs when the module is
# loaded: each of their results counts.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"

RESULTS=/sys/kernel/debug/kunit

[ -d $RESULTS ] || skip_all "no KUnit in this kernel"
unload || skip_all "the module is in use"
load

tests=0
lines=()
for suite in rdax_entry rdax_percpu rdax_puds rdax_wait rdax_windows rdax_xarray; do
	ran=0
	while read -r line; do
		# "ok 1 NAME" or "not ok 1 NAME", in the suite: before the line of the suite itself
		[[ $line =~ ^(not )?ok\ [0-9]+\ ([a-z0-9_]+) ]] || continue
		[ "${BASH_REMATCH[2]}" != $suite ] || continue
		lines+=("${BASH_REMATCH[1]:-ok }$suite: ${BASH_REMATCH[2]}")
		ran=$((ran + 1))
	done 2>/dev/null <$RESULTS/$suite/results
	[ $ran != 0 ] || lines+=("not $suite: any result")
	tests=$((tests + (ran ? ran : 1)))
done

ktap_set_plan $tests
for line in "${lines[@]}"; do
	case $line in
	"ok "*) ktap_test_pass "${line#ok }" ;;
	*) ktap_test_fail "${line#not }" ;;
	esac
done
ktap_finished
