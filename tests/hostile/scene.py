# SPDX-License-Identifier: GPL-2.0 OR MIT
"""What all scripts share: a server's socket, a peer that is made of packets, sessions between them, exact counts.

A script is a function with the decorator @script, whose docstring states the rule that it tests: an invariant of the
session, or a page of docs/. It gets a Scene of its own. What holds after every script, whatever it did, is checked
by Scene.end(): the program got nothing else, every session works, so does an honest client, nothing went out in
clear, nothing is left.
"""

import argparse
import os
import random
import socket
import time

import homawire
from homawire import (ACK, CONTROL_LEN, DATA, GRANT, RESEND, TLS_RX, TLS_TX, Assembler, InvalidTag, Keys, RawPeer, Socket, acks,
                      diag, grant, ok, resend, seal_message, sealed_control)

PORT = 99
SLOW = int(os.environ.get("HOMA_SLOW", "1"))
rng = random.Random(1)

# What the command line says; filled in by __main__.
OPTIONS = argparse.Namespace(seconds=None)

homawire.HELPERS |= {"drops", "counts", "delivers", "works", "check", "same", "asks", "waits"}

SCRIPTS = []


def script(function):
    SCRIPTS.append(function)
    return function


def theme(function):
    return function.__module__


def rule(function):
    return " ".join(function.__doc__.split())


def watched(name):
    """Is it a counter that says what became of packets that were not used, or of messages?"""
    return name.startswith(("drop_", "malformed_")) or name in (
        "TlsDecryptError", "TlsReplay", "TlsRecordsOpened", "requests_received", "responses_received")


class Peer(RawPeer):
    """A raw peer that looks whether what belongs to a session is sealed."""

    def __init__(self, *args):
        super().__init__(*args)
        self.sealed_ports, self.in_clear = set(), []

    def receive(self, timeout=2.0, port=None):
        packet = super().receive(timeout, port)
        if packet and packet.dport in self.sealed_ports and not packet.sealed:
            self.in_clear.append(packet)
        return packet


class Scene:
    """A server's socket, a raw peer, and an honest client whose traffic must go on."""

    def __init__(self, client, server, family):
        self.client, self.server, self.family = client, server, family
        self.v = "IPv4" if family == socket.AF_INET else "IPv6"
        self.sock = Socket(server, family, PORT)
        self.peer = Peer(client, server, family)
        self.honest = Socket(client, family)
        self.next_port = 0x9000
        self.sessions = []
        self.what = ""
        # No script is about how long a busy machine takes.
        self.setting("timeout_ms", 60000)

    def setting(self, name, value):
        for side in (self.client, self.server):
            with side, open(f"/proc/sys/net/homa/{name}", "w") as f:
                f.write(str(value))

    # ---- Checks --------------------------------------------------------------------------------

    def check(self, good, what):
        return ok(good, f"{self.v} {self.what}: {what}")

    def same(self, got, want, what):
        if not self.check(got == want, what):
            diag(f"got {got!r:.300}, expected {want!r:.300}")
        return got == want

    def waits(self, condition, what, seconds=5):
        """Until the condition holds."""
        start = time.monotonic()
        while not condition() and time.monotonic() - start < seconds * SLOW:
            time.sleep(0.01)
        return self.check(condition(), what)

    def live(self):
        return self.server.counters()["live_rpcs"]

    def counts(self, want, *packets, what, source=None, send=None):
        """The packets make these counters grow, by exactly so much, and no other that is watched."""
        before = self.server.counters()

        def grown():
            now = self.server.counters()
            arrived = now["packets_received"] - before["packets_received"] >= len(packets)
            return arrived, {n: v - before[n] for n, v in now.items() if watched(n) and v != before[n]}

        want = {n: v for n, v in want.items() if v}
        (send or self.peer.send)(*packets, **({"source": source} if source else {}))
        deadline = time.monotonic() + 2 * SLOW
        while grown() != (True, want) and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.same(grown()[1], want, f"{what}: {total(want)}")

    def drops(self, counter, *packets, what, source=None, times=None):
        """Each of the packets is counted there, and nothing comes of it."""
        self.counts({counter: len(packets) if times is None else times}, *packets, what=what, source=source)
        self.silence(what)

    def silence(self, what):
        """The program has nothing to receive."""
        got = self.sock.receive(0)
        if got is not None:
            self.check(False, f"{what}: nothing is delivered, but a message of {len(got.data)} bytes was")

    def data_to(self, session):
        """DATA packets that the socket sends to the session's peer, until it is quiet."""
        packets = []
        while packet := self.peer.receive(0.1, session.port):
            packets.append(packet)
        return [p for p in packets if p.plain_type == DATA]

    # ---- Afterwards ----------------------------------------------------------------------------

    def works(self, what="afterwards"):
        """An honest client's RPC."""
        data = rng.randbytes(20000)
        self.honest.request(data, self.server.ip(self.family), PORT, 5)
        got, answer = self.sock.receive(5 * SLOW), None
        if got:
            self.sock.reply(got, got.data[::-1])
            answer = self.honest.receive(5 * SLOW)
        return self.check(got and got.data == data and answer and answer.data == data[::-1], f"{what}: honest traffic")

    def end(self):
        """What holds after every script."""
        self.silence("in the end")
        for session in self.sessions:
            if not session.over:
                session.works()
        self.works()
        self.peer.drain()
        self.same(self.peer.in_clear, [], "nothing of a session went out in clear")

    def close(self):
        self.setting("timeout_ms", 5000)
        for each in (self.sock, self.peer, self.honest):
            each.close()


