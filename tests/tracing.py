#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""The tracepoints homa:homa_*, as ftrace shows them: each is raised, and says what happened."""

import os
import re
import socket
import time

import tracefs
from homawire import (RESEND, RawPeer, Side, Socket, bail, common, control_packet,
                      data_packet, diag, end, make_session, ok, resend, same)

PORT = 96
EVENTS = {"rpc_start", "rpc_end", "message_out", "message_in", "drop", "resend", "retransmit", "timeout"}
LINE = re.compile(r" homa_(\w+): (\w*) id=(\d+) port=(\d+) peer=\[([0-9a-f.:]+)\]:(\d+)"
                  r" offset=(\d+) length=(\d+) netns=(\d+)$")


class Event:
    def __init__(self, name, what, rpc, port, peer, peer_port, offset, length, netns):
        self.name, self.what, self.peer = name, what, peer.removeprefix("::ffff:")
        self.id, self.port, self.peer_port = int(rpc), int(port), int(peer_port)
        self.offset, self.length, self.netns = int(offset), int(length), int(netns)


class Trace(tracefs.Trace):
    """What is traced in a "with" block; .events afterwards."""

    def __init__(self):
        super().__init__("homa")

    def __exit__(self, *args):
        super().__exit__(*args)
        self.events = []
        for line in self.lines:
            found = LINE.search(line)
            if not found:
                bail(f"not an event as it should look: {line}")
            self.events.append(Event(*found.groups()))

    def of(self, name, what=None, **more):
        return [e for e in self.events if e.name == name and (what is None or e.what == what)
                and all(getattr(e, key) == value for key, value in more.items())]


def one(trace, name, what, length, of, text):
    found = trace.of(name, what, **of)
    ok(len(found) == 1 and (length is None or found[0].length == length), text)
    if len(found) != 1:
        diag([vars(e) for e in trace.events][:20])


def exchange(client, server, to):
    client.request(bytes(3000), to, PORT)
    got = server.receive()
    if got is None:
        bail("a request did not arrive")
    server.reply(got, bytes(500))
    if client.receive() is None:
        bail("a response did not arrive")
    return got.id


def normal(client_side, server_side, family, sealed):
    v = ("IPv4" if family == socket.AF_INET else "IPv6") + (", sealed" if sealed else "")
    to = server_side.ip(family)
    with Trace() as trace:
        server, client = Socket(server_side, family, PORT), Socket(client_side, family)
        if sealed:
            make_session(client, server)
        rpc = exchange(client, server, to) & 0xffffffffffff
        port = client.port
        client.close()
        server.close()
        time.sleep(0.3)
    at_client = {"id": rpc & ~1, "port": port, "peer_port": PORT, "peer": to}
    at_server = {"id": rpc | 1, "port": PORT, "peer_port": port, "peer": client_side.ip(family)}
    # What a sealed message has more: preamble and one record's overhead.
    request, response = (3000, 500) if not sealed else (None, 500 + 8 + 22)
    one(trace, "rpc_start", "client", None, at_client, f"{v}: an RPC starts at the client")
    one(trace, "message_out", "request", 3000, at_client, f"{v}: its request goes out")
    one(trace, "rpc_start", "server", None, at_server, f"{v}: it starts at the server")
    one(trace, "message_in", "request", request, at_server, f"{v}: the request is in")
    one(trace, "message_out", "response", 500, at_server, f"{v}: the response goes out")
    one(trace, "message_in", "response", response, at_client, f"{v}: the response is in")
    one(trace, "rpc_end", "client", None, at_client, f"{v}: the RPC ends at the client")
    one(trace, "rpc_end", "server", None, at_server, f"{v}: it ends at the server")
    names = [e.name + " " + e.what for e in trace.events if e.name.startswith(("rpc_start", "message"))]
    same(names, ["rpc_start client", "message_out request", "rpc_start server", "message_in request",
                 "message_out response", "message_in response"], f"{v}: in this order")
    netns = {e.netns for e in trace.of("rpc_start", "client")}, {e.netns for e in trace.of("rpc_start", "server")}
    ok(netns[0] != netns[1] and all(len(n) == 1 and 0 not in n for n in netns), f"{v}: each in its own namespace")


