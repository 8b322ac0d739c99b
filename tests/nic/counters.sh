#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What ethtool -S says is what has passed.
. tests/nic/lib.sh

until_true 20 carrier 1 1
until_true 20 carrier 2 1
on 1 ping -q -c 1 10.0.0.2 >/dev/null
sleep 1
names="tx_packets_phy rx_packets_phy tx_bytes_phy rx_bytes_phy tx_vport_unicast_packets rx_vport_unicast_packets rx_packets tx_packets"
snapshot() { on "$1" ethtool -S eth0 >"/tmp/counters.$1.$2"; }
difference() { # I NAME
	awk -v name="$2:" '$1 == name { value[NR == FNR] = $2 } END { print value[0] - value[1] }' \
		"/tmp/counters.$1.before" "/tmp/counters.$1.after"
}
for i in 1 2; do snapshot $i before; done
on 1 ping -q -c 200 -i 0.01 -s 1000 10.0.0.2 >/dev/null
for i in 1 2; do snapshot $i after; done

around() { # VALUE FROM TO
	[[ $1 -ge $2 && $1 -le $3 ]] || { echo "$1 is not from $2 to $3"; return 1; }
}
for i in 1 2; do
	for name in $names; do
		case $name in
		# 1000 bytes of data, 8 of ICMP, 20 of IP, 14 of Ethernet, 4 of check sequence; neighbour discovery besides.
		*bytes_phy) ok "end $i: $name" around "$(difference $i "$name")" $((200 * 1046)) $((200 * 1046 + 3000)) ;;
		*) ok "end $i: $name" around "$(difference $i "$name")" 200 220 ;;
		esac
	done
	for name in rx_out_of_buffer rx_wqe_err tx_cqe_err rx_oversize_pkts_phy rx_discards_phy; do
		ok "end $i: no $name" [ "$(difference $i $name)" = 0 ]
	done
	ok "end $i: sizes" around "$(difference $i rx_1024_to_1518_bytes_phy)" 200 220
done
sent=$(difference 1 tx_packets_phy)
ok "what one end sends the other receives" [ "$sent" = "$(difference 2 rx_packets_phy)" ]

# Nobody takes packets from a queue that is stopped: they are counted, and dropped.
before=$(counter 2 rx_multicast_phy)
on 1 ping -q -c 3 -i 0.05 -I eth0 224.0.0.1 >/dev/null
ok "multicast" [ "$(($(counter 2 rx_multicast_phy) - before))" -ge 3 ]
before=$(counter 2 rx_broadcast_phy)
on 1 ping -q -b -c 3 -i 0.2 -W 1 10.0.0.255 >/dev/null 2>&1
ok "broadcast" [ "$(($(counter 2 rx_broadcast_phy) - before))" -ge 3 ]
ok "no violations" no_violations
finish
