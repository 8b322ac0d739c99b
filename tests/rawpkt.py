#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Packets that no honest peer sends, byte by byte: they are dropped and counted, and harm nothing.

Usage: rawpkt.py [plain|sealed]...

The peer is this program (homawire.RawPeer); the server is a socket of the module on the server's side.
Every packet that must not work has a twin that must, so that a test which tests nothing fails.
"""

import errno
import random
import select
import socket
import struct
import sys
import time

from homawire import (ACK, BUSY, CONTROL_LEN, CUTOFFS, DATA, FREEZE, GRANT, HOMA_CMSG_KEY, IPPROTO_HOMA, MAX_MESSAGE, NAMES, NEED_ACK,
                      RESEND, SEALED, TLS_RX, TLS_TX, TLS13, UNKNOWN, Assembler, Growth, InvalidTag, Keys, Packet,
                      RawPeer, Side, Socket, acks, common, control_packet, cut_plain, data_packet, diag, end, grant,
                      nothing_left, ok, resend, same, seal_message, sealed_control, sealed_packet)

PORT = 99
rng = random.Random(1)


class Scene:
    """A server's socket, a raw peer, and an honest client whose traffic must go on."""

    def __init__(self, client, server, family):
        self.client, self.server, self.family = client, server, family
        self.v = "IPv4" if family == socket.AF_INET else "IPv6"
        self.sock = Socket(server, family, PORT)
        self.peer = RawPeer(client, server, family)
        self.honest = Socket(client, family)
        self.next_id = 1000
        self.next_port = 0x9000

    def id(self):
        self.next_id += 2
        return self.next_id

    def name(self, text):
        return f"{self.v}: {text}"

    def works(self, what):
        """The honest client's RPC."""
        data = rng.randbytes(20000)
        self.honest.request(data, self.server.ip(self.family), PORT, 5)
        while True:
            got = self.sock.receive(5)
            if got is None or got.data == data:
                break
        if not ok(got is not None, self.name(f"{what}: an honest request arrives")):
            return
        self.sock.reply(got, data[::-1])
        got = self.honest.receive(5)
        ok(got is not None and got.data == data[::-1], self.name(f"{what}: and is answered"))

    def grows(self, counter, *packets, by=None, what=None, source=None):
        """The packets are counted there, and nothing is delivered."""
        with Growth(self.server) as growth:
            self.peer.send(*packets, source=source)
            time.sleep(0.05)
        names = (counter,) if isinstance(counter, str) else counter
        got = growth.of(*names)
        good = got == (by or len(packets)) if isinstance(counter, str) else got >= 1
        if not ok(good, self.name(f"{what}: {' or '.join(names)} grows")):
            diag(f"by {got}, not {by or len(packets)}; what grew: {growth.all()}")
        if self.sock.receive(0) is not None:
            ok(False, self.name(f"{what}: nothing is delivered"))

    def close(self):
        for each in (self.sock, self.peer, self.honest):
            each.close()


# ---- Plain Homa ----------------------------------------------------------------------------------

def plain_round_trip(s):
    """The twin of all below: a well-formed request is delivered and answered, and acknowledged."""
    for size in (1, 1400, 30000):
        data, number = rng.randbytes(size), s.id()
        packets = cut_plain(0x8001, PORT, number, data)
        s.peer.send(*packets)
        got = s.sock.receive(2)
        if not ok(got is not None and got.data == data, s.name(f"raw request of {size} bytes is delivered")):
            continue
        same(got.id, number | 1, s.name("with its id"))
        same(got.peer[:2], (s.peer.address, 0x8001), s.name("and its sender"))
        s.sock.reply(got, data[::-1])
        assembler = Assembler()
        ok(s.peer.receive_message(assembler, number | 1), s.name("the raw peer gets the response"))
        same(assembler.plaintext(number | 1), data[::-1], s.name("whole"))
        s.peer.send(control_packet(ACK, 0x8001, PORT, number, acks((number, PORT))))
    time.sleep(0.2)
    same(s.server.counters()["live_rpcs"], 0, s.name("acknowledged RPCs are gone"))


