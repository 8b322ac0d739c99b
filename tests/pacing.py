#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""A link slower than we are: long messages wait in the module, the shortest first, and not in the device's queue.

The link is said to have 10 Mbit/s (net.homa.link_mbps); that of the VM has a thousand times as much, and no queue.
"""

import fcntl
import os
import socket
import time

from homawire import Growth, Side, Socket, end, make_session, nothing_left, ok, same

PORT = 130
MBPS = 10
SLOW = int(os.environ.get("HOMA_SLOW", "1"))
HOMAIOCABORT = 0xC0206891


def link_mbps(side, value):
    with side, open("/proc/sys/net/homa/link_mbps", "w") as f:
        f.write(f"{value}\n")


def pair(client_side, server_side, family, sealed, port):
    to = server_side.ip(family)
    server, client = Socket(server_side, family, port), Socket(client_side, family)
    if sealed:
        make_session(client, server)
    # The first message to a peer asks for the link's speed.
    client.request(b"hello", to, port)
    server.reply(server.receive(), b"hello")
    client.receive()
    return client, server, to


def seconds(size):
    """What `size` bytes take on the link, without any header."""
    return size * 8 / (MBPS * 1e6)


def in_order(server, n):
    """The next n requests in the order in which they are whole: (length, when)."""
    got = []
    for _ in range(n):
        request = server.receive(20 * SLOW)
        if request is None:
            break
        got.append((request, time.monotonic()))
        server.reply(request, b"x")
    return got


def paced(name, client, server, to, port):
    with Growth(client.side) as growth:
        start = time.monotonic()
        for _ in range(4):
            client.request(bytes(150_000), to, port)
        short = time.monotonic()
        client.request(bytes(20_000), to, port)
        client.request(bytes(100), to, port)
        got = in_order(server, 6)
    lengths = [len(request.data) for request, _ in got]
    same(sorted(lengths), [100, 20_000] + [150_000] * 4, f"{name}: all arrive")
    same(lengths[:2], [100, 20_000], f"{name}: the shortest first, though they were sent last")
    when = {length: at for length, at in zip(lengths[:2], (at for _, at in got))}
    # One packet is on its way already, and half a round trip passes for each window.
    ok(when.get(100, 1e9) - short < seconds(15_000) * SLOW, f"{name}: 100 bytes wait for a packet or two")
    ok(when.get(20_000, 1e9) - short < seconds(80_000) * SLOW, f"{name}: 20,000 hardly for the long ones")
    took = got[-1][1] - start if got else 0
    least = seconds(sum(lengths))
    ok(least <= took, f"{name}: no faster than the link: {took:.3f} s, {least:.3f} at least")
    ok(took <= least * 1.6 * SLOW, f"{name}: and not much slower")
    ok(growth.of("paced_messages") >= 4, f"{name}: paced_messages counts who waited")
    for _ in got:
        client.receive()


def answered(name, client, server, to, port):
    """Responses, too, and both directions count for one link."""
    client.request(bytes(100), to, port)
    request = server.receive()
    start = time.monotonic()
    server.reply(request, bytes(100_000))
    response = client.receive(20 * SLOW)
    took = time.monotonic() - start
    same(len(response.data) if response else None, 100_000, f"{name}: a long response arrives")
    ok(took >= seconds(100_000), f"{name}: no faster than the server's link ({took:.3f} s)")


def given_up(name, client, server, to, port):
    """Who waits and is given up waits no longer."""
    for _ in range(20):
        client.request(bytes(100_000), to, port)
    fcntl.ioctl(client.sock, HOMAIOCABORT, bytes(32))
    client.request(bytes(5_000), to, port)
    start = time.monotonic()
    while (request := server.receive(10 * SLOW)) is not None:
        if len(request.data) == 5_000:
            break
        server.reply(request, b"x")
    took = time.monotonic() - start
    ok(request is not None, f"{name}: after an abort of 20 messages that wait the next one goes")
    ok(took < seconds(400_000) * SLOW, f"{name}: and does not wait for what they would have sent ({took:.3f} s)")
    if request is not None:
        server.reply(request, b"x")
        client.receive()


def main():
    client_side, server_side = Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")
    sides = (client_side, server_side)
    cases = [(f"{'IPv4' if family == socket.AF_INET else 'IPv6'}, {'sealed' if sealed else 'plain'}", family, sealed)
             for family, sealed in ((socket.AF_INET, False), (socket.AF_INET6, False),
                                    (socket.AF_INET, True), (socket.AF_INET6, True))]
    with Growth(client_side) as growth:
        client, server, to = pair(*sides, socket.AF_INET, False, PORT)
        client.request(bytes(500_000), to, PORT)
        in_order(server, 1)
        client.receive()
        client.close()
        server.close()
    same(growth.of("paced_messages"), 0, "a device without a queue is not paced by itself")

    for side in sides:
        link_mbps(side, MBPS)
    try:
        for i, (name, family, sealed) in enumerate(cases, 1):
            client, server, to = pair(*sides, family, sealed, PORT + i)
            paced(name, client, server, to, PORT + i)
            answered(name, client, server, to, PORT + i)
            given_up(name, client, server, to, PORT + i)
            # Closed while some of them wait.
            for _ in range(10):
                client.request(bytes(100_000), to, PORT + i)
            client.close()
            server.close()
    finally:
        for side in sides:
            link_mbps(side, 0)
    nothing_left(*sides)
    end()


main()
