# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Too much, too little, too far: numbers at and beyond their limits, with and without the keys."""

import struct

from homawire import CONTROL_LEN, FREEZE, MAX_MESSAGE, NAMES, sealed_packet
from scene import PORT, Session, fields_of, rng, script


def some(session, number, length, record_size=1024, first=0, sequence=0, payload=50, **more):
    """A packet of a message that there is not."""
    return sealed_packet(session.port, PORT, number, length, record_size, first, sequence, bytes(payload), **more)


@script
def record_indexes(s):
    """Record sequence number: an index never reaches into the message id: 1024 records at most, inside the message."""
    session = Session(s)
    for record_size, first, what in ((1024, 2, "behind the last"), (1024, 1023, "the last of all"), (64, 0xffff, "2^16 - 1"),
                                     (16384, 0xffff, "2^16 - 1, of large records")):
        s.drops("malformed_record", some(session, session.id(), 2008, record_size, first), what=f"record {first}: {what}")
    # The segment offset is the index times the record size.
    packet = some(session, session.id(), 2008, 1024, 1)
    s.drops("malformed_record", packet[:52] + bytes(4) + packet[56:], packet[:50] + bytes(2) + packet[52:], what="another segment offset")
    for length, record_size, fits in ((65536, 64, True), (65537, 64, False), (1 << 20, 1024, True), (1 << 20, 1023, False)):
        packet = some(session, session.id(), length, record_size)
        s.counts({} if fits else {"malformed_record": 1}, packet, what=f"{-(-length // record_size)} records")
    s.silence("nothing of it")


@script
def record_sizes(s):
    """The message: records have 64 to 16,384 bytes of plaintext."""
    session = Session(s)
    for size in (0, 1, 63, 16385, 32768, 65535):
        s.drops("malformed_record", some(session, session.id(), 2008, size), what=f"records of {size}")
    for size in (64, 16384):
        data, number = rng.randbytes(60000), session.id()
        session.delivers(number, data, session.seal(number, data, record_size=size), f"records of {size}")


@script
def places(s):
    """The packet: its payload lies in its segment and in the message, however its place is added up."""
    session = Session(s)
    for first, sequence, payload in ((0, 2052, 1), (0, 2003, 50), (1, 1006, 1), (1, 0, 1007), (0, 0xffffffff, 1), (0, 0xffffffff, 50),
                                     (0, 0x80000000, 50), (1, 0xfffffbea, 50)):
        s.drops("malformed_place", some(session, session.id(), 2008, 1024, first, sequence, payload),
                what=f"{payload} bytes at {sequence} of record {first}")
    s.drops("malformed_place", some(session, session.id(), 1 << 20, 16384, 0, 65500), what="beyond a segment's 64 KiB")
    # The place from the IP identification times the window; IPv6 has none.
    s.drops("malformed_place", some(session, session.id(), 2008, flags=session.tx.flags | 8, window=0xffff), what="far by its identification")
    s.drops("malformed_place", some(session, session.id(), 2008, flags=session.tx.flags | 8, window=0), what="without a window")


@script
def message_lengths(s):
    """The message: 9 to 2^20 bytes with its preamble."""
    session = Session(s)
    for length in (0, 1, 8, (1 << 20) + 1, 0x7fffffff, 0x80000000, 0xffffffff):
        s.drops("malformed_length", some(session, session.id(), length), what=f"{length} bytes")
    for size in (1, 2):
        data, number = rng.randbytes(size), session.id()
        session.delivers(number, data, session.seal(number, data), f"{size} bytes")


@script
def preambles(s):
    """Invariant 2, the message: the authenticated length is believed only if the clear one agrees, and reserved bytes are zero."""
    session = Session(s)
    data = rng.randbytes(2000)
    for length, padding, zero in ((1999, 0, 0), (2001, 0, 0), (0, 0, 0), (MAX_MESSAGE + 1, 0, 0), (1 << 31, 0, 0),
                                  (2000, 0, 1), (2000, 0, 0x80), (2000, 21, 0), (2000, 255, 0), (2000, 20, 0)):
        number = session.id()
        lie = struct.pack(">IHBB", length, 0, padding, zero)
        s.drops("TlsDecryptError", *session.seal(number, data, preamble=lie)[::-1], times=1, what=f"preamble {lie.hex()}")
    # No preamble fits into less.
    number = session.id()
    short = session.seal(number, b"", preamble=bytes(7))[0]
    s.drops("malformed_length", short, what="a message of 7 bytes")