def plain_order(s):
    """Pieces in any order, overlapping, and again: one message."""
    data, number = rng.randbytes(50000), s.id()
    pieces = cut_plain(0x8001, PORT, number, data)
    for _ in range(30):
        at = rng.randrange(len(data) - 1)
        pieces.append(data_packet(0x8001, PORT, number, len(data), at, data[at:at + rng.randrange(1, 1400)]))
    pieces += pieces[:10]
    rng.shuffle(pieces)
    # Of a packet around bytes that are there already, a part may be used: so all of them several times.
    s.peer.send(*pieces * 4)
    got = s.sock.receive(3)
    ok(got is not None and got.data == data, s.name("pieces in any order and overlapping make the message"))
    s.peer.send(*pieces)
    time.sleep(0.2)
    ok(s.sock.receive(0) is None, s.name("once"))
    if got:
        s.sock.reply(got, b"x")
        s.peer.receive_message(Assembler(), number | 1)
        s.peer.send(control_packet(ACK, 0x8001, PORT, number, acks((number, PORT))))
    # Its id is not used again even when the RPC is gone.
    time.sleep(0.2)
    s.peer.send(*pieces)
    time.sleep(0.2)
    ok(s.sock.receive(0) is None, s.name("nor again after it was acknowledged"))


def plain_truncated(s):
    """Every type, cut at every length."""
    whole = {DATA: data_packet(0x8001, PORT, 0, 100, 0, b"x" * 50)}
    for kind, size in CONTROL_LEN.items():
        whole[kind] = control_packet(kind, 0x8001, PORT, 0, bytes(size - 28))
    keys = Keys("none")
    whole[DATA + SEALED] = seal_message(keys, 0x8001, PORT, 0, b"x" * 20)[0]
    for kind in CONTROL_LEN:
        whole[kind + SEALED] = sealed_control(kind, 0x8001, PORT, 0, keys, 0)
    count = short = 0
    with Growth(s.server) as growth:
        for kind, packet in sorted(whole.items()):
            header = {DATA: 57, DATA + SEALED: 61}.get(kind, len(packet))
            for size in range(header):
                s.peer.send(packet[:size])
                count += 1
            short += header
        time.sleep(0.3)
    same(growth.of("packets_received"), count, s.name(f"{count} truncated packets of {len(whole)} types received"))
    same(growth.of("malformed_short"), short, s.name("all of them counted as short"))
    with Growth(s.server) as growth:
        types = [t for t in range(256) if t not in whole]
        for kind in types:
            s.peer.send(common(kind, 0x8001, PORT, 2) + bytes(60))
        time.sleep(0.2)
    same(growth.of("malformed_type"), len(types), s.name(f"{len(types)} unknown types"))
    s.works("after truncated packets")


def plain_malformed(s):
    """Each thing that can be wrong with a header, and its counter."""
    def data(length, offset, payload, **more):
        return data_packet(more.pop("sport", 0x8001), more.pop("dport", PORT), s.id(), length, offset, b"x" * payload,
                           **more)
    s.grows("malformed_port", data(10, 0, 10, sport=0), data(10, 0, 10, dport=0),
            control_packet(RESEND, 0, PORT, 2), control_packet(RESEND, 0x8001, 0, 2), what="port 0")
    for length in (0, MAX_MESSAGE + 1, 0x7fffffff, 0xffffffff):
        s.grows("malformed_length", data(length, 0, 10), what=f"message of {length} bytes")
    for length, offset, payload in ((10, 0, 11), (10, 10, 1), (10, 9, 2), (1000, 0xfffffffe, 10), (1, 0x80000000, 1)):
        s.grows("malformed_place", data(length, offset, payload), what=f"{payload} bytes at {offset} of {length}")
        s.grows("malformed_place", data(length, 0, payload, segment_offset=offset),
                what=f"segment offset {offset} of {length}") if offset else None
    s.grows("malformed_place", control_packet(GRANT, 0x8001, PORT, 2, grant(0xfffffff0)), what="GRANT far beyond")
    s.grows("malformed_place", control_packet(RESEND, 0x8001, PORT, 2, resend(0xfffffff0, 10)),
            what="RESEND far beyond")
    s.grows("malformed_acks", control_packet(ACK, 0x8001, PORT, 2, struct.pack(">H", 6)),
            control_packet(ACK, 0x8001, PORT, 2, struct.pack(">H", 0xffff)), what="more acks than fit")
    s.grows("drop_no_socket", data(10, 0, 10, dport=4321), what="no such port")
    s.grows("drop_not_server", data(10, 0, 10, dport=s.other_port), what="not a server")
    # An odd id is a response's.
    s.grows("drop_unknown_rpc", data_packet(0x8001, PORT, 4711, 10, 0, b"x" * 10), what="response to nothing")
    for kind in (GRANT, UNKNOWN, BUSY):
        s.grows("drop_unknown_rpc", control_packet(kind, 0x8001, PORT, s.id()), what=f"{NAMES[kind]} for nothing")
    s.works("after malformed packets")


