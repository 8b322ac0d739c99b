# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Homa's packets, plain and sealed, written and read a second time.

What is here was made from docs/wire.md alone and shares nothing with the module, so that a
mistake there cannot be made here too. Records are sealed and opened by the `cryptography` package.
Also here: Homa sockets and namespaces for Python, a peer that speaks packet by packet, captures, and TAP.
"""

import contextlib
import errno
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

IPPROTO_HOMA = 146
SOL_TLS, TLS_TX, TLS_RX = 282, 1, 2
HOMA_CMSG_RPC, HOMA_CMSG_KEY, HOMA_CMSG_SEALED = 1, 2, 1
SO_HOMA_PADDING = 13
MAX_MESSAGE = 1_000_000

DATA, GRANT, RESEND, UNKNOWN, BUSY, CUTOFFS, FREEZE, NEED_ACK, ACK = range(0x10, 0x19)
NAMES = dict(enumerate("DATA GRANT RESEND UNKNOWN BUSY CUTOFFS FREEZE NEED_ACK ACK".split(), 0x10))
SEALED = 0x10                       # added to a type
CONTROL_LEN = {GRANT: 33, RESEND: 37, UNKNOWN: 28, BUSY: 28, CUTOFFS: 62, FREEZE: 28, NEED_ACK: 28, ACK: 80}

TLS13 = 4                           # in the seal flags
OVERHEAD = 5 + 1 + 16               # what a TLS 1.3 record is longer than its plaintext
OVERHEAD12 = 5 + 8 + 16             # and a TLS 1.2 record
TAG = 16
PREAMBLE = 8
FORMAT = 1


# ---- TAP -----------------------------------------------------------------------------------------

run = failed = 0

# Functions whose callers are told of when a check fails.
HELPERS = {"same"}


def diag(text):
    print("# " + str(text).replace("\n", "\n# "), flush=True)


def ok(good, name):
    global run, failed
    run += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {run} - {name}", flush=True)
    if not good:
        caller = sys._getframe(1)
        while caller.f_code.co_name in HELPERS:
            caller = caller.f_back
        diag(f"at {os.path.basename(caller.f_code.co_filename)}:{caller.f_lineno}")
    return good


def same(got, want, name):
    if not ok(got == want, name):
        diag(f"got {got!r:.300}, expected {want!r:.300}")
    return got == want


def end():
    print(f"1..{run}")
    diag(f"{run - failed} passed, {failed} failed")
    sys.exit(failed != 0 or run == 0)


def bail(text):
    print(f"Bail out! {text}", flush=True)
    os._exit(99)


# ---- Namespaces ----------------------------------------------------------------------------------

class Side:
    """A host: a namespace and its addresses, as tests/run passes them (see lib.h)."""

    def __init__(self, variable):
        value = os.environ.get(variable)
        if not value:
            bail(f"{variable} is not set: run this by tests/run")
        self.ns, self.ip4, self.ip6 = value.split(",")
        with self, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind(("eth0", 0))
            self.mac = sock.getsockname()[4]

    def ip(self, family):
        return self.ip4 if family == socket.AF_INET else self.ip6

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        with open(f"/run/netns/{self.ns}") as f:
            os.setns(f.fileno(), os.CLONE_NEWNET)

    def __exit__(self, *_):
        os.setns(self.home, os.CLONE_NEWNET)
        os.close(self.home)

    def counters(self):
        """All of this namespace's counters, by name."""
        all_of_them = {}
        with self:
            for name in ("homa", "homa_tls_stat"):
                for line in open(f"/proc/thread-self/net/{name}"):
                    word, value = line.split()[:2]
                    all_of_them[word] = int(value)
        return all_of_them


def nothing_left(*sides):
    """A check for each side, after all sockets were closed: sockets and RPCs are gone."""
    time.sleep(0.5)
    for side in sides:
        left = {n: v for n, v in side.counters().items() if n in ("live_sockets", "live_rpcs") and v}
        same(left, {}, f"nothing is left in {side.ns}")


