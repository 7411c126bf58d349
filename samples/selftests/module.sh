#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Loading takes no namespace but those that `bind=` names (data may live there);
# a bad parameter is logged and ignored, and the others hold (if the module did not
# load, nd_pmem would take everything); unloading is refused while a node is open or
# mapped, since code that runs must not go, and works afterwards, also with a device
# still bound.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"

GOOD=(align=2M bind=namespace98.0 divided=namespace98.1 fault_around=8192 force=namespace98.2
      max_leaf=2M upgrade=N)
# What a parameter is given, what it has then, and what the log says is ignored.
BAD=(
	"align=3K align=4K 3K"
	"align=3 align=4K 3"
	"align= align=4K"
	"align align=4K"
	"align=1T align=4K 1T"
	"max_leaf=-1 max_leaf=1G -1"
	"max_leaf=4M max_leaf=1G 4M"
	"fault_around=3 fault_around=65536 3"
	"fault_around=1T fault_around=65536 1T"
	"fault_around=-1 fault_around=65536 -1"
	"fault_around=2097153 fault_around=65536 2097153"
	"upgrade=maybe upgrade=Y maybe"
	"bind bind="
	"bind=namespace bind= namespace"
	"bind=namespace97.0,,namespace97.1, bind=namespace97.0,namespace97.1"
	"divided=pmem0,namespace97.0 divided=namespace97.0 pmem0"
	"force=all force= all"
	"force=namespace97.0,all,namespace97.1:1G force=namespace97.0,namespace97.1:1G all"
)
ktap_set_plan $((29 + ${#BAD[@]} * 2))

devices() {
	find "$DEVICES/" -mindepth 1 | wc -l
}

not() {
	! "$@"
}

# Load it with good parameters but this one, and print what all have then.
load_with() {
	local good arguments=()
	for good in "${GOOD[@]}"; do
		if [ "${good%%=*}" = "${1%%=*}" ]; then
			good=$1
		fi
		arguments+=("$good")
	done
	echo "module.sh: $1" >/dev/kmsg
	insmod "$KO" "${arguments[@]}" && values
}

# What all should have, when one of them has this.
values_with() {
	local good line=
	for good in "${GOOD[@]}"; do
		if [ "${good%%=*}" = "${1%%=*}" ]; then
			good=$1
		fi
		line+=" $good"
	done
	echo "$line"
}

values() {
	local good line=
	for good in "${GOOD[@]}"; do
		line+=" ${good%%=*}=$(cat "$PARAMS/${good%%=*}")"
	done
	echo "$line"
}

# Was it said of this parameter, after the last load_with()?
said_ignored() {
	dmesg | tac | sed '/module.sh: /q' | grep -qF "rdax: parameter $1: '$2' ignored: "
}

# Whole items, and nearly a page.
shows_a_page_of() {
	local shown
	shown=$(cat "$PARAMS/force")
	[[ $1 = "$shown,"* ]] && ((${#shown} > 4000))
}

no_nodes() {
	[ -z "$(nodes)" ] && [ -z "$(find "$CLASS/" -name 'rdax*' 2>/dev/null)" ]
}

for bad in "${BAD[@]}"; do
	read -r given kept item <<<"$bad"
	expect "insmod with $given" "$(values_with "$kept")" load_with "$given"
	check "the log says that '$item' is ignored" said_ignored "${given%%=*}" "$item"
	unload
done
before=$(devices)
check "insmod" load
check "loading makes no node" no_nodes
expect "loading takes no $NS" "" driver_of "$NS"
# A driver that accepts libnvdimm's seed devices gets new ones without end.
expect "loading makes no seed devices" "$before" devices
# As where libnvdimm registers a namespace in the context of the task that makes it
# appear: a probe by the bus, in a user's context. Another driver may take it.
offered=$(poke write /sys/bus/nd/drivers_probe "$NS")
check "what the bus offers in a user's context is not taken ($offered)" not bound "$NS"
[ -z "$(driver_of "$NS")" ] || poke write "$DEVICES/$NS/driver/unbind" "$NS" >/dev/null
expect "bind takes what it names" ok bind "$NS"
check "it is bound" bound "$NS"
expect "unbind lets go of it" ok unbind "$NS"
expect "unbind of what is not bound" ENODEV unbind "$NS"
expect "bind of what there is not" ENODEV bind namespace99.9
check "rmmod" unload

if [ -e "$DEVICES/$NS2" ]; then
	check "insmod bind=$NS2" load_taking "$NS2"
	check "bind= takes $NS2" bound "$NS2"
	expect "bind= takes nothing else" "" driver_of "$NS"
	expect "its node is rdax0" rdax0 nodes
	region=$(basename "$(readlink -f "$DEVICES/$NS2/..")")
	poke write /sys/bus/nd/drivers/nd_region/unbind "$region" >/dev/null
	expect "the region's end takes the node" "" nodes
	poke write /sys/bus/nd/drivers/nd_region/bind "$region" >/dev/null
	settled
	check "bind= takes it again when it comes back" bound "$NS2"
	check "rmmod with a device bound" unload

	printf -v many 'namespace99.%s,' {0..999}
	check "insmod with 1001 namespaces" load_taking "$many$NS2"
	check "it takes the last one" bound "$NS2"
	check "sysfs shows a page" shows_a_page_of "$many"
	unload
else
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		ktap_test_skip "there is no $NS2"
	done
fi
check "it leaves no node" no_nodes

load
bind "$NS" >/dev/null
for how in open map; do
	check "hold a node ($how)" hold "$how" /dev/rdax0
	expect "rmmod refused meanwhile ($how)" EAGAIN poke rmmod rdax
	expect "and the node still works ($how)" ok poke open /dev/rdax0
	let_go
done
expect "rmmod works afterwards" ok poke rmmod rdax
ktap_finished