def plain_contradiction(s):
    """Later packets of a message that say other things than the first."""
    data, number = rng.randbytes(5000), s.id()
    packets = cut_plain(0x8001, PORT, number, data)
    s.peer.send(packets[0])
    time.sleep(0.05)
    s.grows("drop_refused", data_packet(0x8001, PORT, number, 5001, 1400, b"y" * 1400),
            data_packet(0x8001, PORT, number, 4999, 2800, b"y" * 1400), what="another message length")
    s.peer.send(*packets)
    got = s.sock.receive(2)
    ok(got is not None and got.data == data, s.name("and the message is delivered as it was"))
    if got:
        s.sock.reply(got, b"ok")
        # What the wire may say about it now, in state order: none of it may confuse the server.
        for fields in (resend(0, -1), resend(0, 0), resend(1, 1), resend(2, 100000), resend(0, 1000000)):
            s.peer.send(control_packet(RESEND, 0x8001, PORT, number, fields))
        s.peer.send(control_packet(GRANT, 0x8001, PORT, number, grant(1000000, 255)))
        s.peer.send(control_packet(CUTOFFS, 0x8001, PORT, number, rng.randbytes(34)))
        s.peer.send(control_packet(FREEZE, 0x8001, PORT, number), control_packet(NEED_ACK, 0x8001, PORT, number))
        assembler = Assembler()
        ok(s.peer.receive_message(assembler, number | 1), s.name("it is answered"))
        same(assembler.plaintext(number | 1), b"ok", s.name("rightly"))
        s.peer.send(control_packet(ACK, 0x8001, PORT, number, acks(*[(number, PORT)] * 5)))
    s.works("after contradictions")


def plain_questions(s):
    """A RESEND for what is not there is answered by one UNKNOWN, not by a storm."""
    s.peer.drain()
    for _ in range(50):
        s.peer.send(control_packet(RESEND, 0x8002, PORT, s.id(), resend(0, -1)))
    answers = []
    while packet := s.peer.receive(0.5, port=0x8002):
        answers.append(packet.type)
    ok(0 < len(answers) <= 50 and set(answers) == {UNKNOWN}, s.name(f"{len(answers)} UNKNOWNs for 50 RESENDs"))
    # A NEED_ACK for an RPC of ours that is over: the client says so.
    s.peer.send(control_packet(NEED_ACK, 0x8002, PORT, 7777))
    packet = s.peer.receive(1, port=0x8002)
    ok(packet is not None and packet.type == ACK, s.name("NEED_ACK for nothing is answered by an ACK"))


def plain_memory(s):
    """Thousands of first packets of messages that never end: memory is bounded, and comes back."""
    size, before = MAX_MESSAGE, s.server.counters()["live_rpcs"]
    with Growth(s.server) as growth:
        for _ in range(2000):
            s.peer.send(data_packet(0x8003, PORT, s.id(), size, 0, b"x" * 100))
        time.sleep(0.3)
        live = s.server.counters()["live_rpcs"] - before
    ok(0 < live < 500, s.name(f"2000 beginnings of messages: {live} RPCs"))
    ok(growth.of("drop_buffer_full") >= 1500, s.name("the others are counted"))
    other = Socket(s.server, s.family, 98)
    s.honest.request(b"to another socket", s.server.ip(s.family), 98)
    got = other.receive(5)
    ok(got is not None and got.data == b"to another socket", s.name("another socket is not concerned"))
    if got:
        other.reply(got, b"yes")
        ok(s.honest.receive(5) is not None, s.name("and answers"))
    other.close()
    start = time.monotonic()
    while s.server.counters()["live_rpcs"] > before and time.monotonic() - start < 15:
        time.sleep(0.2)
    took = time.monotonic() - start
    ok(took < 12, s.name(f"they are gone after {took:.1f} s"))
    s.works("after memory was full")


def plain_noise(s):
    """Packets with random changes."""
    seeds = [data_packet(0x8004, PORT, 2000, 3000, 1400, rng.randbytes(1400)),
             seal_message(Keys("x"), 0x8004, PORT, 2000, b"abc" * 100)[0]]
    seeds += [control_packet(kind, 0x8004, PORT, 2000, bytes(size - 28)) for kind, size in CONTROL_LEN.items()]
    seeds += [sealed_control(kind, 0x8004, PORT, 2000, Keys("x"), 1) for kind in CONTROL_LEN]
    count = 3000
    with Growth(s.server) as growth:
        for _ in range(count):
            packet = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(min(len(packet), 64))
                packet[at] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256), packet[at] ^ 1 << rng.randrange(8)))
            if rng.random() < 0.2:
                del packet[rng.randrange(len(packet)):]
            s.peer.send(bytes(packet[:1480]))
        time.sleep(0.5)
    same(growth.of("packets_received"), count, s.name(f"{count} random packets received"))
    diag(growth.all())
    s.sock.drain()
    s.works("after noise")


