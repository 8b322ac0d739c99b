# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Which key: epochs that are to come, that are gone, and those of others."""

from homawire import NEED_ACK, Keys, seal_message
from scene import PORT, Session, rng, script


class Rekeying:
    """A session of which only the peer's direction gets new keys; the keys of all its epochs."""

    def __init__(self, s):
        self.s, self.session = s, Session(s)
        self.keys = [self.session.tx] + [Keys(rng.random(), epoch=n & 3) for n in range(1, 9)]

    def install(self, epoch):
        self.session.set_keys(tx=self.keys[epoch])

    def exchange(self, epoch, what, floor=None):
        session, data = self.session, rng.randbytes(3000)
        number = session.id()
        distance = 0 if floor is None else (number - floor) // 2
        session.delivers(number, data, session.seal(number, data, keys=self.keys[epoch], floor_distance=distance), what)

    def unknown(self, epoch, what):
        """There is no key of it."""
        session = self.session
        number = session.id()
        self.s.drops("drop_no_session", *session.seal(number, b"abc", keys=self.keys[epoch]),
                     session.control(NEED_ACK, number | 1, keys=self.keys[epoch]), what=what)


@script
def without_a_key(s):
    """Epochs: what is of an epoch without a key is dropped before it costs anything, messages and control packets."""
    r = Rekeying(s)
    r.exchange(0, "epoch 0")
    for epoch in (1, 2, 3):
        r.unknown(epoch, f"epoch {epoch}, of which there is no key")
    s.same(s.live(), 1, "and no RPC")


@script
def overlap(s):
    """Keys: messages finish with the key that they began with; that of the epoch before the last lives no longer."""
    r = Rekeying(s)
    session = r.session
    held, data = session.id(), rng.randbytes(20000)
    packets = session.seal(held, data)
    s.counts({"TlsRecordsOpened": 5}, *packets[:5], what="the beginning of a message of epoch 0")
    r.install(1)
    r.exchange(0, "epoch 0, when there is a key of epoch 1", held)
    r.exchange(1, "epoch 1", held)
    r.exchange(0, "epoch 0 again", held)
    r.install(2)
    r.exchange(1, "epoch 1, when there is a key of epoch 2", held)
    session.delivers(held, data, packets[5:], "the rest of the message of epoch 0")
    late = session.id()
    packets = session.seal(late, data, keys=r.keys[0])
    s.counts({"TlsRecordsOpened": 5}, *packets[:5], what="the beginning of another one of epoch 0")
    r.exchange(2, "epoch 2", late)
    s.drops("drop_no_session", *packets[5:], what="its rest, when epoch 2 has ended epoch 0")
    r.unknown(0, "epoch 0")
    r.exchange(1, "epoch 1 still", late)


@script
def through_all(s):
    """Epochs: two bits name the key, modulo 4; at each time there are those of two epochs, or of one more to come."""
    r = Rekeying(s)
    r.install(1)
    r.exchange(1, "epoch 1")
    for epoch in range(2, 9):
        r.install(epoch)
        r.exchange(epoch, f"epoch {epoch}")
        r.exchange(epoch - 1, f"epoch {epoch - 1} still")
        r.unknown(epoch - 2, f"epoch {epoch - 2} no more")
    number = r.session.id()
    s.drops("TlsDecryptError", *r.session.seal(number, b"abc", keys=r.keys[4]), what="epoch 4 for 8")


@script
def each_others_names(s):
    """Invariant 2, keys: a record of one epoch does not open in the name of another one that has a key."""
    r = Rekeying(s)
    r.install(1)
    r.install(2)
    session = r.session
    for true in (0, 1, 2):
        for said in (0, 1, 2):
            if true == said:
                continue
            number = session.id()
            flags = r.keys[said].flags
            packet = seal_message(r.keys[true], session.port, PORT, number, b"abc", flags=flags)
            control = bytearray(session.control(NEED_ACK, number | 1, keys=r.keys[true]))
            control[6] = flags
            s.drops("TlsDecryptError", *packet, bytes(control), what=f"epoch {true} says it is {said}")
    # Records of one message, of two epochs.
    number, data = session.id(), rng.randbytes(2000)
    mixed = [session.seal(number, data, keys=r.keys[n])[n] for n in (0, 1)]
    s.counts({"TlsRecordsOpened": 1, "drop_refused": 1}, *mixed, what="a message of two epochs")
    session.delivers(number, data, session.seal(number, data, keys=r.keys[0])[1:], "of one")


@script
def keys_set_too_early(s):
    """Rekeying: a receiver that gets keys before its peer uses them has three at most; the oldest goes for the fourth."""
    r = Rekeying(s)
    for epoch in (1, 2, 3):
        r.install(epoch)
    r.unknown(0, "epoch 0, for which there was no room")
    for epoch in (1, 2, 3):
        r.exchange(epoch, f"epoch {epoch}")
    r.unknown(1, "epoch 1, since epoch 3 is used")
