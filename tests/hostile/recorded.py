# SPDX-License-Identifier: GPL-2.0 OR MIT
"""All packets of a long session, recorded and sent again in any order."""

import errno
import os
import random
import socket
import tempfile
import time
from collections import Counter

from homawire import NAMES, TLS_RX, TLS_TX, Growth, Keys, RawPeer, Socket, capture, diag, ip_payload, read_pcap, segments
from scene import OPTIONS, PORT, SLOW, script, watched

REKEYS = 10
REQUESTS = 80           # between two rekeys
OUTSTANDING = 24
PERIOD = 10             # seconds from one rekey to the next, if it is to take a certain time
rng = random.Random(3)

# What becomes of a packet that came before: its id or counter was seen, its key is gone, its RPC is over.
REASONS = {"TlsReplay", "drop_no_session", "drop_unknown_rpc"}


def a_size():
    """Most messages are short, most bytes are in long ones."""
    most = rng.choices((300, 10_000, 40_000), (70, 20, 10))[0]
    return rng.randrange(1, most)


class Talk:
    """Two sockets that exchange messages, in both directions, and keep changing their keys."""

    def __init__(self, s):
        self.s = s
        self.client, self.server = Socket(s.client, s.family), s.sock
        self.ends = ((self.client, s.server.ip(s.family), PORT, 0), (self.server, s.client.ip(s.family), self.client.port, 1))
        self.epoch = -1
        self.keys_to_set, self.waiting = [], {}
        self.requests = self.wrong = 0
        self.rekey()

    def rekey(self):
        """Gives both directions their next key while messages are under way: the receivers first."""
        self.epoch += 1
        keys = [Keys(f"{self.s.v} {way} {self.epoch}", epoch=self.epoch & 3) for way in (0, 1)]
        self.keys_to_set = [(sock, direction, peer, port, keys[way if direction == TLS_TX else 1 - way])
                            for direction in (TLS_RX, TLS_TX) for sock, peer, port, way in self.ends]

    def set_keys(self):
        while self.keys_to_set:
            sock, *key = self.keys_to_set[0]
            try:
                sock.set_key(*key)
            except OSError as e:
                if e.errno != errno.EBUSY:
                    raise
                return
            del self.keys_to_set[0]

    def pump(self):
        """Answers what came. True if something did."""
        came = False
        while got := self.server.receive(0):
            came = True
            self.requests += 1
            self.server.reply(got, got.data[::-1])
        while got := self.client.receive(0 if came else 0.01):
            came = True
            self.wrong += self.waiting.pop(got.cookie, None) != got.data[::-1] or got.flags != 1
        return came

    def request(self, cookie):
        data = rng.randbytes(a_size())
        self.waiting[cookie] = data
        self.client.request(data, *self.ends[0][1:3], cookie)

    def talk(self, requests):
        """So many round trips."""
        first, before = self.requests, len(self.waiting)
        for n in range(requests):
            self.request(rng.getrandbits(60))
            if n >= OUTSTANDING // 2:
                self.set_keys()
            while len(self.waiting) >= OUTSTANDING:
                self.pump()
        idle = 0
        while (self.waiting or self.keys_to_set) and idle < 500 * SLOW:
            idle = 0 if self.pump() else idle + 1
            self.set_keys()
        self.s.same((before, len(self.waiting), self.wrong, self.requests - first), (0, 0, 0, requests),
                    f"{requests} round trips with the keys of epoch {self.epoch}")