# ---- Sealed Homa ---------------------------------------------------------------------------------

class Session:
    """The raw peer's end of a session."""

    def __init__(self, s):
        self.s = s
        s.next_port += 1
        self.port = s.next_port
        self.tx, self.rx = Keys(rng.random()), Keys(rng.random())
        s.sock.set_key(TLS_RX, s.peer.address, self.port, self.tx)
        s.sock.set_key(TLS_TX, s.peer.address, self.port, self.rx)
        self.next_id = 0
        self.counter = 0

    def id(self):
        self.next_id += 2
        return self.next_id - 2

    def seal(self, number, data, **more):
        return seal_message(self.tx, self.port, PORT, number, data, **more)

    def control(self, kind, number, fields=b""):
        self.counter += 1
        return sealed_control(kind, self.port, PORT, number, self.tx, self.counter, fields)

    def exchange(self, number, data, packets, what):
        """The packets are delivered as `data`, and the answer opens."""
        s = self.s
        s.peer.send(*packets)
        got = s.sock.receive(2)
        if not ok(got is not None and got.data == data, s.name(f"{what}: delivered")):
            return None
        same(got.flags, 1, s.name(f"{what}: as sealed"))
        s.sock.reply(got, data[::-1])
        assembler = Assembler(self.rx)
        packets = s.peer.receive_message(assembler, number | 1)
        if ok(packets, s.name(f"{what}: answered")):
            try:
                same(assembler.plaintext(number | 1), data[::-1], s.name(f"{what}: the answer opens"))
            except (InvalidTag, ValueError) as e:
                ok(False, s.name(f"{what}: the answer opens: {e!r}"))
        return packets


def sealed_round_trip(s):
    session = Session(s)
    for size, record_size in ((1, 1024), (100, 16384), (1016, 1024), (1017, 1024), (20000, 4096), (40000, 16384),
                              (3000, 64)):
        number = session.id()
        data = rng.randbytes(size)
        session.exchange(number, data, session.seal(number, data, record_size=record_size,
                                                    floor_distance=0), f"{size} bytes in records of {record_size}")
    s.works("beside a session")


def sealed_replay(s):
    """The same packets again: while the RPC runs, after its answer, and when it is dead."""
    session = Session(s)
    data, number = rng.randbytes(3000), session.id()
    packets = session.seal(number, data)
    s.peer.send(*packets)
    got = s.sock.receive(2)
    ok(got is not None and got.data == data, s.name("replay: first delivery"))
    s.grows(("TlsReplay", "drop_duplicate"), *packets, what="replay while the RPC runs")
    if got:
        s.sock.reply(got, b"answer")
    time.sleep(0.1)
    s.grows(("TlsReplay", "drop_duplicate"), *packets, what="replay after the answer")
    # The next request says that this one is done.
    second = session.id()
    session.exchange(second, b"next", session.seal(second, b"next", floor_distance=0), "replay: next request")
    time.sleep(0.1)
    s.grows("TlsReplay", *packets, what="replay of a dead id")
    # Far later ones, and far earlier ones.
    session.next_id = 60000
    far = session.id()
    session.exchange(far, b"far", session.seal(far, b"far", floor_distance=20000), "an id far ahead, within the window")
    old = 2 * (30000 - 20000 - 1)
    s.grows("TlsReplay", *session.seal(old, b"old"), what="an id below the floor")
    late = 2 * (30000 - 20000)
    session.exchange(late, b"late", session.seal(late, b"late"), "an id at the floor")


