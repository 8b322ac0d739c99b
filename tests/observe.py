#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""What an operator sees: counters, lists of sockets and RPCs, and the settings, each against its documentation."""

import errno
import os
import re
import socket
import subprocess
import threading
import time

from homawire import (ACK, BUSY, GRANT, NEED_ACK, RESEND, UNKNOWN, Growth, RawPeer, Side, Socket,
                      acks, bail, control_packet, data_packet, diag, end, grant, make_session, ok, resend, same)

PORT = 95
V4, V6 = socket.AF_INET, socket.AF_INET6
FLAGGED = re.compile(r"^\| `(\w+)`", re.M)


def table(side, name):
    """A list of /proc/net, each line as a dictionary."""
    with side:
        heading, *lines = open(f"/proc/thread-self/net/{name}").read().splitlines()
    columns = heading.split(" ")
    for line in lines:
        if len(line.split(" ")) != len(columns):
            bail(f"{name}: not so many columns as the heading: {line}")
    return [dict(zip(columns, line.split(" "))) for line in lines]


def sysctl(side, name, value=None):
    """Reads a setting, or writes it: then the errno, or 0."""
    with side:
        try:
            with open(f"/proc/sys/net/homa/{name}", "r" if value is None else "w") as f:
                if value is None:
                    return int(f.read())
                f.write(f"{value}\n")
        except OSError as e:
            return e.errno
    return 0


class Settings:
    """Other settings in a "with" block."""

    def __init__(self, side, **values):
        self.side, self.values = side, values

    def __enter__(self):
        self.before = {name: sysctl(self.side, name) for name in self.values}
        for name, value in self.values.items():
            same(sysctl(self.side, name, value), 0, f"{name} can be set to {value}")

    def __exit__(self, *_):
        for name, value in self.before.items():
            sysctl(self.side, name, value)


def documented(side):
    names = FLAGGED.findall(open("docs/counters.md").read())
    same(sorted(side.counters()), sorted(names), "docs/counters.md has the counters that there are, once each")
    for name in ("homa_sockets", "homa_rpcs"):
        with side:
            heading = open(f"/proc/thread-self/net/{name}").readline().split()
        section = open("docs/listing.md").read().split(f"## /proc/net/{name}")[1].split("\n## ")[0]
        cells = re.findall(r"^\| (`[^|]*) \|", section, re.M)
        listed = [word for cell in cells for word in re.findall(r"`(\w+)`", cell)]
        same(listed, heading, f"docs/listing.md has the columns of {name}")


def by_type(client_side, server_side):
    """Each type of packet is counted, in and out."""
    server = Socket(server_side, V4, PORT)
    peer = RawPeer(client_side, server_side, V4)
    with Growth(server_side) as growth:
        peer.send(data_packet(0x8123, PORT, 4, 10, 0, bytes(10)))
        got = server.receive()
        peer.send(*(control_packet(kind, 0x8123, PORT, 4, fields) for kind, fields in (
            (GRANT, grant(10)), (RESEND, resend(0, 10)), (BUSY, b""), (NEED_ACK, b""), (0x15, b""), (0x16, b""))))
        server.reply(got, bytes(20))
        peer.send(control_packet(ACK, 0x8123, PORT, 4, acks((4, PORT))))
        peer.send(control_packet(UNKNOWN, 0x8123, PORT, 4))
        peer.send(control_packet(RESEND, 0x8123, PORT, 6, resend(0, 10)))
        time.sleep(0.3)
    for name, count in (("data", 1), ("grants", 1), ("resends", 2), ("busys", 1), ("need_acks", 1), ("cutoffs", 1),
                        ("freezes", 1), ("acks", 1), ("unknowns", 1)):
        same(growth.of(f"{name}_received"), count, f"{count} of {name} received")
    for name, count in (("data", 1), ("busys", 1), ("unknowns", 1)):
        same(growth.of(f"{name}_sent"), count, f"{count} of {name} sent")
    same(growth.of("packets_received"), 10, "10 packets in all")
    same(growth.of("segments_sent"), sum(growth.of(n) for n in growth.after if n.endswith("s_sent") and n not in (
        "segments_sent", "requests_sent", "responses_sent")) + growth.of("data_sent"), "and the sum of what was sent")
    peer.close()
    server.close()


