# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Messages that end before their end."""

import struct

from homawire import Packet, sealed_packet
from scene import Session, rng, script


def shortened(packets, records):
    """The first records of a message whose records are a packet each, said to be all of it."""
    first = Packet(packets[0])
    length = records * first.record_size
    return [p[:28] + struct.pack(">I", length) + p[32:] for p in packets[:records]]


@script
def at_each_record(s):
    """Invariant 2: a request that is cut at the end of a record is not delivered, wherever, in both formats."""
    for minor in (3, 2):
        session = Session(s, minor=minor)
        for size, record_size in ((2000, 1024), (1200, 64), (9000, 512)):
            data, number = rng.randbytes(size), session.id()
            packets, live = session.seal(number, data, record_size=record_size), s.live()
            for records in range(1, len(packets)):
                # Backwards: it is record 0 that shows the lie, and all the others are here by then.
                s.drops("TlsDecryptError", *shortened(packets, records)[::-1], times=1,
                        what=f"TLS 1.{minor}, {records} of {len(packets)} records")
            s.same(s.live(), live, "nothing is kept of it")
            session.delivers(number, data, packets, "the whole message")
            session.works("and the next")


@script
def responses(s):
    """Invariant 2: a response that is cut at the end of a record is not delivered; its RPC goes on."""
    session = Session(s)
    number, data = session.asks(b"question") | 1, rng.randbytes(3000)
    packets = session.seal(number, data, record_size=256)
    for records in range(1, len(packets)):
        s.drops("TlsDecryptError", *shortened(packets, records)[::-1], times=1, what=f"{records} of {len(packets)} records")
    session.answers(data, packets, "the whole one")


@script
def behind_record_0(s):
    """The message: when record 0 has said how long it is, packets that say otherwise are dropped."""
    session = Session(s)
    data, number = rng.randbytes(4000), session.id()
    packets = session.seal(number, data)
    s.counts({"TlsRecordsOpened": 1}, packets[0], what="record 0")
    for records in (2, 3):
        s.drops("drop_refused", *shortened(packets, records)[1:], what=f"records up to {records}, as the last ones")
    s.counts({"TlsRecordsOpened": 2}, *packets[1:3], what="the true ones but for the last")
    s.silence("without its last record")
    session.delivers(number, data, packets[3:], "with its last record")


@script
def inside_a_record(s):
    """A record that does not open: the beginning of a record is nothing; the rest of it completes it."""
    session = Session(s)
    data, number = rng.randbytes(300), session.id()
    packet, = session.seal(number, data)
    s.drops("malformed_short", *(packet[:n] for n in range(61)), what="cut inside the header")
    s.counts({}, *(packet[:n] for n in range(61, len(packet), 16)), packet[:-1], what="cut inside the record")
    s.silence("cut inside the record")
    session.delivers(number, data, [packet], "the whole packet")


@script
def a_shorter_last_record(s):
    """Invariant 2: the last record cannot be made shorter or longer, whatever its headers say."""
    session = Session(s)
    for size in (200, 1500):
        for change in (-100, -1, 1, 100):
            data, number = rng.randbytes(size), session.id()
            packets = session.seal(number, data)
            length = 8 + size + change
            last = Packet(packets[-1])
            record = last.payload[:change] if change < 0 else last.payload + bytes(change)
            # Its own header, too, may say the new length.
            record = record[:3] + struct.pack(">H", len(record) - 5) + record[5:]
            lie = [p[:28] + struct.pack(">I", length) + p[32:] for p in packets[:-1]]
            lie.append(sealed_packet(session.port, session.to, number, length, 1024, last.first_record, 0, record))
            # Of two records the first is true, but says how long all is.
            s.drops("TlsDecryptError", *lie[::-1], times=1, what=f"{size} bytes and {change}")
            session.delivers(number, data, packets, "as it was")


@script
def padding(s):
    """The message: padding is authenticated as part of the length: it can be neither cut off nor made."""
    session = Session(s)
    data, number = rng.randbytes(1000), session.id()
    padded = data + bytes(4096 - 8 - len(data))
    preamble = struct.pack(">IHBB", len(data), 0, 12, 0)
    packets = session.seal(number, padded, preamble=preamble)
    for records in (1, 2, 3):
        s.drops("TlsDecryptError", *shortened(packets, records)[::-1], times=1, what=f"padding cut to {records} KiB")
    longer = [p[:28] + struct.pack(">I", 8192) + p[32:] for p in packets]
    s.drops("TlsDecryptError", *longer[::-1], times=1, what="more padding in clear")
    s.peer.send(*packets)
    got = s.sock.receive(5)
    s.check(got is not None and got.data == data, "as it was, without padding")
    for power, length in ((11, 1000), (13, 1000), (12, 4089), (21, 1000), (255, 1000), (0, 1000)):
        number = session.id()
        lie = struct.pack(">IHBB", length, 0, power, 0)
        s.drops("TlsDecryptError", *session.seal(number, padded, preamble=lie)[::-1], times=1,
                what=f"{length} bytes, padded to 2^{power}, in 4096")
