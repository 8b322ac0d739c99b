#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""A tap, as of tcpdump, that reads late: what it holds stays whole while the module takes the same packets apart.

GRO chains packets of a message behind a first one when they do not come in order; the tap gets a clone of that one, with
the same chain. What is lost of the chain is a short read here, and packets that nobody frees in what scripts/vm looks for
afterwards.
"""

import os
import socket
import subprocess

from homawire import Side, Socket, bail, diag, end, make_session, nothing_left, ok, same

PORT = 96
BURST = 100
SIZE = 20_000
MTU = 1500
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33


class Tap:
    """All packets of a side, kept by the kernel until read."""

    def __init__(self, side):
        with side:
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.bind(("eth0", ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 29)

    def read(self):
        """Lengths of all packets; raises what a packet that is not whole gives."""
        buffer, lengths = bytearray(1 << 17), []
        self.sock.setblocking(False)
        while True:
            try:
                lengths.append(self.sock.recv_into(buffer, len(buffer), socket.MSG_TRUNC))
            except BlockingIOError:
                return lengths


def inside(side, *command):
    subprocess.run(["ip", "netns", "exec", side.ns, *command], check=True)


def features(side, gro, segmentation):
    inside(side, "ethtool", "-K", "eth0", "gro", gro, "tso", segmentation, "tx-sctp-segmentation", segmentation)


def hold(side, ns):
    inside(side, "sh", "-c", f"echo {ns} > /sys/class/net/eth0/gro_flush_timeout")


def main():
    sides = client_side, server_side = Side("HOMA_TEST_CLIENT"), Side("HOMA_TEST_SERVER")
    for side in sides:
        features(side, "on", "off")
    # GRO waits for more, as it does not on a machine that takes each packet as it comes.
    hold(server_side, 1_000_000)
    inside(client_side, "ip", "link", "set", "eth0", "gso_max_size", "2000", "gso_ipv4_max_size", "2000")
    inside(client_side, "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1ms", "reorder", "25%", "50%")
    for family, name in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6")):
        for sealed in (False, True):
            name = f"{name.split(',')[0]}, {'sealed' if sealed else 'plain'}"
            server, client = Socket(server_side, family, PORT), Socket(client_side, family)
            if sealed:
                make_session(client, server)
            # Only the receiver's: what the sender's tap holds, GRO joins to nothing.
            tap = Tap(server_side)
            data = [os.urandom(SIZE) for i in range(BURST)]
            for i in range(BURST):
                client.request(data[i], server_side.ip(family), PORT, i)
            for i in range(BURST):
                request = server.receive()
                if request is None:
                    bail("a request did not arrive")
                server.reply(request, request.data)
            whole = 0
            for i in range(BURST):
                response = client.receive()
                whole += response is not None and response.data == data[response.cookie]
            same(whole, BURST, f"{name}: messages are whole beside a tap")
            try:
                lengths = tap.read()
                chained = sum(length > MTU + 100 for length in lengths)
                ok(chained > 10, f"{name}: packets in the tap are chained, and whole")
                diag(f"{len(lengths)} packets, {chained} of which are long")
            except OSError as e:
                ok(False, f"{name}: a packet in the tap is not whole: {e.strerror}")
            tap.sock.close()
            server.close()
            client.close()
    inside(client_side, "ip", "link", "set", "eth0", "gso_max_size", "2000", "gso_ipv4_max_size", "2000")
    inside(client_side, "tc", "qdisc", "del", "dev", "eth0", "root")
    inside(client_side, "ip", "link", "set", "eth0", "gso_max_size", "65536", "gso_ipv4_max_size", "65536")
    hold(server_side, 0)
    for side in sides:
        features(side, "on", "on")
    nothing_left(*sides)
    end()


main()
