#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# ping.sh [lossy]: packets of all kinds arrive, both ways.
. tests/nic/lib.sh
lossy=${1-}

# As many as were sent; over a lossy wire, nine of ten.
ping_some() { # I ADDRESS SIZE [OPTION]...
	local i=$1 to=$2 size=$3 got want=20
	shift 3
	[[ -z $lossy ]] || want=15
	got=$(on "$i" ping -q -c 20 -i 0.02 -W 5 -s "$size" "$@" "$to" | sed -n 's/.* \([0-9]*\) received.*/\1/p')
	[[ ${got:-0} -ge $want ]] || { echo "$got of 20 came back"; return 1; }
}

until_true 20 carrier 1 1
until_true 20 carrier 2 1
for size in 0 56 1000 1472 8000; do
	ok "IPv4, $size bytes" ping_some 1 10.0.0.2 $size
	ok "IPv6, $size bytes, back" ping_some 2 fd00::1 $size
done

for i in 1 2; do
	on $i ip link add link eth0 name vlan5 type vlan id 5
	on $i ip addr add 10.5.0.$i/24 dev vlan5
	on $i ip link set vlan5 up
done
ok "tagged" ping_some 1 10.5.0.2 1000
for i in 1 2; do on $i ethtool -K eth0 rxvlan off txvlan off; done
ok "tagged by software" ping_some 1 10.5.0.2 1000
for i in 1 2; do
	on $i ethtool -K eth0 rxvlan on txvlan on
	on $i ip link del vlan5
done

for i in 1 2; do on $i ip link set eth0 mtu 9000; done
until_true 20 carrier 1 1
until_true 20 carrier 2 1
ok "jumbo frames" ping_some 1 10.0.0.2 8972 -M 'do'
for i in 1 2; do on $i ip link set eth0 mtu 1500; done
until_true 20 carrier 1 1
until_true 20 carrier 2 1

on 2 ip link set eth0 address 02:00:00:00:00:22
on 1 ip neigh flush all
ok "another MAC address" ping_some 1 10.0.0.2 56
on 2 ip link set eth0 address 02:00:00:00:00:02
on 1 ip neigh flush all

on 1 ip neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0
before=$(counter 2 rx_vport_unicast_packets)
on 1 ping -q -c 5 -i 0.05 -W 1 10.0.0.77 >/dev/null
ok "others' packets are not received" [ "$(($(counter 2 rx_vport_unicast_packets) - before))" -lt 3 ]
on 2 ip link set eth0 promisc on
before=$(counter 2 rx_vport_unicast_packets)
on 1 ping -q -c 5 -i 0.05 -W 1 10.0.0.77 >/dev/null
ok "but in promiscuous mode" [ "$(($(counter 2 rx_vport_unicast_packets) - before))" -ge 3 ]
on 2 ip link set eth0 promisc off
ok "no violations" no_violations
finish
