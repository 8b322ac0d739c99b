# SPDX-License-Identifier: GPL-2.0 OR MIT
"""True records in false places: of other messages, directions, sessions, epochs, versions."""

import struct

from homawire import (ACK, BUSY, FREEZE, NEED_ACK, RESEND, SEALED, UNKNOWN, Keys, Packet, Socket, overhead, resend,
                      segments)
from scene import PORT, SLOW, Session, rng, script


def mirrored(raw):
    """The packet, back to where it came from."""
    return raw[2:4] + raw[:2] + raw[4:]


def with_record(packet, record):
    """The packet, with another record in it."""
    return packet[:60] + record[60:]


@script
def between_messages(s):
    """Invariant 2, identity: a record of another message does not open, in whatever place."""
    session = Session(s)
    data = [rng.randbytes(4000), rng.randbytes(4000)]
    one, two = session.id(), session.id()
    a, b = session.seal(one, data[0]), session.seal(two, data[1])
    s.drops("TlsDecryptError", with_record(a[0], b[0]), what="record 0 of another message")
    s.counts({"TlsRecordsOpened": 1}, a[0], what="its own")
    for index in range(1, len(a)):
        s.drops("TlsDecryptError", with_record(a[index], b[index]), what=f"record {index} of another message")
    session.delivers(one, data[0], a[1:], "one message")
    session.delivers(two, data[1], b, "the other")


@script
def inside_a_message(s):
    """Invariant 2, position: records of one message do not open in each other's places."""
    session = Session(s)
    data, number = rng.randbytes(4 * 1024 - 8), session.id()
    packets = session.seal(number, data)
    for index in (1, 2, 3):
        s.drops("TlsDecryptError", with_record(packets[0], packets[index]), what=f"record {index} as the first")
    s.counts({"TlsRecordsOpened": 1}, packets[0], what="record 0")
    for i in (1, 2, 3):
        for j in (0, 1, 2, 3):
            if i != j:
                s.drops("TlsDecryptError", with_record(packets[i], packets[j]), what=f"record {j} in the place of {i}")
    session.delivers(number, data, packets[1:], "in their places")


@script
def between_directions(s):
    """Invariant 2, direction: what the server sends does not open when it is sent back, whatever it is called."""
    session = Session(s)
    number, data = session.id(), rng.randbytes(2000)
    answer = session.delivers(number, data, session.seal(number, data), "a request")
    back = [mirrored(raw) for p in answer or () for raw in segments(p.raw)]
    s.drops("drop_unknown_rpc", *back, what="an answer sent back")
    question = session.asks(b"question of the server's")

    def renamed(name):
        return [raw[:20] + struct.pack(">Q", name) + raw[28:] for raw in back]

    s.drops("drop_duplicate", *renamed(number), what="as the request itself")
    s.drops("TlsDecryptError", *renamed(session.id()), times=1, what="as a new request")
    s.drops("TlsDecryptError", *renamed(question | 1), times=1, what="as the answer to the server's own question")
    session.answers(b"answer", session.seal(question | 1, b"answer"), "the true answer")


@script
def reflected(s):
    """Invariants 2 and 4, direction: all that the server says in a session, control packets too, is nothing when it comes back."""
    session = Session(s)
    number, _, got = session.begins(rng.randbytes(100))
    s.sock.reply(got, b"answer")
    s.check(session.answered(number, b"answer"), "the answer opens")
    s.counts({}, session.control(RESEND, 5000), session.control(NEED_ACK, 5001), session.control(RESEND, 5002),
             what="questions")
    # Answers to them, and in time the server's own question, whether the answer arrived.
    said = []
    while not {UNKNOWN, ACK, NEED_ACK} <= {p.plain_type for p in said}:
        said.append(s.peer.receive(5 * SLOW, session.port))
        if not said[-1]:
            s.check(False, f"the server says UNKNOWN, ACK and NEED_ACK: {said}")
            return
    # Some have counters that came from the peer, too.
    twice = sum(p.counter <= session.counter and p.counter > 0 for p in said)
    s.counts({"TlsDecryptError": len(said) - twice, "TlsReplay": twice}, *(mirrored(p.raw) for p in said),
             what="control packets sent back")
    s.counts({}, session.control(RESEND, number, resend(0, -1)), what="a true RESEND")
    s.check(session.answered(number, b"answer"), "the RPC is as it was")


