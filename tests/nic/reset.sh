#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The firmware dies, and everything in it: the driver notices, and begins anew. And the function is reset.
. tests/nic/lib.sh
DIE=3

driver_of() { # the network devices of a PCI device
	ls "/sys/bus/pci/devices/$1/net" 2>/dev/null
}
back() { [[ -n $(ip netns exec h1 ls "/sys/bus/pci/devices/$device/net" 2>/dev/null) || -n $(driver_of "$device") ]]; }
logged() { dmesg | grep -q "$1"; }

until_true 20 carrier 1 1
device=$(pci_device 1)
model 1 $DIE 0
ok "the driver notices" until_true 60 logged "$device:.*Fatal error"
ok "and recovers" until_true 120 logged "$device:.*health recovery succeeded"
ok "the network device is back" until_true 30 back
configure() {
	# As a new device, or as the old one.
	if ! on 1 ip link show eth0 >/dev/null 2>&1; then
		ip link set "$(driver_of "$device")" netns h1 name eth0
	fi
	on 1 ip addr replace 10.0.0.1/24 dev eth0
	on 1 ip addr replace fd00::1/64 dev eth0 nodad
	on 1 ip link set eth0 up
}
configure
ok "the link is up" until_true 30 carrier 1 1
ok "packets pass" until_true 20 on 1 ping -q -c 1 -W 1 10.0.0.2

# What the kernel does before it gives a function to somebody else.
function_reset() {
	echo "$device" >/sys/bus/pci/drivers/mlx5_core/unbind &&
		grep -qw flr "/sys/bus/pci/devices/$device/reset_method" &&
		echo flr >"/sys/bus/pci/devices/$device/reset_method" &&
		echo 1 >"/sys/bus/pci/devices/$device/reset" &&
		echo "$device" >/sys/bus/pci/drivers/mlx5_core/bind
}
ok "a function-level reset" function_reset
configure
ok "the link is up after it" until_true 30 carrier 1 1
ok "packets pass after it" until_true 20 on 1 ping -q -c 1 -W 1 10.0.0.2
ok "no violations" no_violations
finish
