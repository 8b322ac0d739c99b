#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Packets of a flow that was delivered here have its route, until that changes."""

import socket
import struct
import subprocess
import time

from homawire import IPPROTO_HOMA, Growth, Side, Socket, data_packet, end, ok, same

PORT = 96
V4, V6 = socket.AF_INET, socket.AF_INET6
ROUNDS = 200


def run(side, command):
    with side:
        done = subprocess.run(command.split(), stderr=subprocess.PIPE, text=True)
    same((done.returncode, done.stderr), (0, ""), command)


def round_trips(client, server, to, count, port=PORT):
    done = 0
    for i in range(count):
        client.request(b"x" * 100, to, port, i)
        server.reply(server.receive(), b"y")
        done += client.receive().data == b"y"
    return done


def ip_packet(protocol, source, dest, payload):
    source, dest = socket.inet_aton(source), socket.inet_aton(dest)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, source, dest)
    words = sum(struct.unpack("!10H", header))
    words = (words & 0xffff) + (words >> 16)
    return header[:10] + struct.pack("!H", ~(words + (words >> 16)) & 0xffff) + header[12:] + payload


def refused(client, server, to, what):
    """A request does not arrive."""
    client.request(b"late", to, PORT, 1)
    same(server.receive(0.3), None, what)


def main():
    client_side, server_side = Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")
    to = server_side.ip4
    server, client = Socket(server_side, V4, PORT), Socket(client_side, V4)
    round_trips(client, server, to, 40)
    server6, client6 = Socket(server_side, V6, PORT + 1), Socket(client_side, V6)
    to6 = server_side.ip6
    round_trips(client6, server6, to6, 40, PORT + 1)
    for gro in ("on", "off"):
        for side in (server_side, client_side):
            run(side, f"ethtool -K eth0 gro {gro}")
        for name, c, s, t, port in (("IPv4", client, server, to, PORT), ("IPv6", client6, server6, to6, PORT + 1)):
            with Growth(server_side) as here, Growth(client_side) as there:
                same(round_trips(c, s, t, ROUNDS, port), ROUNDS, f"{name}, gro {gro}: {ROUNDS} short RPCs, one after the other")
            for side, growth in (("server", here), ("client", there)):
                count, most = growth.of("early_routes"), growth.of("packets_received")
                ok(ROUNDS * 9 // 10 <= count <= most, f"{name}, gro {gro}: the {side} had the route of {count} of {most} packets")
    for side in (server_side, client_side):
        run(side, "ethtool -K eth0 gro on")
    client6.close()
    server6.close()

    # In a tunnel's packet the addresses that count are others: also if this host has an end of that tunnel.
    data = data_packet(client.port, PORT, 1 << 40, 10, 0, bytes(10))
    tunnelled = ip_packet(4, client_side.ip4, to, ip_packet(IPPROTO_HOMA, client_side.ip4, to, data))
    with Growth(server_side) as growth:
        with client_side, socket.socket(V4, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for _ in range(100):
                raw.sendto(tunnelled, (to, 0))
        time.sleep(0.2)
    same(growth.of("early_routes"), 0, "no packet in a tunnel has the route of the flow inside")

    # Whatever changes the way of a packet counts at once.
    run(server_side, "ip rule add pref 10 lookup local")
    run(server_side, "ip rule del pref 0")
    round_trips(client, server, to, 40)
    run(server_side, f"ip rule add pref 5 from {client_side.ip4} blackhole")
    refused(client, server, to, "a rule of routing refuses the next one")
    run(server_side, "ip rule del pref 5")
    got = server.receive()
    same(got.data, b"late", "without the rule it comes when it is sent again")
    server.reply(got, b"y")
    client.receive()
    same(round_trips(client, server, to, 40), 40, "and more go through")
    run(server_side, "ip rule add pref 0 lookup local")
    run(server_side, "ip rule del pref 10")

    # TCP's way out is ours, too.
    run(server_side, "sysctl -qw net.ipv4.ip_early_demux=0")
    with Growth(server_side) as growth:
        same(round_trips(client, server, to, 40), 40, "without ip_early_demux")
    same(growth.of("early_routes"), 0, "no route is remembered")
    run(server_side, "sysctl -qw net.ipv4.ip_early_demux=1")

    # The hook goes with the last socket, and comes back with the next one.
    client.close()
    server.close()
    server, client = Socket(server_side, V4, PORT), Socket(client_side, V4)
    round_trips(client, server, to, 40)
    with Growth(server_side) as growth:
        same(round_trips(client, server, to, 40), 40, "with new sockets")
    ok(growth.of("early_routes") >= 36, "routes are remembered again")

    client.close()
    server.close()
    end()


main()