def listing(client_side, server_side, family):
    v = "IPv4" if family == V4 else "IPv6"
    server, client = Socket(server_side, family, PORT), Socket(client_side, family)
    to, source = server_side.ip(family), client_side.ip(family)
    shown = (lambda a: a) if family == V4 else (lambda a: f"[{a}]")
    sealed = Socket(client_side, family)
    make_session(sealed, server)
    with client_side:
        client.sock.connect((to, PORT))
    # One that the program has, one it has not, one in a session; and one that is there by half.
    client.request(bytes(100), to, PORT, 77)
    taken = server.receive()
    client.request(bytes(2000), to, PORT, 78)
    sealed.request(bytes(3000), to, PORT, 79)
    half = RawPeer(client_side, server_side, family)
    half.send(data_packet(0x8123, PORT, 8, 2000, 0, bytes(1400)))
    time.sleep(0.2)

    one = [s for s in table(server_side, "homa_sockets") if s["local"].endswith(f":{PORT}")]
    same(len(one), 1, f"{v}: the server is listed once")
    wild = "0.0.0.0" if family == V4 else "[::]"
    inode = os.stat(f"/proc/self/fd/{server.sock.fileno()}").st_ino
    want = {"local": f"{wild}:{PORT}", "remote": "*", "server": "1", "sealed": "0", "rcvbuf": str(16 << 20),
            "sndbuf": str(4 << 20), "rpcs": "4", "peers": "3", "uid": "0", "inode": str(inode)}
    same({k: v for k, v in one[0].items() if k in want}, want, f"{v}: as it is")
    ok(4000 + 1400 < int(one[0]["rmem"]) < 100000, f"{v}: with {one[0]['rmem']} bytes reserved")
    mine = [s for s in table(client_side, "homa_sockets") if s["local"].endswith(f":{client.port}")]
    same([(s["local"], s["remote"], s["server"]) for s in mine],
         [(f"{shown(source)}:{client.port}", f"{shown(to)}:{PORT}", "0")], f"{v}: so is the connected client")

    rpcs = {(r["peer"], r["state"]): r for r in table(server_side, "homa_rpcs") if r["port"] == str(PORT)}
    name = f"{shown(source)}:{client.port}"
    same(len(rpcs), 4, f"{v}: four RPCs at the server")
    got = rpcs.get((name, "taken")) or {}
    same((got.get("id"), got.get("rx_length"), got.get("rx_remaining"), got.get("tx_length"), got.get("sealed")),
         (str(taken.id), "100", "0", "-", "0"), f"{v}: one that the program has")
    got = rpcs.get((name, "ready")) or {}
    same((got.get("rx_length"), got.get("rx_remaining")), ("2000", "0"), f"{v}: one that it can have")
    got = rpcs.get((f"{shown(source)}:{sealed.port}", "ready")) or {}
    same((got.get("sealed"), got.get("rx_remaining")), ("1", "0"), f"{v}: a sealed one")
    got = rpcs.get((f"{shown(half.address)}:{0x8123}", "receiving")) or {}
    same((got.get("id"), got.get("rx_length"), got.get("rx_remaining")), ("9", "2000", "600"), f"{v}: half of one")
    mine = {r["cookie"]: r for r in table(client_side, "homa_rpcs") if r["port"] == str(client.port)}
    same({(c, r["state"], r["tx_length"], r["tx_sent"]) for c, r in mine.items()},
         {("77", "sending", "100", "100"), ("78", "sending", "2000", "2000")}, f"{v}: two at the client")
    counters = server_side.counters()
    same((counters["live_rpcs"], counters["memory_receive"]), (4, int(one[0]["rmem"])), f"{v}: as counted")

    half.close()
    for sock in (client, sealed, server):
        sock.close()
    same([s for s in table(server_side, "homa_sockets") if s["local"].endswith(f":{PORT}")], [], f"{v}: gone")


