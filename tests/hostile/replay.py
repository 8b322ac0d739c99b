# SPDX-License-Identifier: GPL-2.0 OR MIT
"""What was sent before is sent again: at once, later, and when nobody remembers."""

from homawire import ACK, CONTROL_LEN, CUTOFFS, FREEZE, NAMES, RESEND, Socket, acks, resend
from scene import PORT, SLOW, Session, rng, script


@script
def at_once(s):
    """Invariant 3: packets that come twice, before and after the message is whole, are delivered once."""
    session = Session(s)
    data, number = rng.randbytes(5000), session.id()
    packets = session.seal(number, data)
    s.counts({"TlsRecordsOpened": 4}, *packets[:-1], what="all but the last packet")
    s.drops("drop_duplicate", *packets[:-1], *packets[-2::-1], what="again, and backwards")
    session.delivers(number, data, packets[-1:], "with the last packet")
    s.drops("drop_duplicate", *packets, *packets[::-1], what="again when it was answered")


@script
def before_the_answer(s):
    """Invariant 3: while the program works on a request, a replay of it is no second one."""
    session = Session(s)
    number, packets, got = session.begins(rng.randbytes(3000))
    s.drops("drop_duplicate", *packets * 3, what="replay while the RPC runs")
    s.sock.reply(got, b"answer")
    s.check(session.answered(number, b"answer"), "the one answer opens")
    s.drops("drop_duplicate", *packets, what="replay after the answer")


@script
def after_the_rpc(s):
    """Invariant 3: when an acknowledgment has ended the RPC, its packets are still known."""
    session = Session(s)
    old = {}
    for size in (1, 500, 4000):
        number = session.id()
        data = rng.randbytes(size)
        old[number] = session.seal(number, data)
        session.delivers(number, data, old[number], f"{size} bytes")
    s.counts({}, session.control(ACK, session.id(), acks(*((number, PORT) for number in old))), what="acknowledged")
    s.waits(lambda: s.live() == 0, "the RPCs are gone")
    s.drops("TlsReplay", *sum(old.values(), []), *sum(old.values(), [])[::-1], what="replay when the RPCs are gone")
    s.same(s.live(), 0, "none of them came to life")


@script
def below_the_floor(s):
    """Invariant 3, record sequence number: ids below the floor are dead, whether they were seen or not."""
    session = Session(s)
    session.next_id = 200
    number, packets, got = session.begins(b"has no answer")
    session.works("a request whose floor is its own id")
    s.drops("TlsReplay", *packets, what="replay of a dead id")
    s.drops("TlsReplay", *(p for dead in range(0, 200, 2) for p in session.seal(dead, b"never seen")),
            what="ids that were skipped")
    s.sock.reply(got, b"too late")
    s.same(s.data_to(session), [], "and nobody is told its answer")


@script
def each_id_once(s):
    """Record sequence number: of the 65,536 ids from the floor on, in any order, each is taken exactly once."""
    session = Session(s)
    first = 2 * 5000
    session.next_id = first
    session.works("the floor")
    # The floor stays where it is: it is said by each message how far away it is.
    chosen = rng.sample(range(1, 1000), 30) + rng.sample(range(1000, 65535), 100) + [65535]
    for distance in chosen:
        number = first + 2 * distance
        packets = session.seal(number, b"%d" % distance, floor_distance=distance)
        s.peer.send(*packets, *packets)
    got = [s.sock.receive(5 * SLOW) for _ in chosen]
    s.same(sorted(int(g.data) for g in got if g), sorted(chosen), "each of them arrives")
    s.silence("and none twice")
    again = [p for d in rng.sample(chosen, len(chosen)) for p in session.seal(first + 2 * d, b"%d" % d, floor_distance=d)]
    s.drops("drop_duplicate", *again, what="nor later")
    # What is further ahead than any honest client goes brings its floor along.
    number = first + 2 * (65535 + 1000)
    session.next_id = number + 2
    session.delivers(number, b"far", session.seal(number, b"far", floor_distance=65535), "an id far ahead")
    s.waits(lambda: s.live() == 1 + 101, "what the floor passed is gone")
    s.drops("TlsReplay", *(p for d in chosen[:30] for p in session.seal(first + 2 * d, b"x")), what="what it passed")


