#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The driver comes up on the model and says of it what it is.
. tests/nic/lib.sh

says() { # REGEX CMD...
	local regex=$1 out
	shift
	out=$(on 1 "$@")
	grep -q -- "$regex" <<<"$out" || { echo "$out"; return 1; }
}

ok "the driver is mlx5_core" says "^driver: mlx5_core" ethtool -i eth0
ok "firmware version" says "^firmware-version: 22.99.0001" ethtool -i eth0
for i in 1 2; do
	ok "MAC address of end $i" [ "$(on $i cat /sys/class/net/eth0/address)" = "02:00:00:00:00:0$i" ]
	ok "link of end $i" until_true 20 carrier $i 1
done
ok "speed" says "Speed: 100000Mb/s" ethtool eth0
ok "two channels" says "Combined:[[:space:]]*2" ethtool -l eth0
ok "TCP segmentation" says "^tcp-segmentation-offload: on" ethtool -k eth0
ok "checksums" says "^rx-checksumming: on" ethtool -k eth0
ok "no errors in the kernel's log" bash -c '! dmesg | grep -E "mlx5.*(rror|ailed|compromised)" | grep -v vsc_init'
ok "no violations" no_violations
finish
