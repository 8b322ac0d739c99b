#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Several queues, and the hash that spreads flows over them.
. tests/nic/lib.sh

flows() { # sends UDP datagrams of many flows
	on 1 python3 -c '
import socket
for port in range(20000, 20200):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.0.0.1", port))
    s.sendto(b"x" * 100, ("10.0.0.2", 9))'
	sleep 0.5
}

got() { # in each of two queues
	local a b
	a=$(counter 2 rx0_packets) b=$(counter 2 rx1_packets)
	flows
	echo "$(($(counter 2 rx0_packets) - a)) $(($(counter 2 rx1_packets) - b))"
}

until_true 20 carrier 1 1
on 1 ping -q -c 1 10.0.0.2 >/dev/null
on 2 ethtool -N eth0 rx-flow-hash udp4 sdfn
read -r a b <<<"$(got)"
ok "two queues get $a and $b of 200 flows" [ "$a" -gt 40 -a "$b" -gt 40 ]
on 2 ethtool -X eth0 equal 1
read -r a b <<<"$(got)"
ok "with all of the table on queue 0: $a and $b" [ "$a" -gt 190 -a "$b" -lt 20 ]
on 2 ethtool -X eth0 weight 0 1
read -r a b <<<"$(got)"
ok "with all of it on queue 1: $a and $b" [ "$a" -lt 20 -a "$b" -gt 190 ]
on 2 ethtool -X eth0 default
on 2 ethtool -N eth0 rx-flow-hash udp4 sd
read -r a b <<<"$(got)"
ok "one flow, by addresses alone: $a and $b" [ "$a" -lt 20 -o "$b" -lt 20 ]
on 2 ethtool -N eth0 rx-flow-hash udp4 sdfn
for n in 1 2; do
	ok "$n channel(s)" on 2 ethtool -L eth0 combined $n
	until_true 20 carrier 2 1
	ok "ping with $n" on 1 ping -q -c 5 -i 0.05 10.0.0.2
done
ok "other sizes of rings" on 2 ethtool -G eth0 rx 256 tx 256
until_true 20 carrier 2 1
ok "ping with these" on 1 ping -q -c 5 -i 0.05 10.0.0.2
ok "the default ones" on 2 ethtool -G eth0 rx 1024 tx 1024
ok "no violations" no_violations
finish
