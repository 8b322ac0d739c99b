#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""What HomaModule does on the wire and this module's own other end never does.

Each was seen between the two, see docs/interop.md: here a raw peer plays HomaModule.
"""

import socket
import struct
import time

from homawire import (ACK, DATA, GRANT, IPPROTO_HOMA, NEED_ACK, RESEND, Assembler, RawPeer, Side, Socket, acks, checksum,
                      control_packet, cut_plain, data_packet, end, grant, nothing_left, ok, resend, same)

PORT, OTHER = 99, 98
CLIENT = 0x8001
UNREACHABLE = {socket.AF_INET: (1, 3, 3), socket.AF_INET6: (58, 1, 4)}     # protocol, type, code


class Scene:
    def __init__(self, client, server, family):
        self.client, self.server, self.family = client, server, family
        self.v = "IPv4" if family == socket.AF_INET else "IPv6"
        self.sock = Socket(server, family, PORT)
        self.peer = RawPeer(client, server, family)
        self.number = 5000

    def name(self, text):
        return f"{self.v}: {text}"

    def id(self):
        self.number += 2
        return self.number

    def live(self):
        return self.server.counters()["live_rpcs"]

    def gone(self, want, seconds=0.4):
        """Are so many RPCs left, soon?"""
        limit = time.monotonic() + seconds
        while self.live() > want and time.monotonic() < limit:
            time.sleep(0.02)
        return self.live() == want

    def served(self, sport=CLIENT, port=PORT, sock=None, size=100, number=None, ack=(0, 0)):
        """A request that is answered, and the answer's packets."""
        number, sock = number or self.id(), sock or self.sock
        self.peer.send(*cut_plain(sport, port, number, bytes(size), ack=ack))
        got = sock.receive(3)
        if not ok(got is not None and got.id == number | 1, self.name(f"request {number} arrives")):
            return number, []
        sock.reply(got, bytes(size))
        return number, self.peer.receive_message(Assembler(), number | 1) or []

    def frame(self):
        """The next frame for the peer of another protocol: its number and what follows the IP header."""
        limit = time.monotonic() + 1
        self.peer.sock.settimeout(1)
        while time.monotonic() < limit:
            try:
                frame = self.peer.sock.recv(70000)
            except TimeoutError:
                break
            if self.family == socket.AF_INET and frame[30:34] == socket.inet_aton(self.peer.address):
                kind, rest = frame[23], frame[34:]
            elif self.family == socket.AF_INET6 and frame[38:54] == socket.inet_pton(self.family, self.peer.address):
                kind, rest = frame[20], frame[54:]
            else:
                continue
            if kind != IPPROTO_HOMA:
                return kind, rest
        return None, b""

    def icmp(self, about):
        """Sends "port unreachable" about a packet of the server's, of which `about` are the bytes from IP's header on."""
        protocol, kind, code = UNREACHABLE[self.family]
        body = struct.pack(">BBHI", kind, code, 0, 0) + about[:200]
        src, dst = self.peer.address, self.server.ip(self.family)
        pseudo = b""
        if self.family == socket.AF_INET6:
            pseudo = socket.inet_pton(self.family, src) + socket.inet_pton(self.family, dst) \
                + struct.pack(">II", len(body), protocol)
        body = body[:2] + struct.pack(">H", checksum(pseudo + body + bytes(len(body) % 2))) + body[4:]
        # As frame() makes them for Homa, but for the protocol.
        frame = bytearray(self.peer.frame(body))
        if self.family == socket.AF_INET:
            frame[23] = protocol
            frame[24:26] = b"\0\0"
            frame[24:26] = struct.pack(">H", checksum(bytes(frame[14:34])))
        else:
            frame[20] = protocol
        self.peer.sock.send(bytes(frame))

    def close(self):
        self.sock.close()
        self.peer.close()


def empty_ack(s):
    """The answer to NEED_ACK names the RPC in its header and need not name it again."""
    number, answer = s.served()
    ok(answer, s.name("the answer comes"))
    packet = s.peer.receive(2, port=CLIENT)
    ok(packet is not None and packet.type == NEED_ACK, s.name("an acknowledgment is asked for"))
    s.peer.send(control_packet(ACK, CLIENT, PORT, number))
    ok(s.gone(0), s.name("an ACK without ids ends the RPC of its header"))


def foreign_ack(s):
    """An acknowledgment travels with whatever there is to send to the host."""
    other = Socket(s.server, s.family, OTHER)
    first, _ = s.served()
    same(s.live(), 1, s.name("one RPC waits for its acknowledgment"))
    second, _ = s.served(port=OTHER, sock=other, ack=(first, PORT))
    ok(s.gone(1), s.name("a request to another socket acknowledges it"))
    s.peer.send(control_packet(ACK, CLIENT, PORT, s.id(), acks((second, OTHER))))
    ok(s.gone(0), s.name("so does an ACK to another socket"))
    third, _ = s.served()
    s.peer.send(control_packet(ACK, CLIENT, PORT, s.id(), acks((third, 4321))))
    time.sleep(0.05)
    same(s.live(), 1, s.name("not with the port of no socket"))
    s.peer.send(control_packet(ACK, CLIENT, PORT, third, acks((third, PORT))))
    ok(s.gone(0), s.name("and it ends"))
    other.close()


