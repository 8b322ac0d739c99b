# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Plain Homa: packets that are malformed, contradict each other or do not end; each has a twin that must work."""

import itertools
import random
import struct

from homawire import (ACK, BUSY, CONTROL_LEN, CUTOFFS, DATA, FREEZE, GRANT, MAX_MESSAGE, NAMES, NEED_ACK, RESEND, SEALED,
                      UNKNOWN, Assembler, Growth, Keys, Socket, acks, common, control_packet, cut_plain, data_packet,
                      diag, grant, resend, seal_message, sealed_control)
from scene import PORT, SLOW, script

rng = random.Random(1)
ids = itertools.count(1002, 2)


@script
def round_trip(s):
    """docs/wire.md: a well-formed request is delivered, answered and acknowledged (the twin of all below)."""
    for size in (1, 1400, 30000):
        data, number = rng.randbytes(size), next(ids)
        packets = cut_plain(0x8001, PORT, number, data)
        s.peer.send(*packets)
        got = s.sock.receive(5 * SLOW)
        if not s.check(got is not None and got.data == data, f"raw request of {size} bytes is delivered"):
            continue
        s.same(got.id, number | 1, "with its id")
        s.same(got.peer[:2], (s.peer.address, 0x8001), "and its sender")
        s.sock.reply(got, data[::-1])
        assembler = Assembler()
        s.check(s.peer.receive_message(assembler, number | 1), "the raw peer gets the response")
        s.same(assembler.plaintext(number | 1), data[::-1], "whole")
        s.peer.send(control_packet(ACK, 0x8001, PORT, number, acks((number, PORT))))
    s.waits(lambda: s.live() == 0, "acknowledged RPCs are gone")


@script
def order(s):
    """docs/wire.md: pieces in any order, overlapping, and again, are one message."""
    data, number = rng.randbytes(50000), next(ids)
    pieces = cut_plain(0x8001, PORT, number, data)
    for _ in range(30):
        at = rng.randrange(len(data) - 1)
        pieces.append(data_packet(0x8001, PORT, number, len(data), at, data[at:at + rng.randrange(1, 1400)]))
    pieces += pieces[:10]
    rng.shuffle(pieces)
    # Of a packet around bytes that are there already, a part may be used: so all of them several times.
    s.peer.send(*pieces * 4)
    got = s.sock.receive(5 * SLOW)
    s.check(got is not None and got.data == data, "pieces in any order and overlapping make the message")
    s.drops("drop_duplicate", *pieces, what="once")
    if got:
        s.sock.reply(got, b"x")
        s.peer.receive_message(Assembler(), number | 1)
        s.peer.send(control_packet(ACK, 0x8001, PORT, number, acks((number, PORT))))
    s.waits(lambda: s.live() == 0, "it is acknowledged")
    s.drops("drop_duplicate", *pieces, what="nor again when the RPC is gone")


@script
def truncated(s):
    """docs/wire.md, malformed packets: every type cut at every length of its header is short."""
    whole = {DATA: data_packet(0x8001, PORT, 0, 100, 0, b"x" * 50)}
    for kind, size in CONTROL_LEN.items():
        whole[kind] = control_packet(kind, 0x8001, PORT, 0, bytes(size - 28))
    keys = Keys("none")
    whole[DATA + SEALED] = seal_message(keys, 0x8001, PORT, 0, b"x" * 20)[0]
    for kind in CONTROL_LEN:
        whole[kind + SEALED] = sealed_control(kind, 0x8001, PORT, 0, keys, 0)
    for kind, packet in sorted(whole.items()):
        header = {DATA: 57, DATA + SEALED: 61}.get(kind, len(packet))
        s.drops("malformed_short", *(packet[:size] for size in range(header)), what=f"type {kind:#x}, cut")
    s.drops("malformed_type", *(common(kind, 0x8001, PORT, 2) + bytes(60) for kind in range(256) if kind not in whole),
            what="unknown types")


@script
def malformed(s):
    """docs/wire.md, malformed packets: each thing that can be wrong with a header has its counter."""
    def data(length, offset, payload, **more):
        return data_packet(more.pop("sport", 0x8001), more.pop("dport", PORT), next(ids), length, offset, b"x" * payload,
                           **more)
    s.drops("malformed_port", data(10, 0, 10, sport=0), data(10, 0, 10, dport=0),
            control_packet(RESEND, 0, PORT, 2), control_packet(RESEND, 0x8001, 0, 2), what="port 0")
    for length in (0, MAX_MESSAGE + 1, 0x7fffffff, 0xffffffff):
        s.drops("malformed_length", data(length, 0, 10), what=f"message of {length} bytes")
    for length, offset, payload in ((10, 0, 11), (10, 10, 1), (10, 9, 2), (1000, 0xfffffffe, 10), (1, 0x80000000, 1)):
        s.drops("malformed_place", data(length, offset, payload), what=f"{payload} bytes at {offset} of {length}")
        s.drops("malformed_place", data(length, 0, payload, segment_offset=offset),
                what=f"segment offset {offset} of {length}") if offset else None
    s.drops("malformed_place", control_packet(GRANT, 0x8001, PORT, 2, grant(0xfffffff0)), what="GRANT far beyond")
    s.drops("malformed_place", control_packet(RESEND, 0x8001, PORT, 2, resend(0xfffffff0, 10)),
            what="RESEND far beyond")
    s.drops("malformed_acks", control_packet(ACK, 0x8001, PORT, 2, struct.pack(">H", 6)),
            control_packet(ACK, 0x8001, PORT, 2, struct.pack(">H", 0xffff)), what="more acks than fit")
    s.drops("drop_no_socket", data(10, 0, 10, dport=4321), what="no such port")
    idle = Socket(s.server, s.family)
    s.drops("drop_not_server", data(10, 0, 10, dport=idle.port), what="not a server")
    idle.close()
    # An odd id is a response's.
    s.drops("drop_unknown_rpc", data_packet(0x8001, PORT, 4711, 10, 0, b"x" * 10), what="response to nothing")
    for kind in (GRANT, UNKNOWN, BUSY):
        s.drops("drop_unknown_rpc", control_packet(kind, 0x8001, PORT, next(ids)), what=f"{NAMES[kind]} for nothing")


