#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# disturbed.sh COMMAND...: run it while a CPU goes and comes back, and the command is frozen and
# thawed, and gets little memory, by turns. The exit status is the command's. Prints how often.
set -euo pipefail

group=$(mktemp -d)
mount -t cgroup2 none "$group"
mkdir -p "$group/disturbed"
echo +memory >"$group/cgroup.subtree_control"
cpu=/sys/devices/system/cpu/cpu1/online

# shellcheck disable=SC2317,SC2329 # called by the trap
cleanup() {
	echo 0 >"$group/disturbed/cgroup.freeze"
	echo max >"$group/disturbed/memory.high"
	[ ! -e "$cpu" ] || echo 1 >"$cpu"
}
trap cleanup EXIT

(
	echo "$BASHPID" >"$group/disturbed/cgroup.procs"
	exec "$@"
) &
command=$!

rounds=0 offline=0
while kill -0 "$command" 2>/dev/null; do
	case $((rounds % 3)) in
	0)
		echo 1 >"$group/disturbed/cgroup.freeze"
		sleep 0.1
		echo 0 >"$group/disturbed/cgroup.freeze"
		;;
	1)
		# with a kernel that lets no CPU go, this is not done
		if [ -e "$cpu" ] && echo 0 >"$cpu"; then
			sleep 0.3
			echo 1 >"$cpu"
			offline=$((offline + 1))
		fi
		;;
	2)
		echo 4M >"$group/disturbed/memory.high"
		sleep 0.3
		echo max >"$group/disturbed/memory.high"
		;;
	esac
	rounds=$((rounds + 1))
	sleep 0.3
done
status=0
wait "$command" || status=$?
echo "# disturbed $rounds times; $offline times without a CPU"
exit "$status"
