#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# faults.sh [SEED]...: commands that fail, send queues in error, a link that flaps, while the network device is used and
# changed. Nothing has to succeed meanwhile; afterwards all must.
. tests/nic/lib.sh

[[ $# -gt 0 ]] || set -- 1 2 3 4 5 6

device=$(pci_device 1)
driver=/sys/bus/pci/drivers/mlx5_core
netdev() { find "/sys/bus/pci/devices/$device/net" -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null; }
pings() { on 1 ping -q -c 3 -i 0.05 -W 2 -s 1000 10.0.0.2; }

# All that the driver has to ask of the firmware.
commotion() {
	on 1 ip link set eth0 down
	on 1 ip link set eth0 up
	on 1 ethtool -L eth0 combined 1
	on 1 ethtool -G eth0 rx 512 tx 512
	on 1 ip link set eth0 mtu 4000
	on 1 ip link set eth0 promisc on
	on 1 ethtool -X eth0 equal 1
	on 1 ping -q -c 5 -i 0.05 -W 1 10.0.0.2
	on 1 ip link set eth0 promisc off
	on 1 ethtool -X eth0 default
	on 1 ip link set eth0 mtu 1500
	on 1 ethtool -G eth0 rx 1024 tx 1024
	on 1 ethtool -L eth0 combined 2
	on 1 ethtool -S eth0
} >/dev/null 2>&1

begin_anew() {
	echo "$device" >"$driver/unbind"
	echo "$device" >"$driver/bind" || return
	ip link set "$(netdev)" netns h1 name eth0 || return
	on 1 ip addr replace 10.0.0.1/24 dev eth0
	on 1 ip link set eth0 up
}

# What the driver itself has seen go wrong.
failed_commands() { dmesg | grep -cE 'mlx5_cmd_out_err.*failed'; }
grown() { [[ $2 -gt $3 ]] || { echo "$1: $3 before, $2 now"; return 1; }; }

works() { until_true 20 carrier 1 1 && until_true 20 pings; }

until_true 20 carrier 1 1
before=$(failed_commands)
for seed; do
	tune 1 "faults seed=$seed,command=any:2%"
	commotion
	tune 1 "faults "
	ok "failing commands ($seed): the driver lets go, and begins anew" begin_anew
	ok "and works" works
done
ok "commands did fail" grown commands "$(failed_commands)" "$before"
errors=$(counter 1 tx_cqe_err) downs=$(counter 1 link_down_events_phy)
for seed; do
	tune 1 "faults seed=$seed,sq-error=5%,late-cqe=5%,late-command=20%,no-buffer=2%,link-up=300ms,link-down=50ms"
	commotion
	on 1 ping -q -c 100 -i 0.02 -W 1 10.0.0.2 >/dev/null
	tune 1 "faults "
	# After two errors of a queue within half a second Linux leaves it alone (the reporter's grace period); single ones are
	# nic-recover's.
	on 1 ip link set eth0 down
	on 1 ip link set eth0 up
	ok "failing queues and a link that flaps ($seed): set down and up, it works" works
done
ok "queues did fail" grown tx_cqe_err "$(counter 1 tx_cqe_err)" "$errors"
ok "the link did flap" grown link_down_events_phy "$(counter 1 link_down_events_phy)" "$downs"
ok "no violations" no_violations
finish
