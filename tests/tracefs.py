# SPDX-License-Identifier: GPL-2.0 OR MIT
"""The kernel's trace: events switched on for a while, and the lines that they left."""

import os
import re
import subprocess

from homawire import bail

FOLDER = "/sys/kernel/tracing"


def mount():
    if not os.path.isdir(f"{FOLDER}/events"):
        subprocess.run(["mount", "-t", "tracefs", "none", FOLDER], check=True)


def write(name, text):
    with open(f"{FOLDER}/{name}", "w") as f:
        f.write(text)


def lines():
    """What is in the trace. If some of it was overwritten, nothing is known: that ends the test."""
    with open(f"{FOLDER}/trace") as f:
        text = f.read()
    found = re.search(r"^# entries-in-buffer/entries-written: (\d+)/(\d+)", text, re.M)
    if not found or found[1] != found[2]:
        bail(f"the trace is not whole: {found and found[0]}")
    return [line.strip() for line in text.splitlines() if line and not line.startswith("#")]


class Trace:
    """What these events ("timer/timer_start", or a group: "homa") wrote in a "with" block: .lines afterwards."""

    def __init__(self, *events):
        self.events = events

    def __enter__(self):
        write("trace", "")
        self.enable("1")
        return self

    def __exit__(self, *_):
        self.enable("0")
        self.lines = lines()

    def enable(self, value):
        for event in self.events:
            write(f"events/{event}/enable", value)