def sealed_flips(s):
    """A bit changed anywhere is detected; what was really sent still gets through."""
    session = Session(s)
    drops = ("TlsDecryptError", "drop_refused", "drop_unknown_rpc", "drop_no_session", "TlsReplay", "malformed_record",
             "malformed_place", "malformed_id", "malformed_length", "malformed_format", "malformed_reserved",
             "malformed_port", "malformed_type", "drop_no_socket", "drop_plain", "drop_duplicate", "malformed_short",
             "drop_not_server")
    fields = {
        "destination port": [2, 3], "sequence": [4, 5, 6, 7], "type": [11],
        "message id": list(range(20, 28)), "message length": [28, 29, 30, 31],
        "first record": [50, 51], "segment offset": [52, 53, 54, 55],
        "seal flags": [58], "format": [59],
        "record header": list(range(60, 65)), "preamble": list(range(65, 73)), "payload": [73, 100, 150],
        "content type": [-17], "tag": [-16, -8, -1],
    }
    for field, places in fields.items():
        flips = [(at, bit) for at in places for bit in ((0, 3, 7) if len(places) < 5 else (rng.randrange(8),))]
        bad = []
        for at, bit in flips:
            number = session.id()
            data = rng.randbytes(200)
            packet = session.seal(number, data)[0]
            changed = bytearray(packet)
            changed[at] ^= 1 << bit
            if field == "message id" and changed[at] & 1 != packet[at] & 1 and at == 27:
                bit = 1
                changed[27] = packet[27] ^ 2
            with Growth(s.server) as growth:
                s.peer.send(bytes(changed))
                time.sleep(0.02)
            if s.sock.receive(0) is not None:
                bad.append(f"byte {at} bit {bit}: delivered")
            # What claims to be a part of something longer is kept for a while, unproven, as it may be true.
            if not growth.of(*drops) and not (field == "message length" and growth.of("live_rpcs") == 1):
                bad.append(f"byte {at} bit {bit}: not counted: {growth.all()}")
            s.peer.send(packet)
            got = s.sock.receive(1)
            if got is None or got.data != data:
                bad.append(f"byte {at} bit {bit}: and then the true one is not delivered")
            else:
                s.sock.reply(got, b"y")
        ok(not bad, s.name(f"{field}: {len(flips)} flipped bits are detected, and the true packets delivered"))
        for line in bad[:5]:
            diag(line)
    # Fields that say nothing about the message may change without harm: whoever can write them can drop packets.
    number, data = session.id(), rng.randbytes(200)
    packet = bytearray(session.seal(number, data)[0])
    packet[32:36] = bytes(4)        # incoming
    packet[46:48] = b"\xff\xff"     # cutoff version
    session.exchange(number, data, [bytes(packet)], "fields that are only advice")


def sealed_structure(s):
    """Lengths and records that lie, each with a valid tag on what there is."""
    session = Session(s)

    # Lowered to a record boundary: record 0 opens, and its preamble tells the true length.
    number, data = session.id(), rng.randbytes(2000)
    packets = session.seal(number, data)
    first = Packet(packets[0])
    short = sealed_packet(session.port, PORT, number, 1024, 1024, 0, 0, first.payload)
    s.grows("TlsDecryptError", short, by=1, what="message cut at a record's end")
    session.exchange(number, data, packets, "the whole message")

    # The preamble disagrees with the clear length, though all authenticates.
    for length in (1999, 2001, 0, MAX_MESSAGE + 1):
        number = session.id()
        lie = struct.pack(">IHBB", length, 0, 0, 0)
        s.grows("TlsDecryptError", *session.seal(number, data, preamble=lie), by=1,
                what=f"preamble of {length} for 2000 bytes")
    number = session.id()
    s.grows("TlsDecryptError", *session.seal(number, data[:500], preamble=struct.pack(">IHBB", 500, 0, 0x80, 0)), by=1,
            what="reserved flag in the preamble")

    # Records of two messages mixed, and two of one message swapped.
    one, two = session.id(), session.id()
    a, b = session.seal(one, data), session.seal(two, data[::-1])
    mixed = [a[0]] + [sealed_packet(session.port, PORT, one, 2008, 1024, 1, 0, Packet(b[1]).payload)]
    s.grows("TlsDecryptError", *mixed, by=1, what="a record of another message")
    session.exchange(one, data, a, "the true record")
    session.exchange(two, data[::-1], b, "the other message")
    three = session.id()
    long = session.seal(three, data + data)
    swapped = [sealed_packet(session.port, PORT, three, 4008, 1024, i, 0, Packet(long[j]).payload)
               for i, j in ((0, 0), (1, 2), (2, 1), (3, 3))]
    s.grows(("TlsDecryptError",), *swapped, what="records swapped")
    session.exchange(three, data + data, long, "in their places")

    # The record size, which decides where records end.
    number = session.id()
    packets = session.seal(number, data)
    for size in (1023, 1025, 512, 2048, 16384):
        changed = [p[:52] + struct.pack(">IH", Packet(p).first_record * size, size) + p[58:] for p in packets]
        s.peer.send(*changed)
    time.sleep(0.1)
    ok(s.sock.receive(0) is None, s.name("another record size: not delivered"))
    session.exchange(number, data, packets, "the true record size")

    # Sealed for another direction: what the server sends, sent back to it.
    number = session.id()
    answers = session.exchange(number, b"mirror", session.seal(number, b"mirror"), "mirror")
    if answers:
        for flip in (0, 1):
            back = bytearray(answers[0].raw)
            back[0:4] = struct.pack(">HH", session.port, PORT)
            back[27] ^= flip
            s.grows(("TlsDecryptError", "TlsReplay", "drop_unknown_rpc", "drop_duplicate", "drop_refused"), bytes(back),
                    what="an answer sent back")

    # Another epoch (see sealed_epochs), another TLS version, the IP identification as place.
    for flags, what in ((TLS13 | 1, "epoch 1"), (TLS13 | 3, "epoch 3"), (0, "TLS 1.2")):
        number = session.id()
        s.grows(("TlsDecryptError", "drop_no_session"), *session.seal(number, b"abc", flags=flags), what=what)
        session.exchange(number, b"abc", session.seal(number, b"abc"), f"not {what}")
    for record_size, first, sequence, payload, counter in (
            (63, 0, 0, 50, "malformed_record"), (16385, 0, 0, 50, "malformed_record"), (0, 0, 0, 50, "malformed_record"),
            (1024, 2, 0, 50, "malformed_record"), (1024, 0xffff, 0, 50, "malformed_record"),
            (1024, 0, 3000, 50, "malformed_place"), (1024, 0, 0xffffffff, 1, "malformed_place")):
        s.grows(counter, sealed_packet(session.port, PORT, session.id(), 2008, record_size, first, sequence,
                                       b"x" * payload), what=f"records of {record_size}, {first}, {sequence}")
    for length in (0, 8, (1 << 20) + 1, 0xffffffff):
        s.grows("malformed_length", sealed_packet(session.port, PORT, session.id(), length, 1024, 0, 0, b"x" * 50),
                what=f"sealed message of {length}")
    for number in (1 << 47, 1 << 63, (1 << 64) - 2):
        s.grows("malformed_id", sealed_packet(session.port, PORT, number, 100, 1024, 0, 0, b"x" * 50),
                what=f"message id {number:#x}")
    s.works("after sealed lies")


