# SPDX-License-Identifier: GPL-2.0 OR MIT
"""What somebody makes who does not have the keys: control packets of each type, DATA, ICMP, noise."""

import errno
import socket
import struct

from homawire import (ACK, BUSY, CONTROL_LEN, CUTOFFS, FREEZE, GRANT, NAMES, NEED_ACK, RESEND, UNKNOWN, Growth, Keys,
                      acks, checksum, control_packet, data_packet, diag, resend, sealed_control, sealed_packet)
from scene import PORT, SLOW, Session, fields_of, rng, script

TYPES = (GRANT, RESEND, UNKNOWN, BUSY, CUTOFFS, FREEZE, NEED_ACK, ACK)


def in_all_states(s):
    """A session with an RPC that is in service, one that is answered, one that began, and one of the server's own."""
    session = Session(s)
    session.id()        # Acknowledgments in plain DATA cannot name id 0.
    in_service = session.begins(rng.randbytes(3000))
    answered = session.begins(b"question", floor_distance=1)
    s.sock.reply(answered[2], b"answer")
    s.check(session.answered(answered[0], b"answer"), "the answer opens")
    began, data = session.id(), rng.randbytes(12 * 1024 - 8)
    packets = session.seal(began, data, floor_distance=2)
    s.counts({"TlsRecordsOpened": 1}, packets[0], what="the beginning of a message")
    own = session.asks(b"question of the server's")
    s.peer.drain()
    return session, in_service, answered, (began, data, packets[1:]), own


def goes_on(s, began):
    """The next record of the message that began: one of which nothing comes for ten seconds ends."""
    s.counts({"TlsRecordsOpened": 1}, began[2].pop(0), what="a record of what began")


def all_go_on(s, session, in_service, answered, began, own):
    """None of the four has changed."""
    s.same(s.live(), 4, "the RPCs are there")
    s.same([p for p in s.data_to(session) if p.id & 1], [], "nothing was sent because of that")
    s.sock.reply(in_service[2], b"its answer")
    s.check(session.answered(in_service[0], b"its answer"), "what was in service is answered")
    s.counts({}, session.control(RESEND, answered[0], resend(0, -1)), what="a true RESEND")
    s.check(session.answered(answered[0], b"answer"), "what was answered is sent again")
    number, data, rest = began
    session.delivers(number, data, rest, "what began")
    session.answers(b"answer", session.seal(own | 1, b"answer"), "what the server asked")


@script
def plain_control(s):
    """Invariant 4: in a session a plain control packet of each type is dropped and counted, in whatever state the RPC is."""
    session, *rpcs = in_all_states(s)
    numbers = [rpcs[0][0], rpcs[1][0], rpcs[2][0], rpcs[3] | 1, 5000, 5001]
    for kind in TYPES:
        s.drops("drop_plain", *(control_packet(kind, session.port, PORT, n, fields_of(kind, n, PORT)) for n in numbers),
                what=f"plain {NAMES[kind]}")
        goes_on(s, rpcs[2])
    all_go_on(s, session, *rpcs)


@script
def plain_data(s):
    """Invariant 4: in a session plain DATA is dropped and counted, with the acknowledgment that is in it."""
    session, *rpcs = in_all_states(s)
    for number in (rpcs[0][0], rpcs[1][0], rpcs[2][0], rpcs[3] | 1, 5000):
        s.drops("drop_plain", *(data_packet(session.port, PORT, number, 3000, 0, bytes(1400), ack=ack)
                                for ack in ((0, 0), (rpcs[1][0], PORT))), what=f"plain DATA of {number}")
    all_go_on(s, session, *rpcs)