@script
def contradiction(s):
    """docs/wire.md: a message is what its first packet says it is; later ones that say otherwise are dropped."""
    data, number = rng.randbytes(5000), next(ids)
    packets = cut_plain(0x8001, PORT, number, data)
    s.counts({}, packets[0], what="the first packet")
    s.drops("drop_refused", data_packet(0x8001, PORT, number, 5001, 1400, b"y" * 1400),
            data_packet(0x8001, PORT, number, 4999, 2800, b"y" * 1400), what="another message length")
    s.peer.send(*packets)
    got = s.sock.receive(5 * SLOW)
    s.check(got is not None and got.data == data, "and the message is delivered as it was")
    if got:
        s.sock.reply(got, b"ok")
        # What the wire may say about it now, in state order: none of it may confuse the server.
        for fields in (resend(0, -1), resend(0, 0), resend(1, 1), resend(2, 100000), resend(0, 1000000)):
            s.peer.send(control_packet(RESEND, 0x8001, PORT, number, fields))
        s.peer.send(control_packet(GRANT, 0x8001, PORT, number, grant(1000000, 255)))
        s.peer.send(control_packet(CUTOFFS, 0x8001, PORT, number, rng.randbytes(34)))
        s.peer.send(control_packet(FREEZE, 0x8001, PORT, number), control_packet(NEED_ACK, 0x8001, PORT, number))
        assembler = Assembler()
        s.check(s.peer.receive_message(assembler, number | 1), "it is answered")
        s.same(assembler.plaintext(number | 1), b"ok", "rightly")
        s.peer.send(control_packet(ACK, 0x8001, PORT, number, acks(*[(number, PORT)] * 5)))


@script
def questions(s):
    """docs/security.md, limits: a question about an RPC that there is not gets one short answer."""
    s.peer.drain()
    for _ in range(50):
        s.peer.send(control_packet(RESEND, 0x8002, PORT, next(ids), resend(0, -1)))
    answers = []
    while packet := s.peer.receive(0.5, port=0x8002):
        answers.append(packet.type)
    s.check(0 < len(answers) <= 50 and set(answers) == {UNKNOWN}, f"{len(answers)} UNKNOWNs for 50 RESENDs")
    # A NEED_ACK for an RPC of ours that is over: the client says so.
    s.peer.send(control_packet(NEED_ACK, 0x8002, PORT, 7777))
    packet = s.peer.receive(1, port=0x8002)
    s.check(packet is not None and packet.type == ACK, "NEED_ACK for nothing is answered by an ACK")


@script
def memory(s):
    """docs/security.md, limits: thousands of messages that never end take bounded memory, which comes back."""
    with Growth(s.server) as growth:
        s.peer.send(*(data_packet(0x8003, PORT, next(ids), MAX_MESSAGE, 0, b"x" * 100) for _ in range(2000)))
    live = s.live()
    s.check(0 < live < 500, f"2000 beginnings of messages: {live} RPCs")
    s.same(growth.of("drop_buffer_full") + live, 2000, "the others are counted")
    other = Socket(s.server, s.family, 98)
    s.honest.request(b"to another socket", s.server.ip(s.family), 98)
    got = other.receive(5)
    s.check(got is not None and got.data == b"to another socket", "another socket is not concerned")
    if got:
        other.reply(got, b"yes")
        s.check(s.honest.receive(5) is not None, "and answers")
    other.close()
    s.setting("timeout_ms", 1000)
    s.waits(lambda: s.live() == 0, "they are gone", 12)


@script
def noise(s):
    """docs/wire.md: packets with random changes harm nothing."""
    seeds = [data_packet(0x8004, PORT, 2000, 3000, 1400, rng.randbytes(1400)),
             seal_message(Keys("x"), 0x8004, PORT, 2000, b"abc" * 100)[0]]
    seeds += [control_packet(kind, 0x8004, PORT, 2000, bytes(size - 28)) for kind, size in CONTROL_LEN.items()]
    seeds += [sealed_control(kind, 0x8004, PORT, 2000, Keys("x"), 1) for kind in CONTROL_LEN]
    count = 3000
    before = s.server.counters()["packets_received"]
    with Growth(s.server) as growth:
        for _ in range(count):
            packet = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(min(len(packet), 64))
                packet[at] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256), packet[at] ^ 1 << rng.randrange(8)))
            if rng.random() < 0.2:
                del packet[rng.randrange(len(packet)):]
            s.peer.send(bytes(packet[:1480]))
        s.waits(lambda: s.server.counters()["packets_received"] >= before + count, f"{count} random packets arrive", 10)
    diag(growth.all())
    s.sock.drain()
