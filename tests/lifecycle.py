#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Things that end at an inconvenient time: processes, devices, addresses, namespaces, the module.

Whether anything leaks by that is what scripts/vm looks for afterwards: references to devices, slab objects, and a
module that cannot be unloaded.
"""

import array
import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback

from homawire import (IPPROTO_HOMA, TLS_RX, TLS_TX, Keys, Side, Socket, diag, end, ok, same)

SO_HOMA_RCVBUF = 10
PORT = 97
V4, V6 = socket.AF_INET, socket.AF_INET6


def ip(*args, check=True):
    return subprocess.run(["ip", *args], check=check, stderr=subprocess.PIPE).returncode


class Wire:
    """Two namespaces of our own, as sides."""

    def __init__(self):
        for i in (1, 2):
            ip("netns", "add", f"t{i}")
        ip("link", "add", "eth0", "netns", "t1", "type", "veth", "peer", "name", "eth0", "netns", "t2")
        self.sides = []
        for i in (1, 2):
            self.addresses(i)
            os.environ["LIFECYCLE"] = f"t{i},10.9.0.{i},fd09::{i}"
            self.sides.append(Side("LIFECYCLE"))
        self.client, self.server = self.sides

    @staticmethod
    def addresses(i):
        ip("-n", f"t{i}", "link", "set", "lo", "up")
        ip("-n", f"t{i}", "addr", "replace", f"10.9.0.{i}/24", "dev", "eth0")
        ip("-n", f"t{i}", "addr", "replace", f"fd09::{i}/64", "dev", "eth0", "nodad")
        ip("-n", f"t{i}", "link", "set", "eth0", "up")

    def remove(self):
        for i in (1, 2):
            ip("netns", "del", f"t{i}", check=False)


def seal(client, server, cside, sside):
    there, back = Keys(os.urandom(8)), Keys(os.urandom(8))
    server.set_key(TLS_RX, cside.ip(client.family), client.port, there)
    server.set_key(TLS_TX, cside.ip(client.family), client.port, back)
    client.set_key(TLS_RX, sside.ip(client.family), server.port, back)
    client.set_key(TLS_TX, sside.ip(client.family), server.port, there)


def traffic(wire, family, sealed):
    """A pair of sockets with RPCs in every state: not sent whole, not delivered, in service, answered."""
    server, client = Socket(wire.server, family, PORT), Socket(wire.client, family)
    if sealed:
        seal(client, server, wire.client, wire.server)
    for size in (1, 20000, 1000000, 1000000, 500, 60000):
        client.request(os.urandom(size), wire.server.ip(family), PORT)
    for _ in range(2):
        got = server.receive()
        if got:
            server.reply(got, bytes(200000))
    server.receive()
    return client, server


def works(wire, family, what):
    server, client = Socket(wire.server, family, 98), Socket(wire.client, family)
    try:
        client.request(b"still there?", wire.server.ip(family), 98)
        got = server.receive(5)
        if got:
            server.reply(got, b"yes")
        got = client.receive(5)
        ok(got is not None and got.data == b"yes", f"{what}: everything works")
    except OSError as e:
        ok(False, f"{what}: everything works: {e}")
    client.close()
    server.close()


def device_goes():
    """The device is removed under traffic, and made again."""
    for family, sealed in ((V4, False), (V6, True)):
        wire = Wire()
        pair = traffic(wire, family, sealed)
        start = time.monotonic()
        ip("-n", "t1", "link", "del", "eth0")
        ok(time.monotonic() - start < 3, f"device removed in {time.monotonic() - start:.1f} s")
        try:
            pair[0].request(b"nowhere", wire.server.ip(family), 99)
            ok(True, "a request without a device is sent for nothing")
        except OSError as e:
            ok(e.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL), f"a request without a device: {e}")
        ip("link", "add", "eth0", "netns", "t1", "type", "veth", "peer", "name", "eth0", "netns", "t2")
        wire.addresses(1)
        wire.addresses(2)
        works(wire, family, "with a new device")
        for sock in pair:
            sock.close()
        wire.remove()


def address_goes():
    """The client's address goes for a while; what was sent from it goes on when it is back."""
    wire = Wire()
    server, client = Socket(wire.server, V4, 99), Socket(wire.client, V4)
    client.request(b"before", wire.server.ip4, 99)
    got = server.receive()
    ip("-n", "t1", "addr", "del", "10.9.0.1/24", "dev", "eth0")
    server.reply(got, b"x" * 50000)
    time.sleep(0.5)
    wire.addresses(1)
    got = client.receive(8)
    ok(got is not None and got.data == b"x" * 50000, "the answer arrives when the address is back")
    client.close()
    server.close()
    wire.remove()


def namespace_goes():
    """Namespaces are deleted while their sockets live, and after."""
    for family, sealed, close_first in ((V4, True, False), (V6, False, False), (V4, False, True), (V6, True, True)):
        wire = Wire()
        pair = traffic(wire, family, sealed)
        if close_first:
            for sock in pair:
                sock.close()
        wire.remove()
        if not close_first:
            time.sleep(0.2)
            for sock in pair:
                sock.close()
    for _ in range(10):
        wire = Wire()
        with wire.client:
            socket.socket(V4, socket.SOCK_DGRAM, IPPROTO_HOMA).close()
        wire.remove()
    ok(True, "14 pairs of namespaces made and deleted")