def under_load(client_side, server_side):
    """Many sockets and RPCs that come and go while the lists are read: every line whole, what stays there once."""
    server = Socket(server_side, V4, PORT)
    stay = [Socket(server_side, V4) for _ in range(300)]
    ports = {str(s.port) for s in stay}
    client = Socket(client_side, V4)
    for i in range(2000):
        client.request(bytes(10), server_side.ip4, PORT, i)
    stop = threading.Event()

    def churn():
        side = Side("HOMA_TEST_SERVER")         # not shared with the other thread
        while not stop.is_set():
            for s in [Socket(side, V4) for _ in range(20)]:
                s.close()

    thread = threading.Thread(target=churn)
    thread.start()
    worst, rounds = 0.0, 0
    deadline = time.monotonic() + 5
    good = True
    while time.monotonic() < deadline:
        start = time.monotonic()
        seen = [s["local"].split(":")[-1] for s in table(server_side, "homa_sockets")]
        worst = max(worst, time.monotonic() - start)
        good = good and all(seen.count(port) == 1 for port in ports)
        rpcs = [r["cookie"] for r in table(client_side, "homa_rpcs") if r["port"] == str(client.port)]
        good = good and len(rpcs) == len(set(rpcs)) == 2000
        rounds += 1
    stop.set()
    thread.join()
    ok(good and rounds, f"300 sockets and 2000 RPCs are listed once each while others come and go, {rounds} times")
    diag(f"the slowest reading of homa_sockets took {worst * 1000:.0f} ms")
    # Small reads, and from any place, now that nothing moves.
    client.close()
    server.close()
    time.sleep(0.3)
    with server_side:
        fd = os.open("/proc/thread-self/net/homa_sockets", os.O_RDONLY)
        pieces = []
        while piece := os.read(fd, 100):
            pieces.append(piece)
        whole = b"".join(pieces)
        at = range(0, len(whole), 997)
        pieces = [os.pread(fd, 50, offset) for offset in at]
        os.close(fd)
        again = open("/proc/thread-self/net/homa_sockets", "rb").read()
    same(whole, again, "read in pieces of 100 bytes, the list is the same")
    ok(all(whole[a:].startswith(piece) for a, piece in zip(at, pieces)), "and so it is read from any place")
    for s in stay:
        s.close()


def slow_server(client_side, server_side):
    """Who waits for a server that is busy does not make it busier with questions."""
    rpcs, seconds = 300, 4
    server, client = Socket(server_side, V4, PORT), Socket(client_side, V4)
    start = time.monotonic()
    with Growth(client_side) as growth:
        for i in range(rpcs):
            client.request(b"x", server_side.ip4, PORT, i)
        time.sleep(seconds)
    # On a busy machine it is more.
    seconds = time.monotonic() - start
    # Each at first, and then once a second. (Of all there were 800 a second when BUSY was no answer.)
    asked, busy = growth.of("resends_sent"), growth.of("busys_received")
    ok(rpcs <= asked <= rpcs * (seconds + 1), f"{rpcs} requests wait for {seconds:.1f} s: {asked} questions")
    ok(busy >= rpcs, f"to which the server says that it is busy ({busy})")
    for _ in range(rpcs):
        request = server.receive()
        server.reply(request, request.data)
    same(sum(client.receive() is not None for _ in range(rpcs)), rpcs, "and all are answered")
    client.close()
    server.close()


def settings(client_side, server_side):
    listed = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) – (\d+) \|", open("docs/sysctl.md").read(), re.M)
    with client_side:
        there = sorted(os.listdir("/proc/sys/net/homa"))
    same(there, sorted(row[0] for row in listed), "docs/sysctl.md has the settings that there are")
    for name, default, least, most in listed:
        default, least, most = int(default), int(least), int(most)
        same(sysctl(client_side, name), default, f"{name} is {default}")
        for value, err in ((least, 0), (least - 1, errno.EINVAL), (most, 0), (most + 1, errno.EINVAL),
                           (-1, errno.EINVAL), ("x", errno.EINVAL), (1 << 40, errno.EINVAL)):
            before = sysctl(client_side, name)
            same(sysctl(client_side, name, value), err, f"{name} = {value}: {errno.errorcode.get(err, 'taken')}")
            same(sysctl(client_side, name), before if err else value, f"{name} is then {before if err else value}")
        same(sysctl(server_side, name), default, f"{name} is {default} in the other namespace")
        same(sysctl(client_side, name, default), 0, f"{name} is {default} again")


