# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the lab says, all of it on stderr, so that stdout stays what was asked for.

say() {
	printf 'lab: %s\n' "$*" >&2
}

# die WHAT-IS-WRONG-AND-WHAT-TO-DO: one sentence, the last line.
die() {
	say "$*"
	exit 1
}

steps_done=0
steps_all=0

# step TEXT: the next of $steps_all steps begins.
step() {
	steps_done=$((steps_done + 1))
	printf 'lab: [%d/%d] %s\n' "$steps_done" "$steps_all" "$*" >&2
}

# clock SECONDS: as m:ss.
clock() {
	printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

# ticker PID START PROBE...: while PID lives, what PROBE prints, and the time.
# On a terminal one line that changes, else a line every 15 seconds.
ticker() {
	local pid=$1 start=$2 every=15 text
	shift 2
	[ ! -t 2 ] || every=2
	exec 9>&-
	while sleep "$every"; do
		kill -0 "$pid" 2>/dev/null || return 0
		text="     $("$@" 2>/dev/null || true), $(clock $((SECONDS - start)))"
		if [ -t 2 ]; then
			printf '\r\033[K%s' "$text" >&2
		else
			printf '%s\n' "$text" >&2
		fi
	done
}

# with_progress LOG PROBE COMMAND...: runs COMMAND with all output into LOG; PROBE
# is a function that prints how far it is. A failure shows the end of LOG.
with_progress() {
	local log=$1 probe=$2 start=$SECONDS status=0 pid
	shift 2
	ticker "$BASHPID" "$start" "$probe" &
	pid=$!
	"$@" >"$log" 2>&1 || status=$?
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	[ ! -t 2 ] || printf '\r\033[K' >&2
	if [ "$status" != 0 ]; then
		tail -n 20 "$log" | sed 's/^/     | /' >&2
		return "$status"
	fi
	printf '     done, %s\n' "$(clock $((SECONDS - start)))" >&2
}

megabytes() {
	printf '%s MB' "$(du -sm "$1" 2>/dev/null | cut -f1)"
}
