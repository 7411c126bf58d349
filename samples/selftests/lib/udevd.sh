# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# For the tests that run a udevd of their own: to be sourced after lib.sh.
#
# udevd ignores a message of udevadm's that comes after its accept() of the connection and before
# its setsockopt(SO_PASSCRED), since nothing says then who sent it, and udevadm exits with 0
# (systemd 257). So the functions here check the effect, not udevadm's exit status.
UDEV=${RDAX_UDEV:-${KO%/*}/scripts/udev}
UDEVD=/usr/lib/systemd/systemd-udevd
RULES=/run/udev/rules.d
[ -e "$UDEV/60-rdax.rules" ] || skip_all "there is no $UDEV: set RDAX_UDEV"
[ -x "$UDEVD" ] || skip_all "udevd isn't there"
[ ! -S /run/udev/control ] || skip_all "a udevd is running"

# Waits until udevd has handled all events so far. udevd reads events in their order, so once it has
# answered a new one, it has read those before.
settle() {
	udevadm trigger --settle --action=change /dev/null && udevadm settle --timeout=60
}

# reload_rules: from here on events are answered by the rules as they are now. A rule of our own,
# which is another each time, tells that they were read.
reload_rules() {
	local turn now
	RULES_READ=$((${RULES_READ:-0} + 1))
	echo "KERNEL==\"null\", ENV{RDAX_RULES_READ}=\"$RULES_READ\"" >"$RULES/99-rules-read.rules"
	for turn in 1 2 3 4 5; do
		udevadm control --reload
		settle
		now=$(udevadm info --query=property --property=RDAX_RULES_READ --value /dev/null)
		[ "$now" != "$RULES_READ" ] || return 0
		ktap_print_msg "udevd did not hear of the new rules: turn $turn"
	done
	return 1
}

udevd_ends() {
	local turn
	for turn in 1 2 3 4 5; do
		udevadm control --exit 2>/dev/null
		udevadm control --ping 2>/dev/null || return 0
		ktap_print_msg "udevd did not hear that it is to end: turn $turn"
	done
	return 1
}