@script
def floors(s):
    """Floor: one below 0 is none, and one far back moves nothing: the floor never sinks."""
    session = Session(s)
    number = session.id()
    session.delivers(number, b"first", session.seal(number, b"first", floor_distance=65535), "a floor below 0")
    session.next_id = 1000
    number, packets, _ = session.begins(b"in service")
    session.works("its floor is above that")
    s.drops("TlsReplay", *packets, what="what is below")
    number = session.id()
    session.delivers(number, b"back", session.seal(number, b"back", floor_distance=500), "a floor far back")
    s.drops("TlsReplay", *packets, *session.seal(500, b"never seen"), what="what is below still")


@script
def ids(s):
    """Record sequence number: ids have 47 bits; the largest is taken."""
    session = Session(s)
    for number in (1 << 47, 1 << 48, 1 << 63, (1 << 64) - 2, (1 << 64) - 1):
        s.drops("malformed_id", some(session, number, 100), session.control(FREEZE, number), what=f"id {number:#x}")
    session.next_id = (1 << 47) - 4
    session.works("the last but one")
    session.works("the largest id")
    session.over = True


@script
def sizes_of_packets(s):
    """Every sealed packet, of every length below its own, and longer than its own."""
    session = Session(s)
    number, _, got = session.begins(b"question")
    packet, = session.seal(session.id(), b"x")
    s.drops("malformed_short", *(packet[:n] for n in range(61)), what="DATA of 0 to 60 bytes")
    for kind in CONTROL_LEN:
        packet = session.control(kind, number, fields_of(kind, number, PORT))
        s.drops("malformed_short", *(packet[:n] for n in range(len(packet))), what=f"{NAMES[kind]}, cut")
        s.drops("malformed_trailing", *(packet + bytes(n) for n in (1, 8, 16, 1000, 1440 - len(packet))), what=f"{NAMES[kind]}, longer")
    s.same(s.live(), 1, "the RPC is there")
    s.sock.reply(got, b"answer")
    s.check(session.answered(number, b"answer"), "and is answered")


@script
def control_fields(s):
    """Malformed packets: offsets, lengths and counts in control packets that no message can have."""
    session = Session(s)
    number, _, got = session.begins(b"question")
    limit = 1_078_272
    for kind, fields in ((0x11, struct.pack(">IB", limit + 1, 0)), (0x11, struct.pack(">IB", 0xffffffff, 0)),
                         (0x12, struct.pack(">IIB", limit + 1, 1, 0)), (0x12, struct.pack(">IIB", 0, limit + 1, 0)),
                         (0x12, struct.pack(">IIB", 0xffffffff, 0xfffffffe, 0))):
        s.drops("malformed_place", session.control(kind, number, fields), what=f"{NAMES[kind]} {fields.hex()}")
    for count in (6, 0x8000, 0xffff):
        s.drops("malformed_acks", session.control(0x18, number, struct.pack(">H", count)), what=f"ACK of {count}")
    # At the limit, and beyond the answer that there is.
    s.sock.reply(got, b"answer")
    s.check(session.answered(number, b"answer"), "it is answered")
    for kind, fields in ((0x11, struct.pack(">IB", limit, 255)), (0x12, struct.pack(">IIB", limit, limit, 255)),
                         (0x12, struct.pack(">IIB", 1000, 1, 0)), (0x12, struct.pack(">IIB", 0, 0, 0))):
        s.counts({}, session.control(kind, number, fields), what=f"{NAMES[kind]} {fields.hex()}")
    s.same(s.live(), 1, "the RPC is there")
