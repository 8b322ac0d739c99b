#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The link goes down and comes back: by the other end of the cable, and by the driver.
. tests/nic/lib.sh
LINK=1

until_true 20 carrier 1 1
before=$(counter 1 link_down_events_phy)
for n in 1 2 3; do
	model 1 $LINK 0
	ok "down $n" until_true 10 carrier 1 0
	model 1 $LINK 1
	ok "up $n" until_true 10 carrier 1 1
	ok "and packets pass" until_true 10 on 1 ping -q -c 1 -W 1 10.0.0.2
done
ok "counted" [ "$(($(counter 1 link_down_events_phy) - before))" = 3 ]
for n in 1 2 3; do
	on 1 ip link set eth0 down
	on 1 ip link set eth0 up
	ok "set down and up $n" until_true 10 carrier 1 1
	ok "and packets pass" until_true 10 on 1 ping -q -c 1 -W 1 10.0.0.2
done
# It went with the link.
on 1 ip addr replace fd00::1/64 dev eth0 nodad
ok "no violations" no_violations
finish
