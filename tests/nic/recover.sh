#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The driver recovers from what hardware may do: a send queue in error, a reset of the device.
. tests/nic/lib.sh
SQ_ERROR=2

recovered() { [[ $(counter 1 tx_recover) -gt $1 ]]; }

until_true 20 carrier 1 1
for n in 1 2 3; do
	before=$(counter 1 tx_recover)
	model 1 $SQ_ERROR 1
	on 1 ping -q -c 3 -i 0.2 -W 1 10.0.0.2 >/dev/null
	ok "the driver recovers from an error CQE ($n)" until_true 20 recovered "$before"
	ok "and packets pass" until_true 20 on 1 ping -q -c 1 -W 1 10.0.0.2
done
ok "error CQEs are counted" [ "$(counter 1 tx_cqe_err)" -ge 3 ]
ok "no violations" no_violations
finish
