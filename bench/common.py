# SPDX-License-Identifier: GPL-2.0 OR MIT
"""What bench/run and bench/profile have in common: the VM, its settings, and what runs in it."""

import collections
import pathlib
import subprocess
import sys
import threading

TOP = pathlib.Path(__file__).resolve().parent.parent

# Seconds of virtual time that the guest gets to finish what booting began.
SETTLE = 30

# All ways in which veth takes segments larger than the MTU, so that every transport's are cut before
# the "wire" and joined by GRO behind it.
NO_SEGMENTATION = " ".join(f"{feature} off" for feature in [
    "tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation",
    "tx-tcp6-segmentation", "tx-tcp-accecn-segmentation", "tx-udp-segmentation", "tx-sctp-segmentation",
    "tx-gso-list", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation", "tx-gre-segmentation",
    "tx-gre-csum-segmentation", "tx-ipxip4-segmentation", "tx-ipxip6-segmentation", "tx-gso-partial",
]) + " gro on"

API = "plain"


def die(text):
    sys.exit(f"bench: {text}")


def needs_module(transport):
    return transport in ("homa", "sealed")


def check_module(transports, module):
    if any(needs_module(t) for t in transports) and not pathlib.Path(module or TOP / "target/kmod/homa.ko").exists():
        die(f"{module or 'target/kmod/homa.ko'} is not there, and homa and sealed need it: run 'make' first, "
            "or choose --transports udp,tcp,ktls")


def build_perf():
    """Build homa-perf with the toolchain root's compiler, for its libc; the path of the program."""
    target = TOP / "target/guest"
    command = [TOP / "scripts/enter", "cargo", "build", "--quiet", "--release", "--locked", "--package", "homa-perf",
               "--manifest-path", TOP / "Cargo.toml", "--target-dir", target]
    if subprocess.run(command, cwd=TOP).returncode:
        die("homa-perf does not build (see above)")
    return target / "release/homa-perf"


def build_plugin(output):
    """Build the profiler's plugin for qemu, which runs in the toolchain root, too."""
    source = TOP / "bench/profile.c"
    if output.exists() and output.stat().st_mtime > source.stat().st_mtime:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [TOP / "scripts/enter", "gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
               "-fvisibility=hidden", "-o", output, source]
    if subprocess.run(command, cwd=TOP).returncode:
        die("the profiler's plugin does not build (see above)")


def count_for(size):
    """Round trips that give a stable figure in a few seconds."""
    return 4000 if size <= 2048 else 1500 if size <= 16384 else 300


def guest_command(perf, transports, outstanding, sizes, api):
    return (["bench/in-guest", str(perf), str(SETTLE), ",".join(transports), ",".join(map(str, outstanding))]
            + [f"{size}:{count}" for size, count in sizes] + ["--", "--api", api])


def vm_command(name, offloads, with_module, module, timeout, more=()):
    command = [str(TOP / "scripts/vm"), "--icount", "--ns", "2", "--name", name, "--timeout", str(timeout), *more]
    if offloads == "off":
        command += ["--ethtool", NO_SEGMENTATION]
    if not with_module:
        command += ["--no-module"]
    elif module:
        command += ["--module", module]
    return command


def collect(stream):
    """Read a stream in the background; the last lines of it, as they come."""
    lines = collections.deque(maxlen=40)
    threading.Thread(target=lambda: lines.extend(stream), daemon=True).start()
    return lines


def fail(what, code, errors):
    sys.stderr.writelines(errors)
    die(f"{what}, the VM's exit code is {code}; the reason is above, the VM's logs are in target/vm")


def size_name(size):
    return f"{size // 1024} KB" if size % 1024 == 0 else f"{size} B"


def thousands(number):
    """Three figures that matter."""
    number /= 1000
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}"