@script
def sealed_looking(s):
    """Invariant 4: a sealed control packet of each type without the right tag is dropped and counted, and its counter not used up."""
    session, *rpcs = in_all_states(s)
    other = Keys("another key")
    for kind in TYPES:
        for number in (rpcs[0][0], rpcs[1][0], rpcs[2][0], rpcs[3] | 1):
            good = session.control(kind, number, counter=session.counter + 1)
            s.drops("TlsDecryptError", good[:-16] + bytes(16), good[:-16] + rng.randbytes(16), good[:-1] + bytes((good[-1] ^ 1,)),
                    good[:20] + struct.pack(">Q", number ^ 2) + good[28:], session.control(kind, number, keys=other, counter=10 ** 9),
                    what=f"forged {NAMES[kind]}")
        goes_on(s, rpcs[2])
    all_go_on(s, session, *rpcs)


@script
def of_other_sessions(s):
    """The session: an authentic control packet is about RPCs of its own session, whatever ids it names."""
    session, *rpcs = in_all_states(s)
    one = Session(s)
    for kind in (GRANT, UNKNOWN, BUSY, FREEZE):
        s.drops("drop_unknown_rpc", *(one.control(kind, n) for n in (rpcs[0][0], rpcs[1][0], rpcs[3] | 1)),
                what=f"{NAMES[kind]} for RPCs of another session")
    s.counts({}, one.control(ACK, 5000, acks(*((rpc[0], PORT) for rpc in rpcs[:3]))), what="ACK of them")
    number, _, got = one.begins(b"another session's")
    s.counts({}, session.control(ACK, 5000, acks((number, PORT), (number, PORT + 1))), what="ACK of the other's RPC")
    s.sock.reply(got, b"is there")
    s.check(one.answered(number, b"is there"), "which is there")
    s.counts({}, one.control(ACK, number), what="its own ACK")
    s.waits(lambda: s.live() == 4, "ends it")
    all_go_on(s, session, *rpcs)


def icmp(s, session, kind, code):
    """An ICMP error about a request of the server's."""
    source, server = s.peer.address, s.server.ip(s.family)
    ports = struct.pack(">HH", PORT, session.port) + bytes(24)
    if s.family == socket.AF_INET:
        inner = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 48, 1, 0x4000, 64, 146, 0, socket.inet_aton(server), socket.inet_aton(source))
        text = struct.pack(">BBHI", kind, code, 0, 0) + inner + ports
        return text[:2] + struct.pack(">H", checksum(text)) + text[4:], 1
    addresses = [socket.inet_pton(socket.AF_INET6, a) for a in (source, server)]
    inner = struct.pack(">IHBB", 6 << 28, 28, 146, 64) + addresses[1] + addresses[0]
    text = struct.pack(">BBHI", kind, code, 0, 0) + inner + ports
    total = checksum(b"".join(addresses) + struct.pack(">II", len(text), 58) + text)
    return text[:2] + struct.pack(">H", total) + text[4:], 58


@script
def icmp_errors(s):
    """Invariant 4: no ICMP error ends an RPC of a session (one without a session it does)."""
    v4 = s.family == socket.AF_INET
    errors = ((3, 3), (3, 2), (3, 1), (3, 0), (3, 13)) if v4 else ((1, 4), (1, 3), (1, 0), (1, 1), (4, 1))

    def send(session):
        for kind, code in errors:
            text, protocol = icmp(s, session, kind, code)
            s.peer.sock.send(s.peer.frame(text, protocol=protocol))

    session = Session(s)
    own = session.asks(b"question")
    send(session)
    session.answers(b"answer", session.seal(own | 1, b"answer"), "in a session")

    class Clear:
        port = 0x8abc
    s.sock.request(b"in clear", s.peer.address, Clear.port)
    send(Clear)
    try:
        s.same(s.sock.receive(5 * SLOW), "an error", "without one, it fails")
    except OSError as e:
        s.same(e.errno, errno.ENOTCONN, "without one, it fails")