class Growth:
    """What a counter grows by, in a "with" block; .of(name) afterwards."""

    def __init__(self, side):
        self.side = side

    def __enter__(self):
        self.before = self.side.counters()
        return self

    def __exit__(self, *_):
        self.after = self.side.counters()

    def of(self, *names):
        for name in names:
            if name not in self.after:
                bail(f"there is no counter {name}")
        return sum(self.after[name] - self.before[name] for name in names)

    def all(self):
        return {n: v - self.before[n] for n, v in self.after.items() if v != self.before[n]}


# ---- Homa sockets --------------------------------------------------------------------------------

class Socket:
    """A Homa socket on a side."""

    def __init__(self, side, family, port=0):
        with side:
            self.sock = socket.socket(family, socket.SOCK_DGRAM, IPPROTO_HOMA)
        self.side, self.family = side, family
        self.sock.settimeout(10)
        if port:
            self.sock.bind(("" if family == socket.AF_INET else "::", port))

    @property
    def port(self):
        return self.sock.getsockname()[1]

    def request(self, data, to, port, cookie=0):
        rpc = struct.pack("=QQIi28sI", 0, cookie, 0, 0, b"", 0)
        return self.sock.sendmsg([data], [(IPPROTO_HOMA, HOMA_CMSG_RPC, rpc)], 0, (to, port))

    def reply(self, rpc, data):
        cmsg = struct.pack("=QQIi28sI", rpc.id, 0, rpc.flags, 0, b"", 0)
        return self.sock.sendmsg([data], [(IPPROTO_HOMA, HOMA_CMSG_RPC, cmsg)], 0, rpc.peer)

    def receive(self, timeout=10):
        """The next message, or None after so many seconds."""
        deadline = time.monotonic() + timeout
        while True:
            if not select.select([self.sock], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            self.sock.settimeout(0)
            try:
                data, cmsgs, _flags, peer = self.sock.recvmsg(MAX_MESSAGE, 128)
                break
            except BlockingIOError:
                # It was ready, and ended before it was received.
                if time.monotonic() >= deadline:
                    return None
            finally:
                self.sock.settimeout(10)
        for level, kind, cmsg in cmsgs:
            if (level, kind) == (IPPROTO_HOMA, HOMA_CMSG_RPC):
                return Message(data, peer, *struct.unpack("=QQIi28sI", cmsg)[:3])
        raise ValueError("no control message")

    def drain(self):
        count = 0
        while self.receive(0):
            count += 1
        return count

    def set_key(self, direction, peer, port, keys):
        if self.family == socket.AF_INET:
            name = struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(peer)
        else:
            name = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + \
                socket.inet_pton(socket.AF_INET6, peer)
        self.sock.setsockopt(SOL_TLS, direction, name.ljust(128, b"\0") + keys.tls_info())

    def set_next_key(self, direction, peer, port, keys):
        """Waits while messages of the key before the current one are under way."""
        for _ in range(500):
            try:
                return self.set_key(direction, peer, port, keys)
            except OSError as e:
                if e.errno != errno.EBUSY:
                    raise
            time.sleep(0.01)
        bail("the next key is refused for 5 s")

    def close(self):
        self.sock.close()


def make_session(client, server):
    """Begin a session between two sockets: keys for both directions, at both ends."""
    there, back = Keys(os.urandom(8)), Keys(os.urandom(8))
    for sock, other, tx, rx in ((server, client, back, there), (client, server, there, back)):
        sock.set_key(TLS_RX, other.side.ip(sock.family), other.port, rx)
        sock.set_key(TLS_TX, other.side.ip(sock.family), other.port, tx)


class Message:
    def __init__(self, data, peer, rpc_id, cookie, flags):
        self.data, self.peer, self.id, self.cookie, self.flags = data, peer, rpc_id, cookie, flags


# ---- Records -------------------------------------------------------------------------------------

class Keys:
    """One direction's AES-GCM key and IV, for TLS 1.2 or 1.3 (minor 2 or 3)."""

    def __init__(self, seed, minor=3, bits=128, epoch=0):
        rng = random.Random(f"homa test key {seed}")
        self.key, self.iv = rng.randbytes(bits // 8), rng.randbytes(12)
        self.minor, self.epoch = minor, epoch
        self.flags = (TLS13 if minor == 3 else 0) | epoch
        self.aead = AESGCM(self.key)

    def tls_info(self):
        """struct tls12_crypto_info_aes_gcm_128 or _256"""
        return struct.pack("=HH8s", 0x0301 + self.minor, 51 if len(self.key) == 16 else 52, self.iv[4:]) + \
            self.key + self.iv[:4] + bytes(8)

    def nonce(self, number):
        number = struct.pack(">Q", number)
        if self.minor == 2:
            return self.iv[:4] + number
        return bytes(a ^ b for a, b in zip(self.iv, bytes(4) + number))

    def seal(self, message_id, index, plaintext):
        number = message_id << 16 | index
        if self.minor == 2:
            aad = struct.pack(">QBHH", number, 23, 0x0303, len(plaintext))
            text = self.aead.encrypt(self.nonce(number), plaintext, aad)
            return struct.pack(">BHHQ", 23, 0x0303, 8 + len(text), number) + text
        header = struct.pack(">BHH", 23, 0x0303, len(plaintext) + 1 + TAG)
        return header + self.aead.encrypt(self.nonce(number), plaintext + b"\x17", header)

    def open(self, message_id, index, record):
        """The record's plaintext; raises InvalidTag."""
        number = message_id << 16 | index
        header, rest = record[:5], record[5:]
        if header != struct.pack(">BHH", 23, 0x0303, len(rest)):
            raise InvalidTag
        if self.minor == 2:
            if rest[:8] != struct.pack(">Q", number):
                raise InvalidTag
            aad = struct.pack(">QBHH", number, 23, 0x0303, len(rest) - 8 - TAG)
            return self.aead.decrypt(self.nonce(number), rest[8:], aad)
        plaintext = self.aead.decrypt(self.nonce(number), rest, header)
        if plaintext[-1:] != b"\x17":
            raise InvalidTag
        return plaintext[:-1]

    def tag(self, counter, header):
        return self.aead.encrypt(self.nonce(1 << 63 | counter), b"", header)

    def check_tag(self, counter, header, tag):
        self.aead.decrypt(self.nonce(1 << 63 | counter), tag, header)


def of_epoch(keys, flags):
    """Of a list of keys, the one that is meant: of as many as there can be at a time."""
    return keys[flags & 3] if isinstance(keys, list) else keys


def overhead(flags):
    """What a record is longer than its plaintext, by the seal flags."""
    return OVERHEAD if flags & TLS13 else OVERHEAD12


def records(length, record_size, flags=TLS13):
    """(index, plaintext start, stream start, plaintext length) of each record."""
    return [(i, at, i * (record_size + overhead(flags)), min(record_size, length - at))
            for i, at in enumerate(range(0, length, record_size))]


def stream_length(length, record_size, flags=TLS13):
    return length + len(records(length, record_size)) * overhead(flags)


# ---- Packets -------------------------------------------------------------------------------------

class Packet:
    """One packet, its fields read from the bytes after the IP header."""

    def __init__(self, raw):
        self.raw = raw
        self.sport, self.dport, self.sequence = struct.unpack_from(">HHI", raw)
        self.type, self.doff, _flags, self.window = struct.unpack_from(">BBBH", raw, 11)
        self.id, = struct.unpack_from(">Q", raw, 20)
        self.sealed = self.type >= 0x20
        self.plain_type = self.type - SEALED if self.sealed else self.type
        if self.plain_type == DATA:
            self.length, self.incoming = struct.unpack_from(">II", raw, 28)
            self.retransmit = raw[48]
            self.segment_offset, = struct.unpack_from(">I", raw, 52)
            if self.sealed:
                self.first_record, = struct.unpack_from(">H", raw, 50)
                self.record_size, self.seal_flags, self.format = struct.unpack_from(">HBB", raw, 56)
                self.payload = raw[60:]
                self.offset = self.first_record * (self.record_size + overhead(self.seal_flags)) + self.sequence
            else:
                self.payload = raw[56:]
                self.offset = self.sequence if self.segment_offset == 0xffffffff else self.segment_offset
        elif self.sealed:
            end = CONTROL_LEN[self.plain_type] + 8
            self.aad, self.tag = raw[:end], raw[end:]
            self.counter, = struct.unpack_from(">Q", raw, end - 8)
            self.seal_flags, self.format = raw[6], raw[7]
        if self.plain_type in (GRANT, RESEND):
            self.offset, = struct.unpack_from(">I", raw, 28)

    def __repr__(self):
        return f"{'SEALED_' if self.sealed else ''}{NAMES.get(self.plain_type, self.type)}({self.id})"


def common(kind, sport, dport, sender_id, sequence=0, doff=5, window=0):
    return struct.pack(">HHI3xBBBHHHQ", sport, dport, sequence, kind, doff << 4, 0, window, 0, 0, sender_id)


def data_packet(sport, dport, sender_id, length, offset, payload, incoming=None, ack=(0, 0), retransmit=0,
                segment_offset=0xffffffff):
    return common(DATA, sport, dport, sender_id, offset, 14) + struct.pack(
        ">IIQHHBxxxI", length, length if incoming is None else incoming, *ack, 0, retransmit, segment_offset) + payload


def sealed_packet(sport, dport, message_id, length, record_size, first_record, sequence, payload, incoming=None,
                  flags=TLS13, window=1400):
    return common(DATA + SEALED, sport, dport, message_id, sequence, 15, window) + struct.pack(
        ">II10xHBBHIHBB", length, 0xfffff if incoming is None else incoming, 0, 0, 0, first_record,
        first_record * record_size, record_size, flags, FORMAT) + payload


def control_packet(kind, sport, dport, sender_id, fields=b""):
    fields = fields.ljust(CONTROL_LEN.get(kind, 28) - 28, b"\0")
    return common(kind, sport, dport, sender_id) + fields


def sealed_control(kind, sport, dport, message_id, keys, counter, fields=b"", flags=None):
    flags = keys.flags if flags is None else flags
    raw = bytearray(control_packet(kind, sport, dport, message_id, fields))
    raw[11] += SEALED
    raw[6], raw[7] = flags, FORMAT
    raw += struct.pack(">Q", counter)
    return bytes(raw) + keys.tag(counter, bytes(raw))


def grant(offset, priority=0):
    return struct.pack(">IB", offset, priority)


def resend(offset, length, priority=0):
    return struct.pack(">IIB", offset, length & 0xffffffff, priority)


def acks(*pairs):
    return struct.pack(">H", len(pairs)) + b"".join(struct.pack(">QH", *p) for p in pairs)


def cut_plain(sport, dport, sender_id, data, mtu=1400, **more):
    return [data_packet(sport, dport, sender_id, len(data), at, data[at:at + mtu], **more)
            for at in range(0, len(data), mtu)]


def seal_message(keys, sport, dport, message_id, data, record_size=1024, mtu=1400, floor_distance=0, preamble=None,
                 flags=None):
    """All packets of a sealed message; each record is a segment of its own."""
    flags = keys.flags if flags is None else flags
    if preamble is None:
        preamble = struct.pack(">IHBB", len(data), floor_distance, 0, 0)
    plaintext = preamble + data
    packets = []
    for index, start, _stream, size in records(len(plaintext), record_size):
        record = keys.seal(message_id, index, plaintext[start:start + size])
        packets += [sealed_packet(sport, dport, message_id, len(plaintext), record_size, index, at,
                                  record[at:at + mtu], flags=flags) for at in range(0, len(record), mtu)]
    return packets


def segments(raw, mtu=1400):
    """A captured packet, which the sender's kernel may have left to be cut by a device, cut."""
    packet = Packet(raw)
    if packet.plain_type != DATA or len(raw) <= mtu + 60:
        return [raw]
    head, payload = raw[:-len(packet.payload)], packet.payload
    return [head[:4] + struct.pack(">I", packet.sequence + at) + head[8:] + payload[at:at + mtu]
            for at in range(0, len(payload), mtu)]


class Assembler:
    """Puts messages together from packets in any order, and opens their records."""

    def __init__(self, keys=None):
        self.keys = keys
        self.total, self.pieces, self.last = {}, {}, {}

    def add(self, packet):
        """True when that message may be whole."""
        key = packet.id
        if packet.sealed and packet.segment_offset != packet.first_record * packet.record_size:
            raise ValueError("record index and segment offset contradict each other")
        total = stream_length(packet.length, packet.record_size, packet.seal_flags) if packet.sealed else packet.length
        if self.total.setdefault(key, total) != total:
            raise ValueError(f"message {key} has two lengths")
        if packet.offset + len(packet.payload) > total:
            raise ValueError(f"message {key}: payload outside")
        pieces = self.pieces.setdefault(key, {})
        old = pieces.get(packet.offset, b"")
        if any(a != b for a, b in zip(old, packet.payload)):
            raise ValueError(f"message {key}: other bytes in the same place")
        if len(packet.payload) > len(old):
            pieces[packet.offset] = packet.payload
        self.last[key] = packet
        return sum(map(len, pieces.values())) >= total and self.stream(key) is not None

    def stream(self, key):
        """All bytes of a message as they were sent; None if some are missing."""
        stream = bytearray()
        for offset, piece in sorted(self.pieces[key].items()):
            if offset > len(stream):
                return None
            twice = min(len(stream), offset + len(piece)) - offset
            if stream[offset:offset + twice] != piece[:twice]:
                raise ValueError(f"message {key}: other bytes in the same place")
            stream += piece[twice:]
        return bytes(stream) if len(stream) == self.total[key] else None

    def plaintext(self, key, keys=None):
        """The application's bytes; InvalidTag or ValueError if they are not authentic."""
        packet, stream = self.last[key], self.stream(key)
        if stream is None:
            raise ValueError("not whole")
        if not packet.sealed:
            return stream
        flags = packet.seal_flags
        keys = of_epoch(keys or self.keys, flags)
        text = b"".join(keys.open(key, index, stream[at:at + size + overhead(flags)])
                        for index, _, at, size in records(packet.length, packet.record_size, flags))
        length, self.floor_distance, padding, reserved = struct.unpack_from(">IHBB", text)
        if padding > 20 or reserved or not 1 <= length <= MAX_MESSAGE:
            raise ValueError("bad preamble")
        if len(text) != -(-(PREAMBLE + length) // (1 << padding)) << padding:
            raise ValueError("the length in the preamble is another one")
        if any(text[PREAMBLE + length:]):
            raise ValueError("padding that is not zero")
        return text[PREAMBLE:PREAMBLE + length]


# ---- A peer that speaks packet by packet -----------------------------------------------------------

def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class RawPeer:
    """A host that exists only as this program: an address on the wire of `side` that no kernel has."""

    IP4, IP6 = "10.0.0.77", "fd00::77"

    def __init__(self, side, other, family, address=None):
        self.side, self.other, self.family = side, other, family
        self.address = address or (self.IP4 if family == socket.AF_INET else self.IP6)
        self.ethertype = 0x0800 if family == socket.AF_INET else 0x86dd
        with side:
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.ethertype))
            self.sock.bind(("eth0", self.ethertype))
            self.sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)       # SO_RCVBUFFORCE
        if not address:
            mac = ":".join(f"{b:02x}" for b in side.mac)
            subprocess.run(["ip", "-n", other.ns, "neigh", "replace", self.address, "lladdr", mac, "dev", "eth0",
                            "nud", "permanent"], check=True)
        self.ip_id = 0

    def frame(self, payload, source=None, ip_id=None, protocol=IPPROTO_HOMA):
        src, dst = source or self.address, self.other.ip(self.family)
        if self.family == socket.AF_INET:
            self.ip_id = (self.ip_id + 1) & 0xffff
            head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), self.ip_id if ip_id is None else ip_id,
                               0x4000, 64, protocol, 0, socket.inet_aton(src), socket.inet_aton(dst))
            head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
        else:
            head = struct.pack(">IHBB16s16s", 6 << 28, len(payload), protocol, 64,
                               socket.inet_pton(socket.AF_INET6, src), socket.inet_pton(socket.AF_INET6, dst))
        return self.other.mac + self.side.mac + struct.pack(">H", self.ethertype) + head + payload

    def send(self, *packets, source=None):
        for packet in packets:
            self.sock.send(self.frame(packet, source))

    def receive(self, timeout=2.0, port=None):
        """The next Homa packet for this peer (and port); None after so many seconds."""
        deadline = time.monotonic() + timeout
        while True:
            if not select.select([self.sock], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            parsed = ip_payload(self.sock.recv(70000))
            if parsed and parsed.dst == self.address and (port is None or parsed.packet.dport == port):
                return parsed.packet

    def drain(self):
        while self.receive(0.0):
            pass

    def receive_message(self, assembler, message_id, timeout=5.0, grants=None):
        """Collects DATA of a message until it is whole; the packets. Grants as asked."""
        packets, deadline = [], time.monotonic() + timeout
        while time.monotonic() < deadline:
            packet = self.receive(deadline - time.monotonic())
            if packet and packet.plain_type == DATA and packet.id == message_id:
                packets.append(packet)
                if assembler.add(packet):
                    return packets
                if grants:
                    grants(packet)
        return None

    def close(self):
        self.sock.close()


class Parsed:
    pass


def ip_payload(frame):
    """The Homa packet in an Ethernet frame, or None."""
    ethertype, = struct.unpack_from(">H", frame, 12)
    got = Parsed()
    if ethertype == 0x0800 and frame[14 + 9] == IPPROTO_HOMA:
        size = (frame[14] & 15) * 4
        total, = struct.unpack_from(">H", frame, 16)
        got.src, got.dst = (socket.inet_ntoa(frame[at:at + 4]) for at in (26, 30))
        # A length of 0: longer than 64 KiB, so it goes to the end.
        raw = frame[14 + size:14 + total] if total else frame[14 + size:]
    elif ethertype == 0x86dd and frame[14 + 6] == IPPROTO_HOMA:
        total, = struct.unpack_from(">H", frame, 18)
        got.src, got.dst = (socket.inet_ntop(socket.AF_INET6, frame[at:at + 16]) for at in (22, 38))
        raw = frame[54:54 + total] if total else frame[54:]
    else:
        return None
    if len(raw) < 28:
        return None
    got.frame, got.raw = frame, raw
    got.packet = Packet(raw)
    return got


# ---- Captures ------------------------------------------------------------------------------------

@contextlib.contextmanager
def capture(side, path):
    """tcpdump on a side's eth0 while the block runs."""
    with subprocess.Popen(["ip", "netns", "exec", side.ns, "tcpdump", "-i", "eth0", "-s", "0", "-B", "65536", "-U",
                           "--immediate-mode", "-w", path, "ip proto 146 or ip6 proto 146"],
                          stderr=subprocess.PIPE, text=True) as tcpdump:
        line = tcpdump.stderr.readline()
        if "listening" not in line:
            bail(f"tcpdump: {line}")
        time.sleep(0.3)
        yield
        time.sleep(0.5)
        tcpdump.terminate()
        rest = tcpdump.stderr.read()
        if " 0 packets dropped by kernel" not in " " + rest.replace("\n", " "):
            bail(f"tcpdump lost packets: {rest}")


def read_pcap(path):
    """The frames of a capture (the classic format, Ethernet)."""
    raw = open(path, "rb").read()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}.get(raw[:4])
    if not order or struct.unpack_from(order + "I", raw, 20)[0] != 1:
        raise ValueError(f"{path} is not a capture of Ethernet")
    at, frames = 24, []
    while at + 16 <= len(raw):
        _s, _us, size, real = struct.unpack_from(order + "IIII", raw, at)
        if size != real:
            raise ValueError("a packet is not whole")
        frames.append(raw[at + 16:at + 16 + size])
        at += 16 + size
    return frames