@script
def across_rekeys(s):
    """Invariant 3, keys: replays are refused under the old key, when it is gone, and when its epoch's number comes again."""
    session = Session(s)
    keys = [session.tx]
    number, data = session.id(), rng.randbytes(2500)
    packets = session.seal(number, data)
    session.delivers(number, data, packets, "in epoch 0")
    held = session.id()
    never_arrived = session.seal(held, b"held back")
    for epoch in range(1, 6):
        keys.append(session.next_keys(keys[-1]))
        session.set_keys(tx=keys[epoch])
        newest = session.id()
        # The floor stays below what was held back, so that only its key can refuse that.
        session.delivers(newest, b"new", session.seal(newest, b"new", floor_distance=(newest - held) // 2), f"epoch {epoch}")
        has_key = epoch & 3 in (0, 1)       # the same two bits: epoch 0 itself, or 4
        s.drops("TlsReplay" if has_key else "drop_no_session", *packets, what=f"replay in epoch {epoch}")
        if epoch >= 2:
            s.drops("TlsDecryptError" if has_key else "drop_no_session", *never_arrived,
                    what=f"what was held back since epoch 0, in epoch {epoch}")


@script
def in_another_session(s):
    """Invariant 3, keys: a program that starts anew, with other keys or none, gets nothing of the session before."""
    session = Session(s)
    data, number = b"of the first session", session.id()
    packets = session.seal(number, data)
    session.delivers(number, data, packets, "the first session")
    control = session.control(RESEND, number)
    s.sock.close()
    s.counts({"drop_no_socket": 2}, *packets, control, what="nobody is there")
    s.sock = Socket(s.server, s.family, PORT)
    session.over = True
    s.drops("drop_no_session", *packets, control, what="no keys")
    other = Session(s, port=session.port)
    s.drops("TlsDecryptError", *packets, control, what="other keys")
    other.works("the new session")


@script
def responses(s):
    """Invariant 3: a response that comes again is not delivered again, nor to another request."""
    session = Session(s)
    number = session.asks(b"question")
    data = rng.randbytes(3000)
    packets = session.seal(number | 1, data)
    s.counts({"TlsRecordsOpened": 3, "responses_received": 1}, *packets, what="the response")
    s.counts({"drop_duplicate": 3}, *packets, what="again before the program takes it")
    got = s.sock.receive(5 * SLOW)
    s.check(got is not None and got.data == data, "it is delivered")
    s.drops("drop_unknown_rpc", *packets, what="again when the program has it")
    second = session.asks(b"another question")
    s.drops("drop_unknown_rpc", *packets, what="while another request waits")
    # To the other request by its name: the records are of another number.
    renamed = [p[:20] + (second | 1).to_bytes(8, "big") + p[28:] for p in packets]
    s.counts({"TlsDecryptError": 1}, *renamed[:1], what="as the response to another request")
    s.silence("renamed")
    session.answers(b"answer", session.seal(second | 1, b"answer"), "the true one")


@script
def control(s):
    """Control packets: each is obeyed once; a small window takes what was overtaken, and nothing older."""
    session = Session(s)
    number, _, got = session.begins(rng.randbytes(100))
    s.sock.reply(got, b"answer")
    s.check(session.answered(number, b"answer"), "the answer opens")
    session.counter = 1000
    question = session.control(RESEND, number, resend(0, -1))
    s.peer.drain()
    s.counts({}, question, what="a RESEND")
    s.check(session.answered(number, b"answer"), "is obeyed")
    s.peer.drain()
    s.drops("TlsReplay", *[question] * 20, what="the same again")
    s.same(s.data_to(session), [], "is not obeyed")
    for kind in CONTROL_LEN:
        # About an RPC that there is not, as UNKNOWN and ACK would end one. To a RESEND the answer is UNKNOWN.
        packet = session.control(kind, session.next_id + 100)
        nothing = kind in (RESEND, CUTOFFS, ACK)
        s.counts({} if nothing else {"drop_unknown_rpc": 1}, packet, what=NAMES[kind])
        s.drops("TlsReplay", packet, what=f"{NAMES[kind]} again")
    newest = session.counter = session.counter + 1000

    def send(counter):
        return session.control(FREEZE, number, counter=counter)     # It does nothing.

    s.counts({}, send(newest), what="a counter far ahead")
    overtaken = rng.sample(range(newest - 127, newest), 127)
    s.counts({}, *map(send, overtaken), what="127 that were overtaken")
    s.drops("TlsReplay", *map(send, overtaken), what="the same")
    s.drops("TlsReplay", *map(send, (newest - 128, newest - 129, newest - 500, 1001, 0)), what="what is older")
    s.drops("malformed_reserved", send(1 << 63), send((1 << 64) - 1), what="counters that there are not")


@script
def control_across_rekeys(s):
    """Control packets: counters run on through all epochs; an old one is refused whatever the key."""
    session = Session(s)
    number, _, got = session.begins(b"question")
    old = session.control(RESEND, number, counter=500)
    s.counts({}, old, what="a control packet of epoch 0")
    for epoch in range(1, 5):
        session.set_keys(tx=session.next_keys(session.tx))
        s.drops("TlsReplay", session.control(RESEND, number, counter=500), session.control(RESEND, number, counter=0),
                what=f"old counters with the key of epoch {epoch}")
        s.counts({}, session.control(FREEZE, number, counter=500 + epoch), what=f"a new counter in epoch {epoch}")
        s.drops("TlsReplay" if epoch in (1, 4) else "drop_no_session", old, what=f"that of epoch 0 in epoch {epoch}")
    session.counter = 600
    s.sock.reply(got, b"answer")
    s.check(session.answered(number, b"answer"), "the RPC is as it was")
