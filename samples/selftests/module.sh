#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Loading takes no namespace but those that `bind=` names (data may live there);
# unloading is refused while a node is open or mapped, since code that runs must
# not go, and works afterwards, also with a device still bound.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
ktap_set_plan 33

devices() {
	find "$DEVICES/" -mindepth 1 | wc -l
}

not() {
	! "$@"
}

no_nodes() {
	[ -z "$(nodes)" ] && [ -z "$(find "$CLASS/" -name 'rdax*' 2>/dev/null)" ]
}

for bad in align=3K force=all divided=pmem0 bind=namespace "bind=$NS,,$NS2" fault_around=2097153 \
	   upgrade=maybe; do
	check "insmod with $bad is refused" not insmod "$KO" "$bad"
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
	check "bind= takes it again when it comes back" bound "$NS2"
	check "rmmod with a device bound" unload
else
	for _ in 1 2 3 4 5 6 7; do
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
