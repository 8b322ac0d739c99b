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

# The PCI device of end I.
pci_device() { on "$1" ethtool -i eth0 | awk '/^bus-info/ { print $2 }'; }

# model I COMMAND ARGUMENT: tells the model itself (tools/nic-model/README.md lists the commands).
model() {
	python3 - "$(pci_device "$1")" "$2" "$3" <<-'END'
		import os, struct, sys
		fd = os.open(f"/sys/bus/pci/devices/{sys.argv[1]}/config", os.O_RDWR)
		os.pwrite(fd, struct.pack("<I", int(sys.argv[2]) << 24 | int(sys.argv[3])), 0xf0)
	END
}

# How many violations the model has seen.
violations() {
	python3 - "$(pci_device "$1")" <<-'END'
		import os, struct, sys
		fd = os.open(f"/sys/bus/pci/devices/{sys.argv[1]}/config", os.O_RDONLY)
		print(struct.unpack("<I", os.pread(fd, 4, 0xf4))[0])
	END
}

# until_true SECONDS CMD...: waits for it.
until_true() {
	local end=$((SECONDS + $1))
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
		[[ $(violations $i) == 0 ]] || { echo "end $i: $(violations $i) violations"; return 1; }
	done
}
