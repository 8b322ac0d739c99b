#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# ktls-guest.sh serve | ktls-guest.sh send RESELECTION ARG... | ktls-guest.sh both RESELECTION ARG...
#
# What tests/nic/ktls runs in its VMs: a receiver in the first and a sender in the second, or both in one, in two namespaces.
# ARGs are nic_ktls's.
#
# RESELECTION is net.core.txq_reselection_ms: how often a busy TCP flow may change its queue though packets of it still wait
# in the other one. The default, 1000, is nothing that the driver's TLS offload can bear: two queues then use one context
# in no order (tools/nic-model/README.md).
. tests/nic/lib.sh

modprobe -q tls # on the debug kernel it is built in
program=target/guest/tests/nic_ktls
case $1 in
serve) exec $program serve ;;
send)
	echo "$2" >/proc/sys/net/core/txq_reselection_ms || exit
	device=$(ethtool -i eth0 | awk '/^bus-info/ { print $2 }')
	$program send 10.0.0.1 --model "$device" "${@:3}"
	status=$?
	# What tests/nic/ktls looks at.
	ethtool -S eth0 | awk '$1 ~ /^tx_tls_/ { sub(":", "", $1); print "# counter", $1, $2 }'
	echo "# counter violations $(violations "$([[ -e /run/netns/h2 ]] && echo 2 || echo 1)")"
	exit $status
	;;
both)
	on 1 "$0" serve &
	server=$!
	on 2 "$0" send "${@:2}"
	status=$?
	kill $server
	exit $status
	;;
esac
