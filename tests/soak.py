#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Mixed load for a long time: plain between two hosts, sealed with new keys all the time between two others.

Usage: soak.py SECONDS [REKEY_MS]

Each pair of hosts runs "stress" in both directions, which checks every byte. Meanwhile responses must arrive in
every stretch of ten seconds, and the memory that the kernel holds must not grow. (That nothing of the module is left
afterwards is looked at by stress, and by scripts/vm.)
"""

import os
import statistics
import subprocess
import sys
import time

from homawire import Side, diag, end, ok

# Of hosts, and what is special about their load.
PAIRS = {"plain": (1, 2, ["--family", "4"]), "sealed": (3, 4, ["--family", "6", "--sealed"])}
SLOW = int(os.environ.get("HOMA_SLOW", "1"))
STRETCH = 10 * min(SLOW, 3)
# What is under way differs from one moment to the next.
MOST_GROWTH = 8 << 10


def kernel_memory():
    """KiB that are neither free, nor programs', nor a cache that would be given back."""
    fields = {line.split(":")[0]: int(line.split()[1]) for line in open("/proc/meminfo")}
    return fields["MemTotal"] - sum(fields[f] for f in ("MemFree", "Buffers", "Cached", "AnonPages", "SReclaimable"))


class Pair:
    """Two hosts and their load."""

    def __init__(self, name, seconds, client, server, options):
        self.name = name
        self.env = {f"HOMA_TEST_{role}": f"h{n},10.0.0.{n},fd00::{n}" for role, n in (("CLIENT", client), ("SERVER", server))}
        os.environ.update(self.env)
        self.sides = [Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")]
        self.log = open(f"/tmp/soak.{name}", "w+")
        self.process = subprocess.Popen(["stress", "--both", "--for", str(seconds), *options], stdout=self.log,
                                        stderr=subprocess.STDOUT, env={**os.environ, **self.env})
        self.responses, self.stalled = 0, 0

    def look(self):
        """Has a response arrived since the last time?"""
        now = sum(side.counters()["responses_received"] for side in self.sides)
        self.stalled += now == self.responses
        self.responses = now

    def finish(self):
        status = self.process.wait()
        self.log.seek(0)
        for line in self.log:
            diag(f"{self.name}: {line.rstrip()}")
        ok(status == 0, f"{self.name}: stress ends well")
        ok(self.responses > 0 and self.stalled == 0, f"{self.name}: {self.responses} responses; "
           f"{self.stalled} times none within {STRETCH} s")


def main():
    seconds = int(sys.argv[1])
    options = {"plain": [], "sealed": ["--rekey", sys.argv[2] if len(sys.argv) > 2 else "1000"]}
    pairs = [Pair(name, seconds, client, server, more + options[name]) for name, (client, server, more) in PAIRS.items()]
    memory, start = [], time.monotonic()
    while all(pair.process.poll() is None for pair in pairs):
        # The last stretch may be cut off.
        time.sleep(STRETCH)
        if time.monotonic() - start > seconds:
            break
        memory.append(kernel_memory())
        for pair in pairs:
            pair.look()
        if len(memory) % 6 == 0:
            diag(f"{time.monotonic() - start:.0f} s: " + ", ".join(f"{p.name} {p.responses} RPCs" for p in pairs)
                 + f", the kernel has {memory[-1]} KiB")
    for pair in pairs:
        pair.finish()
    fifth = len(memory) // 5
    if ok(fifth >= 3, f"{len(memory)} looks at the memory"):
        # In the first fifth, caches fill.
        before, after = (statistics.median(part) for part in (memory[fifth:2 * fifth], memory[-fifth:]))
        ok(after - before <= MOST_GROWTH, f"the kernel's memory is flat: {before:.0f} KiB, in the end {after:.0f}")
    end()


main()
