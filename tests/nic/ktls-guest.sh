#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# ktls-guest.sh serve | ktls-guest.sh RESELECTION ARG...: what tests/nic/ktls runs in its two VMs; ARGs are nic_ktls's.
#
# RESELECTION is net.core.txq_reselection_ms: how often a busy TCP flow may change its queue though packets of it still wait
# in the other one. The default, 1000, is nothing that the driver's TLS offload can bear: two queues then use one context
# in no order (tools/nic-model/README.md).
modprobe tls || exit
program=target/guest/tests/nic_ktls
[[ $1 != serve ]] || exec $program serve
echo "$1" >/proc/sys/net/core/txq_reselection_ms || exit
$program send 10.0.0.1 "${@:2}"
status=$?
# What tests/nic/ktls looks at.
ethtool -S eth0 | awk '$1 ~ /^tx_tls_/ { sub(":", "", $1); print "# counter", $1, $2 }'
exit $status
