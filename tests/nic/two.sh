#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Two virtual machines, one cable: this is the second, an iperf3 server runs on the first.
. tests/nic/lib.sh

bulk() {
	local out
	out=$(iperf3 -t 4 -c 10.0.0.1 "$@") || { tail -n 5 <<<"$out"; return 1; }
	grep -E 'receiver|SUM' <<<"$out" | tail -n 2 | sed 's/^/# /' >/tmp/iperf.rate
}
up() { [[ $(cat /sys/class/net/eth0/carrier 2>/dev/null) == 1 ]]; }

ok "link" until_true 20 up
ok "ping" until_true 20 ping -q -c 3 -i 0.2 10.0.0.1
for options in "" "-R" "-P 4" "-P 4 -R" "--bidir"; do
	# shellcheck disable=SC2086 # words on purpose
	ok "iperf3 $options" bulk $options
	cat /tmp/iperf.rate
done
ok "no violations" no_violations
ok "checksums were right" bash -c '! dmesg | grep -i "hw csum failure"'
finish