def with_pool(sock, size=1 << 20):
    """Gives the socket a receive pool in memory of ours."""
    pool = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pool))
    sock.sock.setsockopt(IPPROTO_HOMA, SO_HOMA_RCVBUF, struct.pack("QQ", address, size))
    return pool


class MsgHdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.c_void_p),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


def pool_receive(fd):
    """recvmsg() with struct homa_recvmsg_args, by the C library: result, errno, place of the first bpage."""
    args = ctypes.create_string_buffer(88)
    msg = MsgHdr(None, 0, None, 0, ctypes.addressof(args), 88, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    ret = libc.recvmsg(fd, ctypes.byref(msg), 0)
    return ret, ctypes.get_errno() if ret < 0 else 0, struct.unpack_from("I", args, 24)[0]


def receive_elsewhere(number):
    """Another program: takes a Homa socket from a Unix socket and receives."""
    unix = socket.socket(fileno=number)
    _, cmsgs, _, _ = unix.recvmsg(1, 100)
    fd = array.array("i", cmsgs[0][2][:4])[0]
    unix.send(struct.pack("iiI", *pool_receive(fd)))


def process_goes():
    """Processes with sockets are killed; sockets with pools are inherited and passed on."""
    wire = Wire()
    server = Socket(wire.server, V4, 99)
    pool = with_pool(server)
    client = Socket(wire.client, V4)

    # A child waits in recvmsg() and is killed there; the socket lives on here.
    pid = os.fork()
    if pid == 0:
        pool_receive(server.sock.fileno())
        os._exit(0)
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    client.request(b"a" * 1000, wire.server.ip4, 99)
    time.sleep(0.2)

    # A child has a copy of the pool at the same address: it gets a message there, we do not see it.
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        ret, err, offset = pool_receive(server.sock.fileno())
        os.write(write_end, struct.pack("iiI", ret, err, offset) + bytes(pool[offset:offset + 4]))
        os._exit(0)
    os.waitpid(pid, 0)
    got = os.read(read_end, 100)
    ret, err, offset = struct.unpack_from("iiI", got)
    same((ret, got[12:]), (1000, b"aaaa"), "a child receives into its copy of the pool")

    # A process that has no such memory gets EFAULT, and the message stays.
    client.request(b"b" * 1000, wire.server.ip4, 99)
    time.sleep(0.2)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    other = subprocess.Popen([sys.executable, __file__, "--receive", str(far.fileno())], pass_fds=[far.fileno()])
    near.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [server.sock.fileno()]))])
    near.settimeout(20)
    same(struct.unpack("iiI", near.recv(100))[:2], (-1, errno.EFAULT), "a process without that memory gets EFAULT")
    other.wait()
    ret, err, offset = pool_receive(server.sock.fileno())
    same((ret, bytes(pool[offset:offset + 4])), (1000, b"bbbb"), "and the message is received where the memory is")

    # Killed with everything open.
    pid = os.fork()
    if pid == 0:
        try:
            traffic(wire, V6, True)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    same(os.waitpid(pid, 0)[1], signal.SIGKILL, "a process is killed with RPCs in every state")
    works(wire, V6, "after that")
    del pool
    client.close()
    server.close()
    wire.remove()


def module_goes():
    """The module stays as long as a socket is open; without any it can go and come back."""
    module = os.environ.get("HOMA_MODULE", "target/kmod/homa.ko")
    with socket.socket(V4, socket.SOCK_DGRAM, IPPROTO_HOMA):
        ok(subprocess.run(["rmmod", "homa"], stderr=subprocess.DEVNULL).returncode != 0,
           "the module is not unloaded under a socket")
    for _ in range(3):
        wire = Wire()
        for sock in traffic(wire, V4, True):
            sock.close()
        done = subprocess.run(["rmmod", "homa"], stderr=subprocess.PIPE, text=True)
        if not ok(done.returncode == 0, "the module unloads right after traffic"):
            diag(done.stderr)
        try:
            socket.socket(V4, socket.SOCK_DGRAM, IPPROTO_HOMA)
            ok(False, "then there are no sockets")
        except OSError as e:
            same(e.errno, errno.EPROTONOSUPPORT, "then there are no sockets")
        ok(subprocess.run(["insmod", module]).returncode == 0, "and loads again")
        works(wire, V4, "then")
        wire.remove()


if sys.argv[1:2] == ["--receive"]:
    receive_elsewhere(int(sys.argv[2]))
    sys.exit()
for test in (device_goes, address_goes, namespace_goes, process_goes, module_goes):
    try:
        test()
    except Exception as e:     # noqa: BLE001 - a test that dies is a failed one
        ok(False, f"{test.__name__} ends: {e!r}")
        diag(traceback.format_exc())
        for n in (1, 2):
            ip("netns", "del", f"t{n}", check=False)
end()
