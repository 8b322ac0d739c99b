#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Sockets that are open, and no RPC: for ten seconds no timer, work, packet or wake-up is ours.

The kernel's own tracepoints tell: each timer and work with its function, which for the module's says "[homa]".
"""

import os
import socket
import threading
import time

import tracefs
from homawire import Growth, Side, Socket, bail, diag, end, make_session, ok, same

PORT = 97
SECONDS = 10
SLOW = int(os.environ.get("HOMA_SLOW", "1"))
EVENTS = ("timer/timer_start", "timer/timer_expire_entry", "timer/hrtimer_start", "timer/hrtimer_expire_entry",
          "workqueue/workqueue_queue_work", "workqueue/workqueue_execute_start", "sched/sched_waking")
SLEEPER = "homa-sleeper"


class Ours(tracefs.Trace):
    """What is ours of what the kernel does in a "with" block; .lines afterwards."""

    def __init__(self):
        super().__init__(*EVENTS)

    def __exit__(self, *args):
        super().__exit__(*args)
        self.lines = [line for line in self.lines if "[homa]" in line or f"comm={SLEEPER}" in line]


def exchange(client, server, to, port, size):
    client.request(bytes(size), to, port)
    request = server.receive()
    if request is None:
        bail("a request did not arrive")
    server.reply(request, bytes(size))
    if client.receive() is None:
        bail("a response did not arrive")


def sleep_in(sock):
    """A thread that waits for a message, as programs do; woken only by one."""
    def wait():
        with open("/proc/thread-self/comm", "w") as f:
            f.write(SLEEPER)
        sock.sock.recv(100)

    sock.sock.settimeout(None)
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def rpcs(*sides):
    return sum(side.counters()["live_rpcs"] for side in sides)


def main():
    tracefs.mount()
    tracefs.write("buffer_size_kb", "16384")
    client_side, server_side = Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")
    # Long messages are paced, so that there is a timer for them, too.
    set_link(1000, client_side, server_side)
    pairs = []
    for i, (family, sealed) in enumerate(((socket.AF_INET, False), (socket.AF_INET, True),
                                          (socket.AF_INET6, False), (socket.AF_INET6, True))):
        port, to = PORT + i, server_side.ip(family)
        server, client = Socket(server_side, family, port), Socket(client_side, family)
        if sealed:
            make_session(client, server)
        pairs.append((client, server, to, port))

    with Ours() as trace:
        for client, server, to, port in pairs:
            for size in (100, 100_000, 1_000_000):
                exchange(client, server, to, port, size)
        # A request that is not answered at once: the timer has work.
        client, server, to, port = pairs[0]
        client.request(bytes(100), to, port)
        time.sleep(0.5)
        server.reply(server.receive(), b"x")
        client.receive()
    ok(client_side.counters()["paced_messages"], "long messages wait for their turn")
    ok(any("hrtimer" in line for line in trace.lines), "with RPCs, the trace shows the module's timers")

    for _ in range(60 * SLOW):
        if not rpcs(client_side, server_side):
            break
        time.sleep(0.25)
    same(rpcs(client_side, server_side), 0, "all RPCs end")
    sleepers = [sleep_in(sock) for pair in pairs for sock in pair[:2]]
    time.sleep(1)
    with Growth(client_side) as at_client, Growth(server_side) as at_server, Ours() as trace:
        time.sleep(SECONDS)
    if not same(len(trace.lines), 0, f"without, for {SECONDS} s, no timer, no work and no wake-up is ours"):
        diag("\n".join(trace.lines[:20]))
    same((at_client.all(), at_server.all()), ({}, {}), "and no packet: no counter moves")
    ok(all(thread.is_alive() for thread in sleepers), "who waits for messages still waits")

    with Ours() as trace:
        for client, _, to, port in pairs:
            client.request(b"wake up", to, port)
        for thread in sleepers[1::2]:
            thread.join(10)
    same([thread.is_alive() for thread in sleepers[1::2]], [False] * len(pairs), "and is woken by one")
    ok(any(f"comm={SLEEPER}" in line for line in trace.lines), "which the trace shows")
    set_link(0, client_side, server_side)
    same([name for name in kernel_threads() if "homa" in name], [], "the module has no threads")
    os._exit(finish())


def set_link(mbps, *sides):
    for side in sides:
        with side, open("/proc/sys/net/homa/link_mbps", "w") as f:
            f.write(f"{mbps}\n")


def kernel_threads():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as cmdline, open(f"/proc/{pid}/comm") as comm:
                if not cmdline.read():
                    yield comm.read().strip()
        except OSError:
            pass  # it is gone


def finish():
    """end(), without waiting for threads that wait for ever."""
    try:
        end()
    except SystemExit as e:
        return int(bool(e.code))


main()
