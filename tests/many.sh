#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# many.sh N [slow]: N - 1 hosts send to host N at the same time, as each would alone; slow: over a link of 50 Mbit/s
# with a short queue, which drops what does not fit.
n=$1 pids=()
if [[ ${2-} == slow ]]; then
	tc qdisc add dev "p$n" root netem rate 50mbit limit 200
	trap 'tc qdisc del dev "p$n" root' EXIT
fi
side() { echo "h$1,10.0.0.$1,fd00::$1"; }
export HOMA_TEST_SERVER
HOMA_TEST_SERVER=$(side "$n")
HOMA_TEST_CLIENT=$(side 1) stress --serve --threads 4 >/tmp/serve.out 2>&1 &
server=$!
for i in $(seq $((n - 1))); do
	HOMA_TEST_CLIENT=$(side "$i") stress --remote --rpcs 600 --seed "$i" >"/tmp/many.$i" 2>&1 &
	pids+=($!)
done
for i in $(seq $((n - 1))); do
	wait "${pids[i - 1]}" && echo "ok $i - host $i" && continue
	echo "not ok $i - host $i"
	sed 's/^/# /' "/tmp/many.$i"
done
kill $server
if wait $server; then
	echo "ok $n - server"
else
	echo "not ok $n - server"
	sed 's/^/# /' /tmp/serve.out
fi
grep -h ' ms, ' /tmp/many.* /tmp/serve.out
echo "1..$n"
