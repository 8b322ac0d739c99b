#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""tools/wireshark/homa.lua, run by tshark on packets that homawire made, and on packets that are wrong.

Usage: dissect.py [CAPTURE]

With a capture, what tshark says of each of its Homa packets is compared with what homawire reads in it, too. Needs no
module; run it in the toolchain root (scripts/enter), as scripts/test does.
"""

import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile

from homawire import (ACK, BUSY, CUTOFFS, DATA, FORMAT, FREEZE, GRANT, NEED_ACK, RESEND, TLS13,
                      UNKNOWN, Keys, Packet, acks, checksum, control_packet, cut_plain, data_packet, end, grant,
                      ip_payload, ok, overhead, read_pcap, resend, same, seal_message, sealed_control, sealed_packet)

HERE = pathlib.Path(__file__).resolve().parent
PLUGIN = HERE.parent / "tools/wireshark/homa.lua"
CPORT, SPORT = 0x8123, 99


def frame(payload, v6=False, ip_id=0):
    if v6:
        head = struct.pack(">IHBB16s16s", 6 << 28, len(payload), 146, 64, socket.inet_pton(socket.AF_INET6, "fd00::1"),
                           socket.inet_pton(socket.AF_INET6, "fd00::2"))
    else:
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ip_id, 0x4000, 64, 146, 0,
                           bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)))
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return bytes(12) + struct.pack(">H", 0x86dd if v6 else 0x0800) + head + payload


def write_pcap(path, frames):
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 1 << 18, 1))
        for raw in frames:
            f.write(struct.pack("<IIII", 0, 0, len(raw), len(raw)) + raw)


class Seen:
    """What tshark says of a packet."""

    def __init__(self, layers):
        self.fields, self.experts = {}, set()
        self.walk(layers.get("homa") or {})
        # What Wireshark adds when the plugin fails.
        self.errors = [key for key in layers if key.startswith(("Lua Error", "_ws.malformed"))]

    def walk(self, node):
        for key, value in node.items() if isinstance(node, dict) else ():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    self.walk(one)
                elif key.startswith("homa.malformed_") or key in ("homa.record_header", "homa.retransmission"):
                    self.experts.add(key.removeprefix("homa."))
                else:
                    self.fields.setdefault(key, []).append(one)

    def number(self, name):
        got = self.fields.get(f"homa.{name}")
        return int(got[0], 0) if got else None

    def numbers(self, name):
        return [int(n, 0) for n in self.fields.get(f"homa.{name}", ())]


def unique(pairs):
    """An object whose names may come twice, as tshark's do."""
    got = {}
    for key, value in pairs:
        if key in got:
            got[key] = (got[key] if isinstance(got[key], list) else [got[key]]) + [value]
        else:
            got[key] = value
    return got


