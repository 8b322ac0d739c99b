# SPDX-License-Identifier: GPL-2.0 OR MIT
# shellcheck shell=bash
#
# For suites that test the model NIC: TAP, and names for the two ends. With namespaces they are h1 and h2, each with an
# eth0.

checks=0 failures=0

# ok WHAT CMD...: a check that the command succeeds; what it printed is shown if it does not.
ok() {
	local what=$1 out
	shift
	checks=$((checks + 1))
	if out=$("$@" 2>&1); then
		echo "ok $checks - $what"
	else
		echo "not ok $checks - $what"
		tail -n 15 <<<"$out" | sed 's/^/# /'
		failures=$((failures + 1))
	fi
}

finish() {
	echo "1..$checks"
	exit $((failures > 0))
}

# on I CMD...: at end I.
on() {
	local i=$1
	shift
	ip netns exec "h$i" "$@"
}

# counter I NAME: one of ethtool -S.
counter() { on "$1" ethtool -S eth0 | awk -v name="$2:" '$1 == name { print $2 }'; }

# The PCI device of end I: they are numbered as the kernel finds them.
pci_device() { grep -ls 0x15b3 /sys/bus/pci/devices/*/vendor | sed -n "$1s,.*/\([^/]*\)/vendor$,\1,p"; }

# config_space I: the file.
config_space() { echo "/sys/bus/pci/devices/$(pci_device "$1")/config"; }

# model I COMMAND ARGUMENT: tells the model itself (tools/nic-model/README.md lists the commands).
model() {
	local word=$(($2 << 24 | $3)) bytes
	printf -v bytes '\\x%02x' $((word & 255)) $((word >> 8 & 255)) $((word >> 16 & 255)) $((word >> 24))
	# shellcheck disable=SC2059 # what it prints are bytes
	printf "$bytes" | dd of="$(config_space "$1")" bs=4 seek=$((0xf0 / 4)) conv=notrunc status=none
}

# tune I OPTION: the same of the model's options, such as "sched seed=7".
tune() {
	printf %s "$2" | dd of="$(config_space "$1")" bs=256 seek=$((0xe00 / 256)) conv=notrunc status=none
	model "$1" 4 ${#2}
}

# How many violations the model has seen.
violations() {
	dd if="$(config_space "$1")" bs=4 skip=$((0xf4 / 4)) count=1 status=none | od -An -tu4 | tr -d ' '
}

# until_true SECONDS CMD...: waits for it; where all is slow (HOMA_SLOW), for so many times as long.
until_true() {
	local end=$((SECONDS + $1 * ${HOMA_SLOW:-1}))
	shift
	until "$@"; do
		((SECONDS < end)) || { echo "not within that time: $*"; return 1; }
		sleep 0.2
	done
}

carrier() { [[ $(on "$1" cat /sys/class/net/eth0/carrier 2>/dev/null) == "$2" ]]; }

no_violations() {
	local i
	for i in 1 2; do
		[[ -n $(pci_device $i) ]] || continue
		[[ $(violations $i) == 0 ]] || { echo "end $i: $(violations $i) violations"; return 1; }
	done
}
