# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Much of it: what floods before authentication may cost, and that they end."""

import errno
import select
import socket
import struct

from homawire import HOMA_CMSG_KEY, RESEND, TLS_RX, resend, sealed_control, sealed_packet
from scene import PORT, SLOW, Session, rng, script

MOST_UNPROVEN = 256


@script
def beginnings(s):
    """A record that does not open: of messages of which nothing is authenticated 256 are kept for each session, and not for long."""
    session, other = Session(s), Session(s)
    before = s.server.counters()["memory_receive"]
    packets = [sealed_packet(session.port, PORT, session.id(), 900000, 1024, 5, 0, bytes(100)) for _ in range(1000)]
    s.counts({"drop_buffer_full": len(packets) - MOST_UNPROVEN}, *packets, what="1000 forged beginnings of long messages")
    s.same(s.live(), MOST_UNPROVEN, "RPCs")
    # A first record's worth is reserved for each.
    memory = s.server.counters()["memory_receive"] - before
    s.check(memory <= MOST_UNPROVEN * (20 << 10), f"{memory} bytes for all")
    s.silence("no message")
    other.works("another session meanwhile")
    s.setting("timeout_ms", 1000)
    s.waits(lambda: s.live() <= 1, "they are gone", 20)
    session.works("the flooded session")
    s.setting("timeout_ms", 60000)


@script
def shapes(s):
    """A record that does not open: one message described in a thousand ways is one RPC, and the true one replaces them."""
    session = Session(s)
    number, data = session.id(), rng.randbytes(3000)
    before = s.server.counters()["memory_receive"]
    packets = [sealed_packet(session.port, PORT, number, rng.randrange(5000, 900000), 1024, 3, 0, bytes(rng.randrange(1, 1000)))
               for _ in range(2000)]
    s.counts({}, *packets, what="one message in 2000 shapes")
    memory = s.server.counters()["memory_receive"] - before
    s.check(s.live() == 1 and memory <= 64 << 10, f"one RPC, {memory} bytes")
    session.delivers(number, data, session.seal(number, data), "the true one")


@script
def strangers(s):
    """The session: whoever has none costs nothing: 4000 of them are not remembered."""
    session = Session(s)
    before = s.server.counters()
    packets = [sealed_packet(port, PORT, 2, 900000, 1024, 0, 0, bytes(100)) for port in range(0xa000, 0xa000 + 2000)]
    packets += [sealed_control(RESEND, port, PORT, 2, session.tx, 1, resend(0, -1)) for port in range(0xb000, 0xb000 + 2000)]
    s.drops("drop_no_session", *packets, what="4000 strangers")
    same = ("live_peers", "live_rpcs", "memory_receive", "memory_send", "segments_sent")
    now = s.server.counters()
    s.same({n: now[n] for n in same}, {n: before[n] for n in same}, "nothing is kept, nothing sent")


@script
def records(s):
    """A record that does not open: floods of forged records of a running message keep no memory, and questions are few."""
    session = Session(s)
    data, number = rng.randbytes(8 * 1024 - 8), session.id()
    packets = session.seal(number, data)
    s.counts({"TlsRecordsOpened": 1}, packets[0], what="record 0")
    before = s.server.counters()
    forged = [p[:60] + bytes(1046) for p in packets[1:]] * 200
    s.drops("TlsDecryptError", *forged, what=f"{len(forged)} forged records")
    now = s.server.counters()
    s.same(now["memory_receive"], before["memory_receive"], "no memory is kept")
    asked = now["resends_sent"] - before["resends_sent"]
    s.check(asked <= 60 * SLOW, f"{asked} questions")
    session.delivers(number, data, packets[1:], "the true ones")


@script
def pieces(s):
    """A record that does not open: forged pieces of a running message are kept up to its own size; the true packets then replace them."""
    session = Session(s)
    data, number = rng.randbytes(8 * 1024 - 8), session.id()
    packets = session.seal(number, data, record_size=4096)
    first, second = packets[:3], packets[3:]
    s.counts({"TlsRecordsOpened": 1}, *first, what="record 0, in three packets")
    # In the other record, one byte in twenty.
    forged = [sealed_packet(session.port, PORT, number, 8192, 4096, 1, at, b"x") for at in range(0, 500, 20)]
    s.counts({}, *forged, what=f"{len(forged)} forged bytes of a record")
    s.drops("drop_duplicate", *forged, what="again")
    s.counts({"TlsDecryptError": 1}, *second, what="they make the true record a false one")
    session.delivers(number, data, second, "sent again")


