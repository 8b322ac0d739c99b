// SPDX-License-Identifier: GPL-2.0

//! bind and connect.

use kernel::prelude::*;

use super::Socket;
use crate::protocol::wire::FIRST_CLIENT_PORT;
use crate::sys::addr::{Addr, Family, SockAddr};
use crate::sys::sock::Sock;

/// `AF_INET6`.
const AF_INET6: u16 = 10;

/// bind(2): takes a server port, or with port 0 keeps the client port; and an address, if it is not
/// the wildcard.
///
/// EINVAL for a port that is not a server's, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT.
pub(super) fn bind(sock: &Socket, name: &[u8]) -> Result {
    let endpoint = &sock.endpoint;
    let sk = &endpoint.sk;
    let v4 = SockAddr::family_of(name).is_some_and(|family| family != AF_INET6);
    let name = SockAddr::parse(sk.family(), name)
        .map_err(|e| sock.because(e, "not an address of the socket's family, or too short"))?;
    if sk.family() == Family::V6 && v4 {
        return Err(sock.because(EAFNOSUPPORT, "an IPv4 address on an IPv6 socket"));
    }
    if name.port >= FIRST_CLIENT_PORT {
        return Err(sock.because(EINVAL, "ports from HOMA_MIN_DEFAULT_PORT on are for clients"));
    }
    let locked = sk.lock();
    let port = endpoint.port();
    // The address first: it can be refused without a trace.
    sk.set_local(&locked, &SockAddr { port, ..name })
        .map_err(|e| sock.because(e, "the address is not one of this host"))?;
    if name.port != 0 {
        endpoint.bind(name.port).map_err(|e| sock.because(e, "the port is another socket's"))?;
    }
    Ok(())
}

/// connect(2): messages without an address go to `name`. Nothing is sent.
pub(super) fn connect(sock: &Socket, name: &[u8]) -> Result {
    let sk = &sock.endpoint.sk;
    let name = destination(sk, name)?;
    let source = sock.endpoint.source_for(&name)?;
    let locked = sk.lock();
    sk.set_peer(&locked, Some((&name, source)))
}

/// connect(2) to `AF_UNSPEC`.
pub(super) fn disconnect(sock: &Socket) -> Result {
    let sk = &sock.endpoint.sk;
    let locked = sk.lock();
    sk.set_peer(&locked, None)
}

/// A socket address to send to. The wildcard means this host, as for UDP.
///
/// EINVAL if it is short, has no port or is a group's; EAFNOSUPPORT; ENETUNREACH for IPv4 on an
/// IPv6-only socket.
pub(super) fn destination(sk: &Sock, name: &[u8]) -> Result<SockAddr> {
    let mut name = SockAddr::parse(sk.family(), name)?;
    if name.port == 0 || name.addr.is_multicast() || name.addr.is_broadcast() {
        return Err(EINVAL);
    }
    if name.addr.is_any() {
        name.addr = match (sk.family(), name.addr.is_v4()) {
            (Family::V6, false) => Addr::LOOPBACK,
            _ => Addr::LOOPBACK_V4,
        };
    }
    if name.addr.is_v4() && sk.is_v6only() {
        return Err(ENETUNREACH);
    }
    if !name.addr.is_link_local() {
        name.scope = 0;
    }
    Ok(name)
}
