#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# TCP and UDP in bulk, both ways.
. tests/nic/lib.sh

# bulk WHAT OPTION...: runs iperf3 and prints what it measured.
bulk() {
	local out
	out=$(on 1 iperf3 --json -t 4 -c "${to:-10.0.0.2}" "$@") || { tail -n 5 <<<"$out"; return 1; }
	python3 -c '
import json, sys
end = json.load(sys.stdin)["end"]
total = end.get("sum_received") or end["sum"]
rate = total["bits_per_second"] / 1e6
print(f"{rate:.0f} Mbit/s", file=open("/tmp/iperf.rate", "w"))
sys.exit(total["bytes"] < 1000000)' <<<"$out"
}

on 2 iperf3 -s >/tmp/iperf-server.out 2>&1 &
server=$!
trap 'kill $server' EXIT
sleep 2
for options in "" "-R" "-P 4" "-P 4 -R" "--bidir" "-u -b 20M"; do
	# shellcheck disable=SC2086 # words on purpose
	ok "iperf3 $options" bulk $options
	echo "# $(cat /tmp/iperf.rate)"
done
to=fd00::2 ok "iperf3 over IPv6" bulk
for feature in "tso off" "tx off" "rx off" "gro off"; do
	# shellcheck disable=SC2086
	for i in 1 2; do on $i ethtool -K eth0 $feature >/dev/null; done
	ok "with $feature" bulk
	# shellcheck disable=SC2086
	for i in 1 2; do on $i ethtool -K eth0 ${feature/off/on} >/dev/null; done
done
ok "checksums were right" bash -c '! dmesg | grep -i "hw csum failure"'
ok "no violations" no_violations
finish
