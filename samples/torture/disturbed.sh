#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# disturbed.sh COMMAND...: run COMMAND. Meanwhile, in turn, freeze and thaw it, take CPU 1 offline and
# online, and limit its memory. The exit status is the command's, or 1 if a step fails.
set -euo pipefail

cpu=/sys/devices/system/cpu/cpu1/online
root=$(mktemp -d)
mount -t cgroup2 none "$root"
group=$root/disturbed
mkdir -p "$group"
echo +memory >"$root/cgroup.subtree_control"

# set_to VALUE FILE: a few times, because a CPU may take too long on a busy host.
set_to() {
	local try
	for try in 1 2 3 4 5; do
		if echo "$1" >"$2"; then
			return
		fi
		sleep "$try"
	done
	echo "# disturbed.sh: $2 can't be set to $1" >&2
	return 1
}

# for_a_while FILE VALUE NORMAL
for_a_while() {
	set_to "$2" "$1" || failed=1
	sleep 0.2
	set_to "$3" "$1" || failed=1
}

(
	echo "$BASHPID" >"$group/cgroup.procs"
	exec "$@"
) &
command=$!

rounds=0 failed=0
while kill -0 "$command" 2>/dev/null; do
	for_a_while "$group/cgroup.freeze" 1 0
	for_a_while "$cpu" 0 1
	for_a_while "$group/memory.high" 4M max
	rounds=$((rounds + 1))
	sleep 0.5
done
status=0
wait "$command" || status=$?
echo "# disturbed in $rounds rounds"
[ "$status" != 0 ] || status=$failed
exit "$status"
