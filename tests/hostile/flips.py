# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Every bit of a packet, changed on its way: what becomes of it is known beforehand, and the true packet is still taken.

The tables say for each field what a changed bit of it leads to: a counter; KEPT (it may be true: it waits for the rest); or HARMLESS
(what it says is advice, or nothing: the message is delivered as it was sent).
"""

import subprocess
from collections import Counter

from homawire import ACK, BUSY, CONTROL_LEN, CUTOFFS, FREEZE, GRANT, NAMES, NEED_ACK, RESEND, UNKNOWN
from scene import Session, rng, script

KEPT, HARMLESS = "kept", "harmless"


def changed(packet, at, bit):
    return packet[:at] + bytes((packet[at] ^ 1 << bit,)) + packet[at + 1:]


def value(packet, start, end):
    return int.from_bytes(packet[start:end], "big")


# ---- DATA of one packet ----------------------------------------------------------------------------

def of_length(packet, _):
    """The message is of one record, of which the packet has all."""
    length, true = value(packet, 28, 32), len(packet) - 60 - 22
    if not 9 <= length <= 1 << 20:
        return "malformed_length"
    return "malformed_place" if length < true else KEPT


def of_flags(packet, _):
    if packet[58] & 0xf0:
        return "malformed_reserved"
    if packet[58] & 8:
        return "malformed_place"        # The IP identification times 1400, or IPv6.
    return "drop_no_session" if packet[58] & 3 else "TlsDecryptError"


def of_record_size(packet, _):
    size, length = value(packet, 56, 58), value(packet, 28, 32)
    if not 64 <= size <= 16384:
        return "malformed_record"
    return HARMLESS if size >= length else "TlsDecryptError"


def of_id(packet, true):
    number = value(packet, 20, 28)
    if number >= 1 << 47:
        return "malformed_id"
    if number & 1:
        return "drop_unknown_rpc"
    # The floor is there.
    return "TlsReplay" if number < value(true, 20, 28) else "TlsDecryptError"


def of_type(packet, _):
    # As a control packet it has no format: there DATA has its place.
    return "malformed_format" if 0x21 <= packet[11] <= 0x28 else "malformed_type"


FIELDS = (
    ("source port", 0, 2, "drop_no_session"), ("destination port", 2, 4, "drop_no_socket"), ("sequence", 4, 8, "malformed_place"),
    ("zero", 8, 11, HARMLESS), ("type", 11, 12, of_type), ("doff and flags", 12, 14, HARMLESS), ("window", 14, 16, HARMLESS),
    ("checksum and urgent", 16, 20, HARMLESS), ("message id", 20, 28, of_id), ("message length", 28, 32, of_length),
    ("incoming", 32, 36, HARMLESS), ("zero", 36, 46, HARMLESS), ("cutoff version", 46, 48, HARMLESS), ("retransmit", 48, 49, HARMLESS),
    ("response limit", 49, 50, lambda p, _: "malformed_reserved" if p[49] & 0xf0 else HARMLESS),
    ("first record", 50, 52, "malformed_record"), ("segment offset", 52, 56, "malformed_record"),
    ("record size", 56, 58, of_record_size), ("seal flags", 58, 59, of_flags), ("format", 59, 60, "malformed_format"),
    ("record header", 60, 65, "TlsDecryptError"), ("preamble", 65, 73, "TlsDecryptError"), ("text", 73, 93, "TlsDecryptError"),
    ("content type", 93, 94, "TlsDecryptError"), ("tag", 94, 110, "TlsDecryptError"),
)


@script
def data(s):
    """Invariant 2: of a DATA packet, every bit that matters is authenticated or checked; those that do not matter do no harm."""
    session = Session(s)
    # Far enough for each bit of an id to be one that could be.
    session.next_id = 1 << 46
    for field, start, end, wanted in FIELDS:
        if wanted is of_id:
            # No RPC has an id that one changed bit could mean.
            session.works("before")
            s.counts({}, session.control(ACK, session.next_id - 2), what="acknowledged")
            s.waits(lambda: s.live() == 0, "no RPC is left")
        number, text = session.id(), rng.randbytes(20)
        packet, = session.seal(number, text)
        counted, flipped, harmless = Counter(), [], 0
        for at in range(start, end):
            for bit in range(8):
                flip = changed(packet, at, bit)
                want = wanted(flip, packet) if callable(wanted) else wanted
                if want == HARMLESS:
                    harmless += 1
                    other = session.id()
                    flip = changed(session.seal(other, text, floor_distance=(other - number) // 2)[0], at, bit)
                    s.peer.send(flip)
                    got = s.sock.receive(5)
                    if got is None or got.data != text:
                        s.check(False, f"{field}: bit {bit} of byte {at} does no harm")
                else:
                    flipped.append(flip)
                    counted[want] += want != KEPT
        if flipped:
            s.counts(counted, *flipped, what=f"{field}, {len(flipped)} bits")
        session.delivers(number, text, [packet], f"{field}, {harmless} harmless bits, and the true packet")


@script
def in_pages(s):
    """Invariant 2: the same of a packet so long that its bytes are in pages, as they are when segments cross uncut."""
    links = [["ip", "-n", side.ns, "link", "set", "eth0", "mtu"] for side in (s.client, s.server)]
    for link in links:
        subprocess.run([*link, "65000"], check=True)
    for minor in (2, 3):
        session = Session(s, minor=minor)
        for size in (16_200, 16_362 - 8):
            number, text = session.id(), rng.randbytes(size)
            packet, = session.seal(number, text, record_size=16384, mtu=20_000)
            places = [*range(60, 60 + 21), *rng.sample(range(60 + 21, len(packet) - 17), 20), *range(len(packet) - 17, len(packet))]
            flips = [changed(packet, at, rng.randrange(8)) for at in places]
            s.counts({"TlsDecryptError": len(flips)}, *flips, what=f"1.{minor}, {len(flips)} bits of {len(packet)} bytes")
            session.delivers(number, text, [packet], f"1.{minor}, {size} bytes, and the true packet")
    for link in links:
        subprocess.run([*link, "1500"], check=True)


# ---- A later record of a longer message --------------------------------------------------------------

def later_length(packet, _):
    length = value(packet, 28, 32)
    if not 9 <= length <= 1 << 20:
        return "malformed_length"
    return "drop_refused"


def later_id(packet, true):
    want = of_id(packet, true)
    return KEPT if want == "TlsDecryptError" else want


LATER = (
    ("sequence", 4, 8, "malformed_place"), ("message length", 28, 32, later_length),
    ("first record", 50, 52, "malformed_record"), ("segment offset", 52, 56, "malformed_record"),
    ("record size", 56, 58, "malformed_record"), ("seal flags", 58, 59, of_flags), ("format", 59, 60, "malformed_format"),
    ("record header", 60, 65, "TlsDecryptError"), ("text", 1000, 1010, "TlsDecryptError"), ("tag", 1090, 1106, "TlsDecryptError"),
    # Last, as what is kept of it would meet other messages.
    ("message id", 20, 28, later_id),
)


@script
def later_data(s):
    """Invariants 2 and 4: the same of the last record of a running message, which goes on after all of them."""
    session = Session(s)
    session.next_id = 1 << 46
    for field, start, end, wanted in LATER:
        number, text = session.id(), rng.randbytes(2 * 1024 - 8)
        packets = session.seal(number, text)
        s.counts({"TlsRecordsOpened": 1}, packets[0], what="record 0")
        flips = [changed(packets[1], at, bit) for at in range(start, end) for bit in range(8)]
        wants = Counter(wanted(p, packets[1]) if callable(wanted) else wanted for p in flips)
        wants.pop(KEPT, None)
        s.counts(wants, *flips, what=f"{field}, {len(flips)} bits")
        s.silence(field)
        session.delivers(number, text, packets[1:], f"{field}, and the true packet")


# ---- Control packets ----------------------------------------------------------------------------------

def control_field(kind, packet, at, seen):
    """What becomes of a control packet of which byte `at` was changed."""
    size = CONTROL_LEN[kind]
    if at < 4:
        return "drop_no_session" if at < 2 else "drop_no_socket"
    if at < 6:
        return "malformed_reserved"
    if at == 6:
        return "malformed_reserved" if packet[6] & 0xf8 else "drop_no_session" if packet[6] & 3 else "TlsDecryptError"
    if at == 7:
        return "malformed_format"
    if 20 <= at < 28 and value(packet, 20, 28) >= 1 << 47:
        return "malformed_id"
    if kind in (GRANT, RESEND) and 28 <= at < 32 and value(packet, 28, 32) > 1_078_272:
        return "malformed_place"
    if kind == RESEND and 32 <= at < 36 and 1_078_272 < value(packet, 32, 36) < 0xffffffff:
        return "malformed_place"
    if kind == ACK and at in (28, 29) and value(packet, 28, 30) > 5:
        return "malformed_acks"
    if size <= at < size + 8:
        counter = value(packet, size, size + 8)
        if counter >> 63:
            return "malformed_reserved"
        return "TlsReplay" if counter <= seen and (counter == seen or seen - counter > 127) else "TlsDecryptError"
    return "TlsDecryptError"


@script
def control(s):
    """Invariant 4: every bit of a control packet of each type is authenticated or checked; what was changed is not obeyed."""
    session = Session(s)
    number, _, got = session.begins(b"question")
    session.counter = 1000
    s.counts({}, session.control(FREEZE, number), what="a true one")
    for kind in (GRANT, RESEND, UNKNOWN, BUSY, CUTOFFS, FREEZE, NEED_ACK, ACK):
        # Not the last counter, but none of those around it was used.
        packet = session.control(kind, number, counter=session.counter + 1)
        wants, flips = Counter(), []
        for at in [*range(11), *range(12, len(packet))]:
            for bit in range(8):
                flips.append(changed(packet, at, bit))
                wants[control_field(kind, flips[-1], at, session.counter)] += 1
        s.counts(wants, *flips, what=f"{NAMES[kind]}, {len(flips)} bits")
        # The type byte decides how long it is, and what its bytes mean.
        flips = [changed(packet, 11, bit) for bit in range(8)]
        before = s.server.counters()
        s.peer.send(*flips)
        now = s.server.counters()
        dropped = sum(now[n] - before[n] for n in now if n.startswith("malformed_") or n == "TlsDecryptError")
        s.same(dropped, 8, f"{NAMES[kind]}, the bits of its type")
    s.same(s.live(), 1, "the RPC is there")
    s.sock.reply(got, b"answer")
    s.check(session.answered(number, b"answer"), "and is answered")
