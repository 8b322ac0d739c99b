#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""What travels in a sealed session, looked at from outside.

Usage: capture.py [--selftest]

Two sockets of the module exchange messages while tcpdump listens. An implementation that shares nothing with the
module (homawire) then opens every message from the capture and the keys, compares it with what was sent, and
changes bits to see them detected. The payload must not be in the capture, though it is in one of plain Homa; and
captured requests that are sent again must not be delivered.

--selftest checks the opener alone, without the module, against messages that it sealed itself.
"""

import os
import random
import socket
import sys
import tempfile
import time

from homawire import (DATA, IPPROTO_HOMA, SO_HOMA_PADDING, TLS_RX, TLS_TX, Assembler, Growth, InvalidTag, Keys, Packet, RawPeer, Side, Socket, bail,
                      capture, diag, end, ip_payload, of_epoch, ok, read_pcap, records, same, seal_message,
                      segments)

PORT = 99
MARKER = b"the plans are under the third oak"
SIZES = (1, 2, 60, 1000, 1392, 1400, 1500, 8192, 16384, 65536, 100000, 1000000)
# The same as they are sent, a part of them in each epoch.
IN_EPOCHS = [SIZES[epoch::4] for epoch in range(4)]
SENT = [size for sizes in IN_EPOCHS for size in sizes]
rng = random.Random(7)


def text(size, number):
    """A message that says who it is, all over."""
    word = MARKER + b" %d; " % number
    return (word * (size // len(word) + 1))[:size]


def opens(assembler, key):
    try:
        return assembler.plaintext(key)
    except (InvalidTag, ValueError):
        return None


def tamper(packets, keys, number, sent, name):
    """Changes one bit at a time of what a message's packets say; none may open as before."""
    def attempt(change):
        assembler = Assembler(keys)
        keys_of = set()
        for n, raw in enumerate(packets):
            raw = bytearray(raw)
            change(n, raw)
            packet = Packet(bytes(raw))
            try:
                if not packet.sealed or packet.plain_type != DATA:
                    return None
                keys_of.add(packet.id)
                assembler.add(packet)
            except (ValueError, MemoryError, ZeroDivisionError):
                return None
        for key in keys_of:
            got = opens(assembler, key)
            if got is not None:
                return key, got
        return None

    same(attempt(lambda n, raw: None), (number, sent), f"{name}: unchanged, it opens")
    # (field, bytes of it, in all packets or only in one)
    for field, places, everywhere in (
            ("payload", None, False), ("message length", range(29, 32), True), ("message id", range(22, 28), True),
            ("record index", range(50, 52), True), ("record index of one packet", range(50, 52), False),
            ("segment offset", range(52, 56), False), ("place in the segment", range(5, 8), False),
            ("record size", range(56, 58), True)):
        if field == "record size" and len(records(Packet(packets[0]).length, Packet(packets[0]).record_size)) == 1:
            continue        # It says nothing there.
        undetected = []
        for _ in range(24):
            victim = rng.randrange(len(packets))
            at = rng.randrange(60, len(packets[victim])) if places is None else rng.choice(places)
            bit = 1 << rng.randrange(8)

            def change(n, raw, victim=victim, at=at, bit=bit, everywhere=everywhere):
                if everywhere or n == victim:
                    raw[at] ^= bit
            got = attempt(change)
            if got is not None:
                undetected.append((victim, at, bit, got[0]))
        ok(not undetected, f"{name}: a changed bit of the {field} is detected")
        for line in undetected[:3]:
            diag(line)


CIPHERS = ((3, 128), (3, 256), (2, 128), (2, 256))


def selftest(keys):
    for size in (1, 2, 1015, 1016, 1017, 5000, 70000):
        data = rng.randbytes(size)
        packets = seal_message(keys, 0x8001, PORT, 8, data, record_size=rng.choice((64, 1000, 1024, 16384)))
        rng.shuffle(packets)
        assembler = Assembler(keys)
        for packet in packets + packets[:2]:
            assembler.add(Packet(packet))
        same(opens(assembler, 8), data, f"self-made message of {size} bytes opens")
    data = rng.randbytes(3000)
    tamper(seal_message(keys, 0x8001, PORT, 8, data), keys, 8, data, "self-made")
    assembler = Assembler(Keys("other", keys.minor))
    for packet in seal_message(keys, 0x8001, PORT, 8, data):
        assembler.add(Packet(packet))
    same(opens(assembler, 8), None, "other keys open nothing")


