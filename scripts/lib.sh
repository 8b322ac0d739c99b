# SPDX-License-Identifier: GPL-2.0 OR MIT
# shellcheck shell=bash disable=SC2034
#
# What the scripts of this folder share: where things are, and how they speak.
# The layout of the cache is described in docs/building.md.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${HOMA_CACHE:-$HOME/.cache/homa}
KERNEL_SERIES=7.3			# the series that is tested; the newest of it is taken
KERNEL=$CACHE/kernel			# version, build (KDIR), source
VERSIONS=$CACHE/versions		# what was installed, for bug reports

# The toolchain, as Debian 13's packages. Kernel packages are added by scripts/setup.
PACKAGES=(
	# to build kernels and modules, in C and Rust
	bc bison cpio file flex gcc gcc-14 kmod libdw-dev libelf-dev libssl-dev make
	pahole perl python3 rsync xz-utils zlib1g-dev zstd
	bindgen clang-19 lld-19 llvm-19 rust-clippy rust-src rustc rustfmt
	# to build and run what is tested: programs in C and Rust, and their VMs
	busybox-static ca-certificates cargo ethtool g++ g++-14 iperf3 iproute2 iputils-ping
	libc6-dev liburing-dev mount openssl pkg-config procps python3-cryptography
	shellcheck strace tcpdump tshark virtiofsd
)
# Only backports has these new enough: qemu 7 and 10 are two to three times slower under tcg.
BACKPORTS=(qemu-system-x86)

say() { printf '\033[1m%s\033[0m\n' "homa: $*" >&2; }
die() { printf '%s\n' "homa: $*" >&2; exit 1; }

kernel_version() { cat "$KERNEL/version"; }

# Are all of the given packages installed in the root $1?
have_packages() {
	local root=$1 status
	shift
	status=$(dpkg-query --admindir="$root/var/lib/dpkg" -W \
		-f '${db:Status-Status}\n' "$@" 2>/dev/null) || return 1
	! grep -qv '^installed$' <<<"$status"
}

# The root that holds the toolchain: the host's own where it is a Debian 13 with
# everything installed, else one that scripts/setup makes.
toolchain_root() {
	if [[ -z ${HOMA_CHROOT-} ]] && grep -q '^VERSION_CODENAME=trixie' /etc/os-release 2>/dev/null &&
		have_packages / "${PACKAGES[@]}" "${BACKPORTS[@]}"; then
		echo /
	else
		echo "$CACHE/trixie"
	fi
}