@script
def strangers(s):
    """Invariant 4, the session: what looks sealed, from somebody without a session, leaves no trace and gets no answer."""
    keys = Keys("a stranger's")
    before = s.server.counters()
    packets = [sealed_control(kind, 0x8005, PORT, number, keys, 9, fields_of(kind, number, PORT)) for kind in TYPES for number in (2, 3)]
    packets.append(sealed_packet(0x8005, PORT, 2, 100, 1024, 0, 0, bytes(122)))
    s.drops("drop_no_session", *packets, what="a stranger's packets")
    s.drops("drop_unknown_rpc", sealed_packet(0x8005, PORT, 3, 100, 1024, 0, 0, bytes(122)), what="a stranger's response")
    same = ("live_peers", "live_rpcs", "memory_receive", "unknowns_sent", "acks_sent", "busys_sent", "resends_sent")
    now = s.server.counters()
    s.same({n: now[n] for n in same}, {n: before[n] for n in same}, "nothing is remembered nor answered")


@script
def records(s):
    """Invariant 4: a forged record of a running message costs that this record is sent again, and nothing else."""
    session = Session(s)
    data, number = rng.randbytes(5 * 1024 - 8), session.id()
    packets = session.seal(number, data)
    s.counts({"TlsRecordsOpened": 1}, packets[0], what="record 0")
    for index in (1, 2, 3):
        s.drops("TlsDecryptError", packets[index][:60] + rng.randbytes(1046), what=f"forged record {index}")
        s.counts({"TlsRecordsOpened": 1}, packets[index], what="the true one")
    s.drops("TlsDecryptError", *(packets[4][:60] + rng.randbytes(1046) for _ in range(20)), what="forged last records")
    # It is asked for, sealed.
    packet = s.peer.receive(5 * SLOW, session.port)
    while packet and (packet.plain_type != RESEND or packet.offset != 4 * 1046):
        packet = s.peer.receive(5 * SLOW, session.port)
    s.check(packet and packet.sealed, "which is asked for again")
    session.delivers(number, data, packets[4:], "with its last record")


@script
def first_records(s):
    """Invariant 4: a forged record 0 ends nothing: the server forgets it, the client waits for the true one."""
    session = Session(s)
    own = session.asks(b"question")
    data = rng.randbytes(3000)
    for number, what in ((session.id(), "request"), (own | 1, "response")):
        packets = session.seal(number, data)
        forged = [p[:60] + rng.randbytes(len(p) - 60) for p in packets]
        s.counts({}, *forged[1:], what=f"other forged records of a {what}")
        s.drops("TlsDecryptError", forged[0], what=f"forged record 0 of a {what}")
        for _ in range(20):
            s.drops("TlsDecryptError", forged[0], what="again")
        # A forged byte in the middle of it, which is there before the true ones. (A packet that is all of the record would replace it.)
        s.counts({}, sealed_packet(session.port, PORT, number, 3008, 1024, 0, 500, b"x"), what="a forged byte of record 0")
        halves = session.seal(number, data, mtu=600)[:2]
        s.counts({"TlsDecryptError": 1}, *halves, what="makes the true record 0 a false one")
        if what == "request":
            session.delivers(number, data, packets, "sent once more")
        else:
            session.answers(data, packets, "sent once more")


@script
def noise(s):
    """Invariant 4: true packets with random changes, and random bytes behind true headers, harm nothing."""
    session = Session(s)
    number = session.id()
    seeds = session.seal(number, rng.randbytes(3000)) + [session.control(k, number) for k in CONTROL_LEN]
    count = 2000
    before = s.server.counters()["packets_received"]
    with Growth(s.server) as growth:
        for _ in range(count):
            packet = bytearray(rng.choice(seeds))
            if rng.random() < 0.1:
                packet[28:] = rng.randbytes(len(packet) - 28)
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(packet) if rng.random() < 0.3 else min(len(packet), 66))
                packet[at] ^= 1 << rng.randrange(8)
            s.peer.send(bytes(packet))
        s.waits(lambda: s.server.counters()["packets_received"] >= before + count, "all arrive", 10)
    diag(growth.all())
    # Changes that do no harm leave true packets, so the message may have come through, once.
    s.check(s.sock.drain() <= 1, "at most what was true is delivered")