def faults(client_side, server_side, family):
    v = "IPv4" if family == socket.AF_INET else "IPv6"
    server, client = Socket(server_side, family, PORT), Socket(client_side, family)
    peer = RawPeer(client_side, server_side, family)
    with Trace() as trace:
        # To a port that nobody has; with a type that there is not; too short for a header.
        peer.send(data_packet(0x8123, 1234, 4, 100, 0, bytes(100)))
        peer.send(common(0x1f, 0x8123, PORT, 6))
        peer.send(bytes(11))
        # A request half of which comes: the server asks for the other half.
        peer.send(data_packet(0x8123, PORT, 8, 2000, 0, bytes(1000)))
        # A request that is there, answered, and asked for again.
        peer.send(data_packet(0x8124, PORT, 10, 10, 0, bytes(10)))
        got = server.receive()
        server.reply(got, bytes(300))
        peer.send(control_packet(RESEND, 0x8124, PORT, 10, resend(0, 300)))
        # A peer that says nothing: both ends give up after 5 s.
        client.request(bytes(40), peer.address, 1)
        ok(not receives(client), f"{v}: the peer is silent")
        time.sleep(1)
    one(trace, "drop", "drop_no_socket", 156, {"port": 1234, "peer_port": 0x8123, "peer": peer.address, "id": 5},
        f"{v}: a packet to a port that nobody has")
    one(trace, "drop", "malformed_type", 28, {"port": PORT, "peer_port": 0x8123, "id": 7}, f"{v}: one of no type")
    one(trace, "drop", "malformed_short", 11, {"port": 0, "peer": peer.address}, f"{v}: one too short")
    asked = trace.of("resend", "sent", id=9, port=PORT, peer_port=0x8123)
    ok(asked and (asked[0].offset, asked[0].length) == (1000, 1000), f"{v}: the missing half is asked for")
    one(trace, "resend", "received", 300, {"id": 11, "peer_port": 0x8124}, f"{v}: the response is asked for")
    one(trace, "retransmit", "response", 300, {"id": 11, "peer_port": 0x8124}, f"{v}: and sent again")
    one(trace, "timeout", "client", None, {"port": client.port, "peer": peer.address}, f"{v}: the client gives up")
    one(trace, "timeout", "server", None, {"id": 9, "peer": peer.address}, f"{v}: the server gives up")
    peer.close()
    client.close()
    server.close()


def receives(sock):
    """Does a message come, instead of the RPC's failure?"""
    try:
        return sock.receive(10) is not None
    except TimeoutError:
        return False


def main():
    tracefs.mount()
    client_side, server_side = Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")
    there = {name.removeprefix("homa_") for name in os.listdir(f"{tracefs.FOLDER}/events/homa") if name.startswith("homa_")}
    same(there, EVENTS, "the events that docs/tracing.md lists")
    listed = set(re.findall(r"^\| `homa_(\w+)`", open("docs/tracing.md").read(), re.M))
    same(listed, EVENTS, "and it lists these")
    for family in (socket.AF_INET, socket.AF_INET6):
        for sealed in (False, True):
            normal(client_side, server_side, family, sealed)
    faults(client_side, server_side, socket.AF_INET)
    faults(client_side, server_side, socket.AF_INET6)
    # Off again: nothing is written.
    tracefs.write("trace", "")
    server, client = Socket(server_side, socket.AF_INET, PORT), Socket(client_side, socket.AF_INET)
    exchange(client, server, server_side.ip4)
    same(tracefs.lines(), [], "switched off, they are silent")
    end()


main()