def total(counts):
    return ", ".join(f"{n} {v}" for n, v in sorted(counts.items())) or "nothing is counted"


class Session:
    """The raw peer's end of a session with the server's socket."""

    def __init__(self, s, port=None, minor=3, bits=128, sock=None):
        self.s, self.sock = s, sock or s.sock
        s.next_port += 1
        self.port = port or s.next_port
        self.to = self.sock.port
        self.seed = rng.random()
        self.tx, self.rx = Keys(f"{self.seed} tx", minor, bits), Keys(f"{self.seed} rx", minor, bits)
        self.set_keys(self.tx, self.rx)
        self.next_id = self.counter = 0
        self.asked = set()      # ids of the socket's own requests
        self.over = False       # it is not expected to work afterwards
        s.sessions.append(self)
        s.peer.sealed_ports.add(self.port)

    def set_keys(self, tx=None, rx=None):
        """Gives the socket what this end seals with, and what it opens with."""
        if tx:
            self.sock.set_next_key(TLS_RX, self.s.peer.address, self.port, tx)
            self.tx = tx
        if rx:
            self.sock.set_next_key(TLS_TX, self.s.peer.address, self.port, rx)
            self.rx = rx

    def next_keys(self, keys):
        return Keys(rng.random(), keys.minor, len(keys.key) * 8, keys.epoch + 1 & 3)

    def id(self):
        self.next_id += 2
        return self.next_id - 2

    def seal(self, number, data, **more):
        return seal_message(more.pop("keys", self.tx), self.port, self.to, number, data, **more)

    def control(self, kind, number, fields=None, counter=None, keys=None):
        if counter is None:
            counter = self.counter = self.counter + 1
        fields = fields_of(kind, number, self.to) if fields is None else fields
        return sealed_control(kind, self.port, self.to, number, keys or self.tx, counter, fields)

    def begins(self, data, **more):
        """A request that the program has and does not answer yet: id, packets, what it was delivered as."""
        number = self.id()
        packets = self.seal(number, data, **more)
        self.s.peer.send(*packets)
        got = self.sock.receive(5 * SLOW)
        self.s.check(got is not None and got.data == data and got.flags == 1, "the request is delivered")
        return number, packets, got

    def answered(self, number, data):
        """The answer's packets, if they open to that."""
        assembler = Assembler(self.rx)
        packets = self.s.peer.receive_message(assembler, number | 1, 5 * SLOW)
        try:
            if packets and assembler.plaintext(number | 1) == data:
                return packets
            diag(f"answer to {number}: {len(packets or ())} packets")
        except (InvalidTag, ValueError) as e:
            diag(f"the answer to {number} does not open: {e!r}")
        return None

    def delivers(self, number, data, packets, what):
        """The packets are delivered as `data`, sealed, once, and the answer opens; its packets."""
        s, answer = self.s, None
        s.peer.send(*packets)
        got = self.sock.receive(5 * SLOW)
        good = got is not None and got.data == data and got.flags == 1
        if good:
            self.sock.reply(got, data[::-1])
            answer = self.answered(number, data[::-1])
        elif got:
            diag(f"{len(got.data)} other bytes were delivered, flags {got.flags}")
        s.check(good and answer and self.sock.receive(0) is None, f"{what}: {'delivered and answered' if good else 'delivered'}")
        return answer

    def works(self, what="afterwards"):
        number, data = self.id(), rng.randbytes(300)
        return self.delivers(number, data, self.seal(number, data), what)

    def asks(self, data):
        """The server's socket is the client: sends a request here. Its id."""
        self.sock.request(data, self.s.peer.address, self.port)
        assembler, number = Assembler(self.rx), -1
        deadline = time.monotonic() + 5 * SLOW
        while packet := self.s.peer.receive(max(0, deadline - time.monotonic()), self.port):
            if packet.plain_type == DATA and not packet.id & 1 and packet.id not in self.asked and assembler.add(packet):
                number = packet.id
                break
        self.asked.add(number)
        self.s.check(number >= 0 and assembler.plaintext(number) == data, "a request of the socket's opens")
        return number

    def answers(self, data, packets, what):
        """Packets of a response are delivered as `data`."""
        self.s.peer.send(*packets)
        got = self.sock.receive(5 * SLOW)
        return self.s.check(got is not None and got.data == data and got.flags == 1 and self.sock.receive(0) is None,
                            f"{what}: the response is delivered, once")


def fields_of(kind, number, port):
    """Fields of a control packet that would do harm if it were believed."""
    return {GRANT: grant(1_000_000, 7), RESEND: resend(0, -1), ACK: acks((number & ~1, port))}.get(
        kind, bytes(CONTROL_LEN[kind] - 28))