def nobody(s):
    """A server of HomaModule's asks for an acknowledgment for ever, until it hears that the port is gone."""
    protocol, kind, code = UNREACHABLE[s.family]
    for what, packet in (("NEED_ACK", control_packet(NEED_ACK, PORT, 0x9abc, 77)),
                         ("RESEND", control_packet(RESEND, PORT, 0x9abc, 77, resend(0, -1))),
                         ("GRANT", control_packet(GRANT, PORT, 0x9abc, 77, grant(10)))):
        # ICMP is limited to one such packet in a second.
        time.sleep(1.1)
        s.peer.drain()
        s.peer.send(packet)
        got, body = s.frame()
        ok(got == protocol and tuple(body[:2]) == (kind, code),
           s.name(f"a {what} for nobody: port unreachable"))


def gone_client(s):
    """What HomaModule says of a port that is gone ends the RPCs of that client, and no other's."""
    number, answer = s.served()
    keep, _ = s.served(sport=CLIENT + 1)
    same(s.live(), 2, s.name("two RPCs wait for their acknowledgments"))
    if not ok(answer, s.name("an answer came")):
        return
    head = s.peer.frame(b"")[14:]
    # The server's packet: its addresses are the other way round.
    if s.family == socket.AF_INET:
        about = head[:12] + head[16:20] + head[12:16] + answer[0].raw
    else:
        about = head[:8] + head[24:40] + head[8:24] + answer[0].raw
    s.icmp(about)
    ok(s.gone(1), s.name("port unreachable ends the one"))
    s.peer.send(control_packet(ACK, CLIENT + 1, PORT, keep, acks((keep, PORT))))
    ok(s.gone(0), s.name("the other is acknowledged"))


def offsets(s):
    """HomaModule looks at the sequence in its GRO callback only: what is one packet says its offset itself."""
    number, answer = s.served(size=1000)
    same([p.segment_offset for p in answer], [0], s.name("a message in one packet: its offset"))
    s.peer.drain()
    s.peer.send(control_packet(RESEND, CLIENT, PORT, number, resend(0, -1)))
    packet = s.peer.receive(2, port=CLIENT)
    ok(packet is not None and packet.type == DATA and packet.segment_offset == 0 and packet.retransmit,
       s.name("sent again: its offset"))
    s.peer.send(control_packet(ACK, CLIENT, PORT, number))

    number, answer = s.served(size=20000)
    ok(answer, s.name("a longer answer"))
    s.peer.drain()
    s.peer.send(control_packet(RESEND, CLIENT, PORT, number, resend(0, 20000)))
    assembler = Assembler()
    again = s.peer.receive_message(assembler, number | 1) or []
    ok(len(again) > 10 and all(p.segment_offset == p.sequence for p in again),
       s.name("all of it sent again: each packet tells its offset"))
    s.peer.send(control_packet(ACK, CLIENT, PORT, number))
    ok(s.gone(0), s.name("both end"))


def starts_anew(s):
    """HomaModule counts from 2 when it is loaded, and its first socket always has the same port."""
    number, _ = s.served()
    s.peer.send(control_packet(ACK, CLIENT, PORT, number))
    ok(s.gone(0), s.name("an RPC is over"))
    s.peer.send(*cut_plain(CLIENT, PORT, number, bytes(100)))
    ok(s.sock.receive(0.3) is None, s.name("a copy of its request is not served"))
    time.sleep(2.2)
    s.served(number=number)
    s.peer.send(control_packet(ACK, CLIENT, PORT, number))
    ok(s.gone(0), s.name("a client that starts anew is"))


def interleaved(s):
    """Segments that HomaModule cuts in software: a shorter header is repeated, and each packet has its own offset."""
    data, number = bytes(range(256)) * 40, s.id()
    for at in range(0, len(data), 1400):
        packet = bytearray(data_packet(CLIENT, PORT, number, len(data), 0, data[at:at + 1400], segment_offset=at))
        packet[12] = 13 << 4
        s.peer.send(bytes(packet))
    got = s.sock.receive(3)
    ok(got is not None and got.data == data, s.name("a message in such packets"))
    if got:
        s.sock.reply(got, b"x")
        s.peer.receive_message(Assembler(), number | 1)
    s.peer.send(control_packet(ACK, CLIENT, PORT, number))
    ok(s.gone(0), s.name("ends"))


def main():
    client, server = Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")
    for family in (socket.AF_INET, socket.AF_INET6):
        for test in (empty_ack, foreign_ack, nobody, gone_client, offsets, interleaved, starts_anew):
            scene = Scene(client, server, family)
            try:
                test(scene)
            except Exception as e:     # noqa: BLE001 - a test that dies is a failed one
                ok(False, scene.name(f"{test.__name__} ends: {e!r}"))
            scene.close()
    nothing_left(client, server)
    end()


main()
