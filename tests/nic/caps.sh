#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# caps.sh [NAME]...: each capability of the model's, or those named, is switched off alone. The driver works all the same, or
# refuses the device and says so; and it comes up again when the capability is back.
#
# Not log_bf_reg_size, which is no capability but the size of a register: 0 is a doorbell of one byte.
. tests/nic/lib.sh

# What Linux 7.3 cannot do without. All else it must work without.
refused() {
	case $1 in
	port_type | eth_net_offloads | nic_flow_table | csum_cap | vlan_cap | max_lso_cap | rss_ind_tbl_cap) return 0 ;;
	log_max_eq | max_wqe_sz_sq | *.ft_support | *.log_max_ft_size | *.max_ft_level) return 0 ;;
	esac
	return 1
}

device=$(pci_device 1)
driver=/sys/bus/pci/drivers/mlx5_core
netdev() { find "/sys/bus/pci/devices/$device/net" -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null; }

unbind() {
	[[ ! -e $driver/$device ]] || echo "$device" >"$driver/unbind"
}

# What the kernel has said since the driver was last given the device.
said() { dmesg | awk '/caps.sh: take/ { text = "" } { text = text $0 "\n" } END { printf "%s", text }'; }

# The driver takes the device, and its network device becomes eth0 of h1.
take() {
	echo "caps.sh: take" >/dev/kmsg
	echo "$device" 2>/dev/null >"$driver/bind"
	[[ -n $(netdev) ]] && ip link set "$(netdev)" netns h1 name eth0 &&
		on 1 ip addr replace 10.0.0.1/24 dev eth0 && on 1 ip link set eth0 up
}

pings() { on 1 ping -q -c 3 -i 0.05 -W 2 "$@" 10.0.0.2; }
works() {
	if ! take; then
		echo "there is no network device"
		said
		return 1
	fi
	until_true 20 carrier 1 1 && until_true 20 pings -s 56 && pings -s 1472 && pings -s 8000 || return
	# A stream there and back.
	[[ $(on 1 busybox nc 10.0.0.2 5001 </tmp/stream | cksum) == "$sum" ]]
}
refuses() {
	! take || { echo "it took the device"; return 1; }
	said | grep -q "mlx5_core.*$device" || { echo "it said nothing"; return 1; }
}

head -c 300000 /dev/urandom >/tmp/stream
sum=$(cksum </tmp/stream)
on 2 busybox nc -ll -p 5001 -e cat &
server=$!
trap 'kill $server' EXIT
until_true 20 carrier 2 1
names=("$@")
[[ $# -gt 0 ]] || mapfile -t names < <("${HOMA_NIC_MODEL:-target/guest/release/nic-model}" --list-caps |
	awk '$2 != "log_bf_reg_size" { print $2 }')
for name in "${names[@]}"; do
	unbind
	tune 1 "cap $name=0"
	# Firmware without keys offers no TLS: a driver with TLS dereferences a null pointer if it does (tools/nic-model/README.md).
	[[ $name != log_max_dek ]] || tune 1 "cap tls_tx=0"
	if refused "$name"; then
		ok "without ${name##*.} it refuses the device" refuses
	else
		ok "without ${name##*.} it works" works
	fi
	unbind
	tune 1 "cap default"
done
ok "with all of them it works" works
ok "no violations" no_violations
finish