def exchange(client, server, address, sizes, first=0):
    """Sends messages and answers; the texts in the order of sending."""
    texts = []
    for number, size in enumerate(sizes, first):
        request, response = text(size, 2 * number), text(size, 2 * number + 1)
        client.request(request, address, PORT, number)
        got = server.receive()
        if got is None or got.data != request:
            bail(f"request of {size} bytes did not arrive")
        server.reply(got, response)
        got = client.receive()
        if got is None or got.data != response:
            bail(f"response of {size} bytes did not arrive")
        texts.append((request, response))
    return texts


def captured(path, port):
    """Homa packets from and to the client's port, by direction, in the order of capture."""
    there, back = [], []
    for frame in read_pcap(path):
        parsed = ip_payload(frame)
        if parsed is None:
            continue
        if parsed.packet.sport == port:
            there.append(parsed)
        elif parsed.packet.dport == port:
            back.append(parsed)
    return there, back


def test_plain(client_side, server_side, family, directory):
    """The capture shows the text, and so would show it below."""
    v = "IPv4" if family == socket.AF_INET else "IPv6"
    address = server_side.ip(family)
    server = Socket(server_side, family, PORT)
    client = Socket(client_side, family)
    path = os.path.join(directory, f"plain{v}.pcap")
    with capture(server_side, path):
        exchange(client, server, address, SIZES[:9])
    raw = open(path, "rb").read()
    ok(raw.count(MARKER) > 100, f"{v}: plain Homa: the text is {raw.count(MARKER)} times in the capture")
    client.close()
    server.close()