def sealed_epochs(s):
    """Keys of the epoch before live on while messages of it may be under way; others are dropped and counted."""
    session = Session(s)
    keys = [session.tx] + [Keys(rng.random(), epoch=n & 3) for n in range(1, 9)]

    def install(epoch):
        s.sock.set_key(TLS_RX, s.peer.address, session.port, keys[epoch])

    def exchange(epoch, what, floor=None):
        session.tx = keys[epoch]
        number, data = session.id(), b"of an epoch" * 300
        distance = 0 if floor is None else (number - floor) // 2
        session.exchange(number, data, session.seal(number, data, floor_distance=distance), what)

    def unknown(epoch, what):
        number = session.id()
        s.grows("drop_no_session", *seal_message(keys[epoch], session.port, PORT, number, b"abc"), what=what)
        s.grows("drop_no_session", sealed_control(NEED_ACK, session.port, PORT, number | 1, keys[epoch],
                                                  1000 + number), what=f"{what}: control")

    exchange(0, "epoch 0")
    unknown(1, "epoch 1 before its key")
    held, data = session.id(), rng.randbytes(20000)
    packets = session.seal(held, data)
    s.peer.send(*packets[:5])
    install(1)
    exchange(0, "epoch 0, when there is a key of epoch 1", held)
    exchange(1, "epoch 1", held)
    exchange(0, "epoch 0 again", held)
    install(2)
    unknown(3, "epoch 3")
    exchange(1, "epoch 1, when there is a key of epoch 2", held)
    # A message of epoch 0 that began before epoch 1 did: the rest of it, late.
    session.exchange(held, data, packets[5:], "the rest of a message of epoch 0")
    # One epoch's records do not open in another's name.
    number = session.id()
    s.grows("TlsDecryptError", *seal_message(keys[0], session.port, PORT, number, b"abc", flags=TLS13 | 1),
            what="epoch 0 says it is 1")
    s.grows("TlsDecryptError", *seal_message(keys[1], session.port, PORT, number, b"abc", flags=TLS13 | 2),
            what="epoch 1 says it is 2")
    held = session.id()
    late = seal_message(keys[0], session.port, PORT, held, data)
    s.peer.send(*late[:5])
    # The peer uses epoch 2, so it has no messages of epoch 0: its key goes.
    exchange(2, "epoch 2", held)
    time.sleep(0.1)
    s.grows("drop_no_session", *late[5:], what="the rest of a message of epoch 0 when its key is gone")
    unknown(0, "epoch 0 when its key is gone")
    exchange(1, "epoch 1 still")
    for epoch in range(3, 9):
        install(epoch)
        exchange(epoch, f"epoch {epoch}")
        exchange(epoch - 1, f"epoch {epoch - 1} still")
        unknown(epoch - 2, f"epoch {epoch - 2} no more")
    # What was replayed from long ago has the number of another key now.
    number = session.id()
    s.grows("TlsDecryptError", *seal_message(keys[4], session.port, PORT, number, b"abc"), what="epoch 4 for 8")


