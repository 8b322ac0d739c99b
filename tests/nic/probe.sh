#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The driver comes up on the model and says of it what it is.
. tests/nic/lib.sh

says() { grep -q -- "$2" <<<"$(on 1 $1)" || { on 1 $1; return 1; }; }

ok "the driver is mlx5_core" says "ethtool -i eth0" "^driver: mlx5_core"
ok "firmware version" says "ethtool -i eth0" "^firmware-version: 22.99.0001"
for i in 1 2; do
	ok "MAC address of end $i" [ "$(on $i cat /sys/class/net/eth0/address)" = "02:00:00:00:00:0$i" ]
	ok "link of end $i" until_true 20 carrier $i 1
done
ok "speed" says "ethtool eth0" "Speed: 100000Mb/s"
ok "two channels" says "ethtool -l eth0" "Combined:[[:space:]]*2"
ok "TCP segmentation" says "ethtool -k eth0" "^tcp-segmentation-offload: on"
ok "checksums" says "ethtool -k eth0" "^rx-checksumming: on"
ok "no errors in the kernel's log" bash -c '! dmesg | grep -E "mlx5.*(rror|ailed|compromised)" | grep -v vsc_init'
ok "no violations" no_violations
finish