def test(client_side, server_side, family, directory, minor, bits):
    v = "IPv4" if family == socket.AF_INET else "IPv6"
    address = server_side.ip(family)
    server = Socket(server_side, family, PORT)
    client = Socket(client_side, family)
    port = client.port
    # Epochs 0 to 3 of each direction.
    to_server, to_client = ([Keys(f"{v} {way} {epoch}", minor, bits, epoch) for epoch in range(4)]
                            for way in ("there", "back"))
    v += f" TLS 1.{minor} AES-{bits}"
    ends = ((server, client_side.ip(family), port, to_client, to_server), (client, address, PORT, to_server, to_client))
    path = os.path.join(directory, "sealed.pcap")
    texts = []
    with capture(server_side, path):
        for epoch in range(4):
            for direction in (TLS_RX, TLS_TX):
                for sock, peer, peer_port, tx, rx in ends:
                    sock.set_next_key(direction, peer, peer_port, (tx if direction == TLS_TX else rx)[epoch])
            texts += exchange(client, server, address, IN_EPOCHS[epoch], len(texts))
    raw = open(path, "rb").read()
    ok(len(raw) > 2 * sum(SIZES), f"{v}: sealed: captured {len(raw)} bytes")
    for needle in (MARKER, MARKER[:8], MARKER[-8:]):
        same(raw.count(needle), 0, f"{v}: sealed: {needle.decode()!r} is not among them")

    there, back = captured(path, port)
    plain = [p.packet for p in there + back if not p.packet.sealed]
    same(plain, [], f"{v}: sealed: no plain packet")
    for parsed_packets, keys, bit, name in ((there, to_server, 0, "request"), (back, to_client, 1, "response")):
        assembler = Assembler(keys)
        for parsed in parsed_packets:
            packet = parsed.packet
            if packet.plain_type == DATA:
                assembler.add(packet)
            else:
                try:
                    of_epoch(keys, packet.seal_flags).check_tag(packet.counter, packet.aad, packet.tag)
                except InvalidTag:
                    ok(False, f"{v}: the tag of {packet} is right")
        for number, pair in enumerate(texts):
            key = 2 * number + bit
            got = opens(assembler, key) if key in assembler.total else None
            ok(got == pair[bit], f"{v}: {name} of {len(pair[bit])} bytes opens to what was sent")
        epochs = {p.packet.seal_flags & 3 for p in parsed_packets}
        same(epochs, set(range(4)), f"{v}: {name}s of all epochs")
        same(sorted(assembler.total), [2 * n + bit for n in range(len(texts))], f"{v}: no other {name} was sent")
        # One of a single packet, and one of many records.
        for number in (SENT.index(1000), SENT.index(100000)):
            packets = [p.raw for p in parsed_packets if p.packet.plain_type == DATA and p.packet.id == 2 * number + bit]
            tamper(packets, keys, 2 * number + bit, texts[number][bit], f"{v}: {name} of {SENT[number]} bytes")

    # All that the client sent, once more.
    replayer = RawPeer(client_side, server_side, family, address=client_side.ip(family))
    again = [packet for parsed in there for packet in segments(parsed.raw)]
    ok(len(again) > 500, f"{v}: {len(again)} packets to be sent again")
    with Growth(server_side) as growth:
        replayer.send(*again)
        time.sleep(0.3)
    ok(server.receive(0.2) is None, f"{v}: captured requests sent again are not delivered")
    same(growth.of("requests_received"), 0, f"{v}: nor counted as requests")
    ok(growth.of("TlsReplay", "drop_duplicate") > 0, f"{v}: but as replays")
    ok(growth.of("drop_no_session") > 0, f"{v}: or as of an epoch whose key is gone")
    ok(growth.of("TlsReplay", "drop_duplicate", "drop_no_session") >= len(again) // 2, f"{v}: most of them")
    diag(growth.all())

    # Changed and sent at the module: see hostile/flips.py for every field; here the captured bytes themselves.
    with Growth(server_side) as growth:
        for packet in [packet for packet in again if Packet(packet).seal_flags & 3 == 3][:40]:
            raw = bytearray(packet)
            raw[-1] ^= 1
            raw[22] ^= 0x10        # an id that was never seen
            replayer.send(bytes(raw))
        time.sleep(0.3)
    ok(server.receive(0.2) is None, f"{v}: captured packets with another id are not delivered")
    ok(growth.of("TlsDecryptError", "TlsReplay", "drop_refused", "drop_duplicate", "malformed_trailing") > 0,
       f"{v}: but counted")
    exchange_ok = exchange(client, server, address, (5000,))
    same(len(exchange_ok), 1, f"{v}: the session works afterwards")
    replayer.close()
    client.close()
    server.close()


def test_padding(client_side, server_side, family, directory):
    """Messages of all lengths look the same, and arrive as they were."""
    v = "IPv4" if family == socket.AF_INET else "IPv6"
    server, client = Socket(server_side, family, PORT), Socket(client_side, family)
    there, back = Keys(f"{v} padded there"), Keys(f"{v} padded back")
    for direction in (TLS_RX, TLS_TX):
        server.set_key(direction, client_side.ip(family), client.port, back if direction == TLS_TX else there)
        client.set_key(direction, server_side.ip(family), PORT, there if direction == TLS_TX else back)
    client.sock.setsockopt(IPPROTO_HOMA, SO_HOMA_PADDING, 4096)
    server.sock.setsockopt(IPPROTO_HOMA, SO_HOMA_PADDING, 1 << 20)
    path = os.path.join(directory, "padded.pcap")
    sizes = (1, 100, 4087, 4088, 4089, 60000)
    with capture(server_side, path):
        texts = exchange(client, server, server_side.ip(family), sizes)
    for packets, keys, bit, wanted, name in (
            (captured(path, client.port)[0], there, 0, [4096, 4096, 4096, 4096, 8192, 61440], "requests"),
            (captured(path, client.port)[1], back, 1, [1 << 20] * len(sizes), "responses")):
        assembler = Assembler(keys)
        for parsed in packets:
            if parsed.packet.plain_type == DATA:
                assembler.add(parsed.packet)
        ids = [2 * number + bit for number in range(len(sizes))]
        same([assembler.last[i].length for i in ids], wanted, f"{v}: {name} have the lengths that padding gives them")
        same([opens(assembler, i) for i in ids], [pair[bit] for pair in texts], f"{v}: and contain what was sent")
    for sock in (client, server):
        sock.close()


def main():
    if sys.argv[1:] and sys.argv[1:] != ["--selftest"]:
        sys.exit(__doc__)
    for minor, bits in CIPHERS:
        selftest(Keys("self", minor, bits))
    if sys.argv[1:]:
        end()
    client_side, server_side = Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")
    with tempfile.TemporaryDirectory() as directory:
        for family in (socket.AF_INET, socket.AF_INET6):
            test_plain(client_side, server_side, family, directory)
            test_padding(client_side, server_side, family, directory)
            for minor, bits in CIPHERS:
                test(client_side, server_side, family, directory, minor, bits)
    end()


main()
