// SPDX-License-Identifier: GPL-2.0 OR MIT

//! UDP: a message is a datagram, or several if it does not fit into one.

use super::Client;
use crate::spec::Spec;
use crate::sys;
use crate::watchdog::retry;
use anyhow::{Context, Result};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

/// The most that goes into one datagram; UDP's own limit is 65,507 bytes.
const MAX_DATAGRAM: usize = 65_000;

/// The sockets' buffers must hold all that is under way, as nobody repeats what is lost.
fn make_room(socket: &UdpSocket, spec: &Spec) -> io::Result<()> {
    let bytes = spec.size.max(spec.response) * spec.outstanding as usize;
    // Short messages occupy far more than their length.
    let packets = (spec.size.max(spec.response) / 1000 + 1) * spec.outstanding as usize;
    sys::set_buffers(socket.as_fd(), bytes + packets * 2048)
}

/// Send a message of any size.
fn send_all(message: &[u8], mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
    if message.len() <= MAX_DATAGRAM {
        return retry(|| send(message)).map(drop);
    }
    message.chunks(MAX_DATAGRAM).try_for_each(|chunk| retry(|| send(chunk)).map(drop))
}

pub struct UdpClient {
    socket: UdpSocket,
    response: usize,
}

impl UdpClient {
    pub fn new(spec: &Spec, server: SocketAddr) -> Result<Self> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        make_room(&socket, spec)?;
        socket.connect(server)?;
        Ok(Self { socket, response: spec.response })
    }
}

impl Client for UdpClient {
    #[inline]
    fn send(&mut self, _tag: u64, message: &[u8]) -> io::Result<()> {
        send_all(message, |part| self.socket.send(part))
    }

    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        let mut len = 0;
        while len < self.response {
            len += retry(|| self.socket.recv(&mut buffer[len..]))?;
        }
        Ok((len, None))
    }
}

pub struct UdpServer {
    socket: UdpSocket,
}

impl UdpServer {
    pub fn bind(spec: &Spec, own: IpAddr) -> Result<Self> {
        let socket = UdpSocket::bind((own, 0)).context("binding a UDP socket")?;
        make_room(&socket, spec)?;
        Ok(Self { socket })
    }

    pub fn port(&self) -> Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    pub fn serve(self, spec: &Spec, ready: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; spec.size.max(spec.response)];
        ready()?;
        loop {
            let mut len = 0;
            let mut from = None;
            while len < spec.size {
                let (part, peer) = retry(|| self.socket.recv_from(&mut buffer[len..]))?;
                len += part;
                from = Some(peer);
            }
            let to = from.context("a request has at least one byte")?;
            send_all(&buffer[..spec.response], |part| self.socket.send_to(part, to))?;
        }
    }
}