def tshark(frames):
    """What tshark says of each frame. As root it would not load the plugin."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path, plugin = f"{folder}/packets.pcap", f"{folder}/homa.lua"
        write_pcap(path, frames)
        pathlib.Path(plugin).write_bytes(PLUGIN.read_bytes())
        command = ["tshark", "-X", f"lua_script:{plugin}", "-r", path, "-T", "json"]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        done = subprocess.run(command, env={**os.environ, "HOME": folder, "LC_ALL": "C.UTF-8"}, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not same((done.returncode, done.stderr), (0, ""), "tshark loads the plugin and says nothing"):
        end()
    got = [Seen(p["_source"]["layers"]) for p in json.loads(done.stdout, object_pairs_hook=unique)]
    same(len(got), len(frames), f"it shows {len(frames)} packets")
    return got


def record_range(packet):
    """The records that a sealed packet has parts of."""
    size = packet.record_size + overhead(packet.seal_flags)
    at = packet.first_record * size + packet.sequence
    return list(range(at // size, (at + len(packet.payload) - 1) // size + 1))


def compare(packet, seen, name):
    """Does tshark show what homawire reads?"""
    want = {"srcport": packet.sport, "dstport": packet.dport, "type": packet.type, "id": packet.id,
            "rpc": packet.id & ~1, "from_server": packet.id & 1, "sealed": int(packet.sealed)}
    if packet.plain_type == DATA:
        want |= {"message_length": packet.length, "incoming": packet.incoming, "offset": packet.offset,
                 "retransmit": packet.retransmit, "payload_length": len(packet.payload)}
        if packet.sealed:
            want |= {"seal.record_size": packet.record_size, "seal.first_record": packet.first_record,
                     "window": packet.window, "record": record_range(packet)[0],
                     "record.number": packet.id << 16 | record_range(packet)[0]}
    elif packet.plain_type in (GRANT, RESEND):
        want["offset"] = packet.offset
    if packet.sealed:
        want |= {"seal.epoch": packet.seal_flags & 3 if packet.plain_type != DATA else packet.raw[58] & 3,
                 "seal.tls": 1, "seal.format": FORMAT}
        if packet.plain_type != DATA:
            want["seal.counter"] = packet.counter
    bad = {n: (seen.number(n), v) for n, v in want.items() if seen.number(n) != v}
    if packet.sealed and packet.plain_type == DATA and seen.numbers("record") != record_range(packet):
        bad["records"] = (seen.numbers("record"), record_range(packet))
    bad |= {problem: "" for problem in [*(seen.experts - {"retransmission"}), *seen.errors]}
    return same(bad, {}, f"{name}: {packet}") if bad else True


def good():
    """Packets as they should be: (name, packet)."""
    keys = Keys("dissect")
    for size in (1, 100, 5000):
        for raw in cut_plain(CPORT, SPORT, 4, os.urandom(size)):
            yield "plain DATA", raw
    yield "an acknowledgment", data_packet(CPORT, SPORT, 6, 10, 0, bytes(10), ack=(2, SPORT))
    yield "a segment offset", data_packet(SPORT, CPORT, 7, 3000, 0, bytes(1000), segment_offset=1400, retransmit=1)
    plain = [(GRANT, grant(50000, 5)), (RESEND, resend(1400, 2800, 7)), (RESEND, resend(0, -1)), (UNKNOWN, b""),
             (BUSY, b""), (CUTOFFS, struct.pack(">8IH", *range(8), 3)), (FREEZE, b""), (NEED_ACK, b""),
             (ACK, acks((2, 99), (8, 99), (10, 100)))]
    for kind, fields in plain:
        yield "plain control", control_packet(kind, CPORT, SPORT, 12, fields)
    for size, record in ((1, 1024), (3000, 1024), (40000, 16384), (100, 64)):
        for raw in seal_message(keys, CPORT, SPORT, 14, os.urandom(size), record_size=record):
            yield "sealed DATA", raw
    for number, (kind, fields) in enumerate(plain):
        yield "sealed control", sealed_control(kind, SPORT, CPORT, 15, keys, 1000 + number, fields, flags=TLS13 | 2)


def wrong():
    """Packets that the module counts as malformed: (word, packet)."""
    keys = Keys("dissect")
    plain = data_packet(CPORT, SPORT, 4, 100, 0, bytes(100))
    sealed = seal_message(keys, CPORT, SPORT, 14, os.urandom(3000))[1]
    control = sealed_control(GRANT, CPORT, SPORT, 14, keys, 5, grant(100))

    def changed(raw, at, *values):
        return raw[:at] + bytes(values) + raw[at + len(values):]

    yield "short", plain[:20]
    yield "short", plain[:40]
    yield "short", plain[:56]
    yield "short", control[:-1]
    yield "type", changed(plain, 11, 0x19)
    yield "type", changed(plain, 11, 0)
    yield "port", changed(plain, 0, 0, 0)
    yield "length", changed(plain, 28, 0, 0, 0, 0)
    yield "length", changed(plain, 28, 0, 0xf, 0x42, 0x41)
    yield "place", data_packet(CPORT, SPORT, 4, 100, 50, bytes(51))
    yield "place", control_packet(GRANT, CPORT, SPORT, 4, grant(1078273))
    yield "place", control_packet(RESEND, CPORT, SPORT, 4, resend(0, 1078273))
    yield "place", sealed_packet(CPORT, SPORT, 14, 100, 1024, 0, 100, bytes(30))
    yield "acks", control_packet(ACK, CPORT, SPORT, 4, acks(*((2 * i, 99) for i in range(5))).replace(b"\0\5", b"\0\6", 1))
    yield "record", changed(sealed, 56, 0, 63)
    yield "record", changed(sealed, 52, 0, 0, 0, 1)
    yield "id", changed(sealed, 20, 0, 0, 0x80)
    yield "format", changed(sealed, 59, 2)
    yield "format", changed(control, 7, 0)
    yield "reserved", changed(sealed, 58, 0x24)
    yield "reserved", changed(control, 6, 0x0c)
    yield "reserved", changed(control, 33, 0x80)
    yield "trailing", control + b"\0"


def main():
    packets = list(good())
    for v6 in (False, True):
        v = "IPv6" if v6 else "IPv4"
        seen = tshark([frame(raw, v6) for _, raw in packets])
        right = [compare(Packet(raw), s, f"{v}: {name}") for (name, raw), s in zip(packets, seen)]
        ok(all(right), f"{v}: {len(packets)} packets are shown as they are")
    by_name = {}
    for (name, raw), s in zip(packets, seen):
        by_name.setdefault(name, []).append((Packet(raw), s))
    same(by_name["an acknowledgment"][0][1].numbers("ack.id"), [2], "DATA shows what it acknowledges")
    shown = by_name["a segment offset"][0][1]
    same((shown.number("offset"), "retransmission" in shown.experts), (1400, True), "and its place, and that it was sent before")
    grants = [s for p, s in by_name["plain control"] if p.type == GRANT]
    same(grants[0].number("priority"), 5, "GRANT shows the priority")
    acked = [s for p, s in by_name["plain control"] + by_name["sealed control"] if p.plain_type == ACK]
    same([a.numbers("ack.id") for a in acked], [[2, 8, 10]] * 2, "ACK shows all ids")
    cutoffs = [s for p, s in by_name["plain control"] if p.type == CUTOFFS]
    same((cutoffs[0].numbers("cutoff"), cutoffs[0].number("cutoff_version")), (list(range(8)), 3), "CUTOFFS all cutoffs")
    several = [s for p, s in by_name["sealed DATA"] if len(record_range(p)) > 1 or p.record_size == 64]
    ok(several and all(s.numbers("record.type") == [23] * len(s.numbers("record.length")) for s in several),
       "headers of records are shown")

    # A network card that counts the identification up instead of the sequence.
    raw = sealed_packet(CPORT, SPORT, 14, 3000, 4096, 0, 0, bytes(1000), flags=TLS13 | 8, window=1000)
    seen = tshark([frame(raw, ip_id=2)])
    same(seen[0].number("offset"), 2000, "the place by the IPv4 identification")

    wrongs = list(wrong())
    seen = tshark([frame(raw) for _, raw in wrongs])
    for (word, raw), s in zip(wrongs, seen):
        same(s.experts, {f"malformed_{word}"}, f"{len(raw)} bytes that are malformed: {word}")
    # Random bytes, and good packets cut anywhere: no error of the plugin's own.
    rubbish = [os.urandom(n)[:11] + bytes((0x10 + n % 0x19,)) + os.urandom(n) for n in range(120)]
    rubbish += [raw[:n] for _, raw in packets[-12:] for n in range(0, len(raw), 3)]
    seen = tshark([frame(raw) for raw in rubbish])
    same([s.errors for s in seen if s.errors], [], f"{len(rubbish)} packets of rubbish: no error in the plugin")

    for path in sys.argv[1:]:
        frames = [f for f in read_pcap(path) if ip_payload(f)]
        seen = tshark(frames)
        right = [compare(ip_payload(f).packet, s, path) for f, s in zip(frames, seen)]
        ok(frames and all(right), f"{path}: {len(frames)} packets are shown as they are")
    end()


main()
