# SPDX-License-Identifier: GPL-2.0 OR MIT
"""What the module seals when it is driven to seal the same thing twice. (`make test-audit` looks at all it ever seals.)"""

import errno

from homawire import ACK, NEED_ACK, RESEND, TLS_RX, TLS_TX, UNKNOWN, Assembler, InvalidTag, Keys, acks, resend
from scene import PORT, SLOW, Session, rng, script


@script
def answers_again(s):
    """Invariant 1, retransmission: what is asked for again is sent as it was sealed, also after a rekey."""
    session = Session(s)
    number, _, got = session.begins(b"question")
    data = rng.randbytes(20000)
    s.sock.reply(got, data)
    assembler = Assembler(session.rx)
    first = s.peer.receive_message(assembler, number | 1)
    if not s.check(first and assembler.plaintext(number | 1) == data, "the answer opens"):
        return
    sealed = assembler.stream(number | 1)
    for place, length in ((0, -1), (0, 1), (100, 5000), (len(sealed) - 1, 1), (1400, 1400), (0, -1)):
        s.peer.drain()
        s.counts({}, session.control(RESEND, number, resend(place, length)), what=f"RESEND of {length} bytes at {place}")
        again = s.data_to(session)
        same = all(p.payload == sealed[p.offset:p.offset + len(p.payload)] for p in again)
        s.check(again and same and {p.seal_flags for p in again} == {first[0].seal_flags}, "the same bytes come again")
        if place == 100:
            session.set_keys(rx=session.next_keys(session.rx))


@script
def one_answer(s):
    """Invariant 1: an RPC is answered once: a second answer, with other bytes, is refused and nothing of it is sent."""
    session = Session(s)
    number, _, got = session.begins(b"question")
    s.sock.reply(got, b"one answer")
    s.check(session.answered(number, b"one answer"), "the answer opens")
    s.peer.drain()
    try:
        s.sock.reply(got, b"the other.")
        s.check(False, "a second answer is refused")
    except OSError as e:
        s.same(e.errno, errno.EINVAL, "a second answer is refused")
    s.counts({}, session.control(ACK, number, acks((number, PORT))), what="acknowledged")
    s.waits(lambda: s.live() == 0, "the RPC is gone")
    s.sock.reply(got, b"a third...")
    s.same(s.data_to(session), [], "nothing of it is sent, nor when the RPC is gone")


@script
def request_ids(s):
    """Invariant 1, record sequence number: ids count up, whatever became of the RPCs before, and through rekeys."""
    session = Session(s)
    numbers = []
    for round_ in range(4):
        for _ in range(5):
            number = session.asks(rng.randbytes(100))
            numbers.append(number)
            answer = b"answer" if number % 4 else b"forged"
            packets = session.seal(number | 1, answer, keys=Keys("forged") if answer == b"forged" else session.tx)
            s.counts({"TlsDecryptError": 1} if answer == b"forged" else {"TlsRecordsOpened": 1, "responses_received": 1},
                     *packets, what="its answer")
            if answer == b"forged":
                s.peer.send(*session.seal(number | 1, answer))
            got = s.sock.receive(5 * SLOW)
            s.check(got is not None and got.data == answer, "the true one is delivered")
        session.set_keys(rx=session.next_keys(session.rx))
    s.same(numbers, list(range(0, 40, 2)), "each id is new")


@script
def control_counters(s):
    """Invariant 1, control packets: each is sealed with a counter of its own, through rekeys; a flood of questions repeats none."""
    session = Session(s)
    counters = []
    for epoch in range(3):
        s.counts({}, *(session.control(RESEND, 2 * n) for n in range(1000, 1040)), what="40 RESENDs about nothing")
        for _ in range(40):
            packet = s.peer.receive(2 * SLOW, session.port)
            good = packet is not None and packet.sealed and packet.plain_type == UNKNOWN
            if good:
                try:
                    session.rx.check_tag(packet.counter, packet.aad, packet.tag)
                except InvalidTag:
                    good = False
            if not good:
                s.check(False, f"an UNKNOWN whose tag is right: {packet}")
                return
            counters.append(packet.counter)
        session.set_keys(rx=session.next_keys(session.rx))
    s.same(sorted(counters), list(range(120)), "all counters are there, each once")
    # The other way: what is acknowledged is, too.
    s.counts({}, *(session.control(NEED_ACK, 2 * n + 1) for n in range(1000, 1010)), what="10 NEED_ACKs about nothing")
    packets = [s.peer.receive(2 * SLOW, session.port) for _ in range(10)]
    s.same([(p.plain_type, p.counter) for p in packets if p], [(ACK, 120 + n) for n in range(10)], "and those of ACKs")


@script
def keys_come_once(s):
    """Keys: one that is the current or the previous one, or the other direction's, is refused."""
    session = Session(s)
    tx, rx = session.tx, session.rx

    def refused(direction, keys, what):
        try:
            s.sock.set_key(direction, s.peer.address, session.port, keys)
            s.check(False, f"{what} is refused")
        except OSError as e:
            s.same(e.errno, errno.ENOTUNIQ, f"{what} is refused")

    for direction, own, other in ((TLS_TX, rx, tx), (TLS_RX, tx, rx)):
        refused(direction, own, "the key that it has")
        refused(direction, other, "the key of the other direction")
    session.works("all is as it was")
    session.set_keys(session.next_keys(tx), session.next_keys(rx))
    session.works("with the next keys")
    for direction, own, other in ((TLS_TX, rx, tx), (TLS_RX, tx, rx)):
        refused(direction, own, "the key before")
        refused(direction, other, "the key before of the other direction")
        # The same key with another IV would repeat nonces of control packets.
        same = Keys("another IV")
        same.key = own.key
        refused(direction, same, "the key before with another IV")