@script
def between_sessions(s):
    """Invariant 2, keys: what belongs to one session does not open in another one of the same socket, nor of another."""
    one, two = Session(s), Session(s)
    other_sock = Socket(s.server, s.family, PORT + 1)
    other = Session(s, port=one.port, sock=other_sock)
    other.over = True
    data = rng.randbytes(3000)
    number = one.id()
    packets = one.seal(number, data)
    for there, what in ((two, "another session of the socket"), (other, "a session of another socket")):
        ports = struct.pack(">HH", there.port, there.to)
        s.drops("TlsDecryptError", *(ports + p[4:] for p in packets[:1]), what=f"a record in {what}")
        s.drops("TlsDecryptError", ports + one.control(RESEND, number)[4:], what=f"a control packet in {what}")
    s.check(other_sock.receive(0) is None, "nor is it delivered there")
    one.delivers(number, data, packets, "where it belongs")
    other.works("the other socket")
    other_sock.close()


@script
def between_hosts(s):
    """The session: it is that of an address: true packets from another address are none of it."""
    session = Session(s)
    number = session.id()
    packets = session.seal(number, b"from here")
    elsewhere = "10.0.0.78" if s.family == 2 else "fd00::78"
    s.drops("drop_no_session", *packets, session.control(RESEND, number), source=elsewhere, what="from another host")
    session.delivers(number, b"from here", packets, "from the right one")


@script
def between_record_sizes(s):
    """The packet: records end where the record size says; another one makes other records, which do not open."""
    session = Session(s)
    data, number = rng.randbytes(4000), session.id()
    packets = session.seal(number, data)
    for size in (64, 512, 1000, 1023):
        s.drops("TlsDecryptError", packets[0][:56] + struct.pack(">H", size) + packets[0][58:], what=f"records of {size} bytes")
    for size in (1025, 2048, 16384):
        s.counts({}, packets[0][:56] + struct.pack(">H", size) + packets[0][58:], what=f"records of {size} bytes: not all is here")
    session.delivers(number, data, packets, "the true record size")


@script
def between_versions(s):
    """Keys: a record of TLS 1.2 is none of TLS 1.3, nor the other way, though key, number and place are right."""
    for minor, other in ((3, 2), (2, 3)):
        session = Session(s, minor=minor)
        foreign = Keys(f"{session.seed} tx", other)
        number, data = session.id(), rng.randbytes(2000)
        packets = session.seal(number, data, keys=foreign)
        s.drops("TlsDecryptError", *packets, session.control(RESEND, number, keys=foreign), what=f"TLS 1.{other} in a session of 1.{minor}")
        record = (Packet(packets[0]).payload + bytes(10))[:1024 + overhead(session.tx.flags)]
        s.drops("TlsDecryptError", session.seal(number, data)[0][:60] + record, what="the same, as the session's own")
        session.delivers(number, data, session.seal(number, data), f"TLS 1.{minor}")


@script
def control_in_pieces(s):
    """Sealed control packets: fields, type, counter and tag belong together."""
    session = Session(s)
    number, _, got = session.begins(b"question")
    a, b = (session.control(RESEND, number, resend(n, 100)) for n in (0, 50))
    # Header 28, fields 9, counter 8, tag 16.
    for start, end, what in ((28, 37, "fields"), (37, 45, "counter"), (45, 61, "tag")):
        s.drops("TlsDecryptError", a[:start] + b[start:end] + a[end:], what=f"the other's {what}")
    need_ack = session.control(NEED_ACK, number)
    for kind in (UNKNOWN, BUSY, FREEZE):
        s.drops("TlsDecryptError", need_ack[:11] + bytes((kind + SEALED,)) + need_ack[12:], what=f"NEED_ACK as type {kind + SEALED:#x}")
    record, = session.seal(session.id(), b"x")
    s.drops("TlsDecryptError", need_ack[:-16] + record[-16:], what="a record's tag")
    s.counts({}, a, b, need_ack, what="the true ones")
    s.sock.reply(got, b"answer")
    s.check(session.answered(number, b"answer"), "the RPC is as it was")