def effects(client_side, server_side):
    """They do what they are for."""
    peer = RawPeer(client_side, server_side, V4)
    client = Socket(client_side, V4)
    with Settings(client_side, timeout_ms=300, resend_first_us=1000):
        start = time.monotonic()
        client.request(b"x", "10.0.0.99", 1)
        same(failure(client), errno.ETIMEDOUT, "timeout_ms: a silent peer")
        ok(time.monotonic() - start < 3, f"after {time.monotonic() - start:.1f} s instead of 5")
    client.close()

    server, client = Socket(server_side, V4, PORT), Socket(client_side, V4)
    with Settings(client_side, max_rpcs=16):
        sent = 0
        try:
            for _ in range(20):
                client.request(b"x", server_side.ip4, PORT)
                sent += 1
            err = 0
        except OSError as e:
            err = e.errno
        same((sent, err), (16, errno.ENOBUFS), "max_rpcs: the 17th request is refused")
    client.request(b"x", server_side.ip4, PORT)
    ok(True, "and not any more")
    # Before the client goes: that would end what the server has of it.
    same(sum(server.receive(1) is not None for _ in range(18)), 17, "17 arrived")
    client.close()

    client = Socket(client_side, V4)
    for unscheduled, granted in ((1400, True), (1000000, False)):
        with Settings(client_side, unscheduled_bytes=unscheduled), Growth(server_side) as growth:
            client.request(bytes(200000), server_side.ip4, PORT)
            got = server.receive()
        same(got and len(got.data), 200000, f"unscheduled_bytes={unscheduled}: a request of 200000 bytes arrives")
        same(growth.of("grants_sent") > 0, granted, f"{'with' if granted else 'without'} grants")
    client.close()
    server.close()

    with Settings(client_side, sndbuf_default=100000, rcvbuf_default=200000):
        client = Socket(client_side, V4)
    same([client.sock.getsockopt(socket.SOL_SOCKET, o) for o in (socket.SO_SNDBUF, socket.SO_RCVBUF)], [100000, 200000],
         "sndbuf_default and rcvbuf_default are a new socket's")
    client.close()
    peer.close()


def failure(client):
    try:
        client.receive(10)
    except OSError as e:
        return e.errno
    return 0


def namespaces(server_side):
    """In a user namespace of its own, root may change its own copy and sees nothing of others."""
    script = """
        set -e
        test "$(cat /proc/sys/net/homa/timeout_ms)" = 5000
        echo 700 >/proc/sys/net/homa/timeout_ms
        test "$(cat /proc/sys/net/homa/timeout_ms)" = 700
        test "$(wc -l </proc/net/homa_sockets)" = 1
    """
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c",
                           "mount -t proc proc /proc 2>/dev/null; " + script], stderr=subprocess.PIPE, text=True)
    same((done.returncode, done.stderr), (0, ""), "root of a new user namespace has settings of its own")
    same(sysctl(server_side, "timeout_ms"), 5000, "those of others are as they were")
    # Somebody else may read, and not write; the inode is there, and the uid as that user knows it.
    with server_side:
        done = subprocess.run(["setpriv", "--reuid=1234", "--clear-groups", "--bounding-set=-all", "sh", "-c",
                               "head -n 1 /proc/net/homa_sockets && ! echo 700 2>/dev/null >/proc/sys/net/homa/timeout_ms"],
                              stdout=subprocess.PIPE, text=True)
    ok(done.returncode == 0 and done.stdout.startswith("local "), "others may read the lists and not write settings")
    # As many different settings as are kept, and one more; then an old one.
    with server_side:
        results = set()
        with open("/proc/sys/net/homa/timeout_ms", "w") as f:
            for value in range(1000, 1000 + 4200):
                try:
                    os.pwrite(f.fileno(), b"%d\n" % value, 0)
                    results.add(0)
                except OSError as e:
                    results.add(e.errno)
    same(results, {0, errno.ENOSPC}, "4200 different settings are too many")
    same(sysctl(server_side, "timeout_ms", 5000), 0, "but the first are good for ever")
    same(sysctl(server_side, "timeout_ms"), 5000, "and in force")


def main():
    client_side, server_side = Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")
    documented(server_side)
    by_type(client_side, server_side)
    for family in (V4, V6):
        listing(client_side, server_side, family)
    under_load(client_side, server_side)
    slow_server(client_side, server_side)
    settings(client_side, server_side)
    effects(client_side, server_side)
    namespaces(client_side)
    end()


main()
