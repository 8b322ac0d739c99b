#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# reload.sh N: the driver is unloaded and loaded N times. The model sees to it that nothing is left behind.
. tests/nic/lib.sh

there() { [[ -e /sys/class/net/eth0 ]]; }
gone() { [[ ! -e /sys/class/net/eth0 ]]; }
load() {
	if [[ -n ${HOMA_NIC_DRIVER-} ]]; then insmod "$HOMA_NIC_DRIVER"; else modprobe mlx5_core; fi
}
cycle() {
	rmmod mlx5_core && gone && load && until_true 20 there && ip link set eth0 up && ip link set eth0 down
}
for n in $(seq "$1"); do
	if ! out=$(cycle 2>&1); then
		ok "cycle $n" bash -c "echo '$out'; dmesg | tail -n 20; false"
		break
	fi
done
ok "$1 times unloaded and loaded" [ "$n" = "$1" ]
ok "no violations" no_violations
ok "no errors in the kernel's log" bash -c '! dmesg | grep -E "mlx5.*(rror|ailed|compromised)" | grep -v vsc_init'
finish