def record(s, talk):
    """A session's whole traffic: the packets to the server, and those to the client."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "recorded.pcap")
        with capture(s.server, path):
            talk.set_keys()
            start = time.monotonic()
            rekeys = REKEYS if OPTIONS.seconds is None else -(-OPTIONS.seconds // PERIOD)
            for n in range(rekeys):
                talk.talk(REQUESTS)
                talk.rekey()
                if OPTIONS.seconds is not None:
                    time.sleep(max(0, start + (n + 1) * PERIOD - time.monotonic()))
            talk.talk(REQUESTS)
            diag(f"{talk.requests} round trips, {rekeys} rekeys in {time.monotonic() - start:.0f} s")
            s.waits(lambda: s.live() == 0 == s.client.counters()["live_rpcs"], "all RPCs are over", 20)
        packets = [p for p in map(ip_payload, read_pcap(path)) if p and talk.client.port in (p.packet.sport, p.packet.dport)]
    kinds = Counter(("sealed " if p.packet.sealed else "plain ") + NAMES[p.packet.plain_type] for p in packets)
    s.check(not any("plain" in kind for kind in kinds), "all of it is sealed")
    return [[raw for p in packets if p.packet.dport == port for raw in segments(p.raw)] for port in (PORT, talk.client.port)], kinds


def unreclaimable():
    """KiB of the kernel's own memory."""
    return next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("SUnreclaim"))


@script
def replayed(s):
    """Invariant 3: all packets of a long session, sent again in any order, any number of times: nothing is delivered, nothing kept,
    each packet counted."""
    talk = Talk(s)
    (to_server, to_client), kinds = record(s, talk)
    diag(f"{len(to_server)} packets there, {len(to_client)} back; {dict(kinds)}")
    s.check(len(to_server) > 1000 < len(to_client), "there is much of it")
    replayers = (RawPeer(s.client, s.server, s.family, address=s.client.ip(s.family)),
                 RawPeer(s.server, s.client, s.family, address=s.server.ip(s.family)))
    # Nobody reads what these see: it is not to be kept.
    for raw_peer in (*replayers, s.peer):
        raw_peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        raw_peer.drain()

    def rounds():
        both = [(replayers[0], raw) for raw in to_server] + [(replayers[1], raw) for raw in to_client]
        yield "as they were", both
        yield "backwards", both[::-1]
        for n in range(3):
            yield f"shuffled, round {n}", rng.sample(both, len(both))
        some = rng.sample(both, len(both) // 8)
        yield "some, many times", rng.sample(some * 8, len(some) * 8)

    memory = []
    for name, packets in rounds():
        before = [side.counters() for side in (s.server, s.client)]
        for replayer, raw in packets:
            replayer.send(raw)
        for side, old, replayer in zip((s.server, s.client), before, replayers):
            sent = sum(r is replayer for r, _ in packets)
            s.waits(lambda: side.counters()["packets_received"] - old["packets_received"] >= sent, f"{name}: {sent} packets arrive", 30 + sent / 1000)
            now = side.counters()
            grown = {n: v - old[n] for n, v in now.items() if watched(n) and v != old[n]}
            s.check(set(grown) <= REASONS and sum(grown.values()) == sent, f"{name}: each is dropped and counted once: {grown}")
            s.same([now[n] for n in ("live_rpcs", "memory_receive", "memory_send")], [0, 0, 0], f"{name}: no RPC, no memory")
        s.check(not talk.pump() and not s.honest.receive(0), f"{name}: nothing is delivered")
        memory.append(unreclaimable())
    diag(f"the kernel's memory after each, KiB: {memory}")
    # The first two rounds fill what the kernel keeps for later (slabs, KASAN's quarantine); a leak grows with each.
    s.check(max(memory[2:]) - memory[1] < 4096, "the kernel's memory does not grow")

    # Beside live traffic of the same session.
    with Growth(s.server) as growth:
        for _ in range(10):
            for replayer, raw in rng.sample(packets, min(300, len(packets))):
                replayer.send(raw)
            talk.talk(20)
    s.same(growth.of("requests_received"), 200, "beside live traffic: each request is delivered once")
    s.same(growth.of("TlsDecryptError", "rpc_timeouts", "rpc_resets", "clients_lost"), 0, "and disturbed by nothing")
    for replayer in replayers:
        replayer.close()
    talk.client.close()