def sealed_forged(s):
    """In a session, what nobody authenticated changes nothing."""
    session = Session(s)
    session.id()        # Acknowledgments in DATA cannot name id 0.
    data, number = rng.randbytes(3000), session.id()
    s.peer.send(*session.seal(number, data))
    got = s.sock.receive(2)
    ok(got is not None, s.name("forged control: a request is there"))
    live = s.server.counters()["live_rpcs"]
    for kind in (GRANT, RESEND, UNKNOWN, BUSY, CUTOFFS, FREEZE, NEED_ACK, ACK):
        fields = acks((number, PORT)) if kind == ACK else bytes(CONTROL_LEN[kind] - 28)
        s.grows("drop_plain", control_packet(kind, session.port, PORT, number, fields), what=f"forged {NAMES[kind]}")
    s.grows("drop_plain", data_packet(session.port, PORT, number, 3000, 0, b"x" * 1400), what="plain DATA of its id")
    s.grows("drop_plain", data_packet(session.port, PORT, number + 100, 3000, 0, b"x" * 1400, ack=(number, PORT)),
            what="plain DATA with an acknowledgment")
    same(s.server.counters()["live_rpcs"], live, s.name("forged control: the RPC is still there"))
    # The tags are checked, not only the types.
    for kind in (GRANT, RESEND, UNKNOWN, BUSY, NEED_ACK, ACK):
        fields = {ACK: acks((number, PORT)), RESEND: resend(0, -1), GRANT: grant(3000)}.get(kind, b"")
        packet = bytearray(session.control(kind, number, fields))
        packet[-1] ^= 1
        s.grows("TlsDecryptError", bytes(packet), what=f"sealed {NAMES[kind]} with a wrong tag")
        packet = bytearray(session.control(kind, number, fields))
        packet[27] ^= 2
        s.grows("TlsDecryptError", bytes(packet), what=f"sealed {NAMES[kind]} for another id")
    same(s.server.counters()["live_rpcs"], live, s.name("wrong tags: the RPC is still there"))
    good = session.control(RESEND, number, resend(0, -1))
    s.grows("malformed_trailing", good + b"x", what="sealed control with a byte more")
    flagged = bytearray(good)
    flagged[6] |= 0x80
    s.grows("malformed_reserved", bytes(flagged), what="sealed control with a reserved bit")
    flagged = bytearray(good)
    flagged[7] = 9
    s.grows("malformed_format", bytes(flagged), what="sealed control of another format")
    if got:
        s.sock.reply(got, data[::-1])
        assembler = Assembler(session.rx)
        if ok(s.peer.receive_message(assembler, number | 1), s.name("after all that the request is answered")):
            same(assembler.plaintext(number | 1), data[::-1], s.name("rightly"))
        # Nor can a forged acknowledgment make the server forget the answer.
        s.grows("drop_plain", control_packet(ACK, session.port, PORT, number, acks((number, PORT))),
                what="forged ACK of an answer")
        s.grows("drop_plain", data_packet(session.port, PORT, number + 100, 3000, 0, b"x" * 1400, ack=(number, PORT)),
                what="plain DATA with an acknowledgment of an answer")
        s.peer.drain()
        with Growth(s.server) as growth:
            s.peer.send(good)
            ok(s.peer.receive_message(Assembler(), number | 1), s.name("a true RESEND is obeyed"))
        ok(growth.of("retransmits") >= 1, s.name("and counted"))
        s.peer.drain()
        s.grows("TlsReplay", good, good, what="the same RESEND again")
        answers = []
        while packet := s.peer.receive(0.3):
            answers.append(packet)
        ok(all(p.plain_type != DATA for p in answers), s.name(f"is not obeyed: {answers}"))
    # Nobody without keys gets sealed messages in.
    s.grows("drop_no_session", sealed_packet(0x8005, PORT, 2, 100, 1024, 0, 0, b"x" * 122), what="no session")
    s.grows("drop_no_session", sealed_control(RESEND, 0x8005, PORT, 2, session.tx, 9), what="control without session")
    s.works("after forgeries")