@script
def crumbs(s):
    """Invariant 4: a packet that is a whole record is taken, whatever forged bytes of that record were there before."""
    session = Session(s)
    number, data = session.id(), rng.randbytes(3000)
    packets = session.seal(number, data)
    s.counts({}, *crumbs_of(session, number, 0, 70), what="70 forged bytes of record 0")
    s.counts({"TlsRecordsOpened": 1}, packets[0], what="the true record 0")
    s.counts({}, *crumbs_of(session, number, 1, 70), what="70 forged bytes of record 1")
    session.delivers(number, data, packets[1:], "the rest")


@script
def crumbs_without_end(s):
    """Invariant 4: forged bytes that use up a message's room are forgotten, the true packets come in."""
    session = Session(s)
    number, data = session.id(), rng.randbytes(3000)
    packets = session.seal(number, data, record_size=4096)
    # There is room for 64 packets and one for each 256 bytes; the next one is dropped, and all before it with it.
    room = 64 + 3008 // 256
    crumbs = crumbs_of(session, number, 0, 2 * (room + 1), 4096)
    s.counts({"drop_buffer_full": 2}, *crumbs, what=f"{len(crumbs)} forged bytes of the record")
    session.delivers(number, data, packets, "the true packets")


@script
def crumbs_of_a_response(s):
    """Invariant 4: forged bytes of a response that arrives neither hold it up nor end its RPC."""
    session = Session(s)
    number, data = session.asks(b"question") | 1, rng.randbytes(3000)
    packets = session.seal(number, data)
    s.counts({"TlsRecordsOpened": 1}, packets[0], what="record 0")
    s.counts({"drop_buffer_full": 1}, *crumbs_of(session, number, 1, 100), what="100 forged bytes of record 1")
    session.answers(data, packets[1:], "after them")


def crumbs_of(session, number, record, count, record_size=1024):
    """Packets of one byte each, every other byte of a record of a message of 3008 bytes."""
    return [sealed_packet(session.port, PORT, number, 3008, record_size, record, 2 * n, b"x") for n in range(count)]


@script
def worn(s):
    """Keys: what does not open is counted, at half of the limit the program is told, at the limit nothing goes or comes."""
    s.setting("test_key_failures", 8)
    session = Session(s)
    s.setting("test_key_failures", 0)
    number = session.id()

    def forge(count):
        for _ in range(count):
            s.drops("TlsDecryptError", session.control(RESEND, number)[:-16] + bytes(16), what="forged control")

    poller = select.poll()
    poller.register(s.sock.sock, select.POLLPRI)
    forge(3)
    s.same(poller.poll(0), [], "no POLLPRI below half")
    forge(1)
    s.same([events for _, events in poller.poll(5000)], [select.POLLPRI], "POLLPRI at half")
    s.sock.sock.settimeout(0)       # else Python itself waits until there is a message
    _, ancillary, _, name = s.sock.sock.recvmsg(0, 200, socket.MSG_ERRQUEUE)
    s.sock.sock.settimeout(10)
    _, kind, data = ancillary[0]
    s.same((kind, *struct.unpack_from("=QQI", data)), (HOMA_CMSG_KEY, 4, 8, TLS_RX), "and a control message")
    s.same(name[1], session.port, "with the peer")
    session.works("not yet used up")
    forge(4)
    s.same(poller.poll(0), [], "told once")
    number = session.id()
    s.drops("TlsDecryptError", *session.seal(number, b"after"), session.control(RESEND, number), what="what is true, after the limit")
    try:
        s.sock.request(b"x", s.peer.address, session.port)
        s.check(False, "sending is refused")
    except OSError as e:
        s.same(e.errno, errno.EKEYEXPIRED, "sending is refused")
    session.set_keys(tx=session.next_keys(session.tx))
    session.works("with the next key")