def sealed_unproven(s):
    """A flood of forged first packets: little state, and it does not keep the true ones out for long."""
    session = Session(s)
    before = s.server.counters()["live_rpcs"]
    for _ in range(3000):
        s.peer.send(sealed_packet(session.port, PORT, session.id(), 900000, 1024, 5, 0, b"x" * 100))
    time.sleep(0.2)
    live = s.server.counters()["live_rpcs"] - before
    ok(live <= 300, s.name(f"3000 forged beginnings make {live} RPCs"))
    ok(s.sock.receive(0) is None, s.name("and no message"))
    other = Session(s)
    number = other.id()
    other.exchange(number, b"honest", other.seal(number, b"honest"), "another session meanwhile")
    start = time.monotonic()
    while s.server.counters()["live_rpcs"] > before + 1 and time.monotonic() - start < 15:
        time.sleep(0.2)
    ok(s.server.counters()["live_rpcs"] <= before + 1, s.name(f"gone after {time.monotonic() - start:.1f} s"))
    number = session.id()
    session.exchange(number, b"true", session.seal(number, b"true"), "the flooded session afterwards")


def sealed_worn(s):
    """What does not open uses a key up: the program is told at half, and at the limit nothing goes or comes."""
    def limit(value):
        with s.server, open("/proc/sys/net/homa/test_key_failures", "w") as f:
            f.write(str(value))

    def forge(count):
        for _ in range(count):
            packet = bytearray(session.control(RESEND, number, resend(0, -1)))
            packet[-1] ^= 1
            s.grows("TlsDecryptError", bytes(packet), what="forged control")

    limit(8)
    session = Session(s)
    limit(0)
    number = session.id()
    poller = select.poll()
    poller.register(s.sock.sock, select.POLLPRI)
    forge(3)
    same(poller.poll(0), [], s.name("no POLLPRI below half"))
    forge(1)
    same([events for _, events in poller.poll(1000)], [select.POLLPRI], s.name("POLLPRI at half"))
    s.sock.sock.settimeout(0)       # else Python itself waits until there is a message
    _, ancillary, _, name = s.sock.sock.recvmsg(0, 200, socket.MSG_ERRQUEUE)
    s.sock.sock.settimeout(10)
    _, kind, data = ancillary[0]
    same((kind, *struct.unpack_from("=QQI", data)), (HOMA_CMSG_KEY, 4, 8, TLS_RX), s.name("and a control message"))
    same(name[1], session.port, s.name("with the peer"))
    session.exchange(number, b"before", session.seal(number, b"before"), "not yet used up")
    number = session.id()
    forge(4)
    same(poller.poll(0), [], s.name("told once"))
    s.grows("TlsDecryptError", *session.seal(number, b"after"), what="a true record after the limit")
    try:
        s.sock.request(b"x", s.peer.address, session.port)
        ok(False, s.name("sending is refused"))
    except OSError as e:
        same(e.errno, errno.EKEYEXPIRED, s.name("sending is refused"))


def sealed_noise(s):
    session = Session(s)
    number = session.id()
    seeds = session.seal(number, rng.randbytes(3000)) + [session.control(k, number) for k in CONTROL_LEN]
    count = 2000
    with Growth(s.server) as growth:
        for _ in range(count):
            packet = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(packet) if rng.random() < 0.3 else min(len(packet), 66))
                packet[at] ^= 1 << rng.randrange(8)
            s.peer.send(bytes(packet))
        time.sleep(0.3)
    same(growth.of("packets_received"), count, s.name(f"{count} sealed packets with random changes"))
    diag(growth.all())
    s.sock.drain()
    s.works("after sealed noise")
    fresh = session.id()
    session.exchange(fresh, b"fine", session.seal(fresh, b"fine"), "the session afterwards")


PLAIN = (plain_round_trip, plain_order, plain_truncated, plain_malformed, plain_contradiction, plain_questions,
         plain_noise, plain_memory)
SEALED_TESTS = (sealed_round_trip, sealed_replay, sealed_flips, sealed_structure, sealed_epochs, sealed_forged,
                sealed_noise, sealed_unproven, sealed_worn)


def main():
    client, server = Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")
    wanted = sys.argv[1:] or ["plain", "sealed"]
    if set(wanted) - {"plain", "sealed"} - {t.__name__ for t in PLAIN + SEALED_TESTS}:
        sys.exit(__doc__)
    for family in (socket.AF_INET, socket.AF_INET6):
        for group, tests in (("plain", PLAIN), ("sealed", SEALED_TESTS)):
            for test in tests:
                if group in wanted or test.__name__ in wanted:
                    scene = Scene(client, server, family)
                    with server:
                        idle = socket.socket(family, socket.SOCK_DGRAM, IPPROTO_HOMA)
                    scene.other_port = idle.getsockname()[1]
                    try:
                        test(scene)
                    except Exception as e:     # noqa: BLE001 - a test that dies is a failed one
                        ok(False, scene.name(f"{test.__name__} ends: {e!r}"))
                        import traceback
                        diag(traceback.format_exc())
                    idle.close()
                    scene.close()
    nothing_left(client, server)
    end()


main()
