// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Homa, plain and sealed, through each of its APIs.

use super::Client;
use crate::spec::{Api, KeyIv, Spec, Transport};
use crate::watchdog::retry;
use anyhow::{bail, Context, Result};
use homa::uapi::{HOMA_BPAGE_SIZE, HOMA_MAX_BPAGES};
use homa::{Cipher, Domain, Event, Key, PooledEvent, PooledSocket, Socket, Version};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Of errors when there is no Homa in the kernel, or one that does not do what we need.
fn explain<T>(result: io::Result<T>, what: &str) -> Result<T> {
    result.map_err(|error| {
        let hint = match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT) => ": the kernel has no Homa, load homa.ko on both hosts",
            Some(libc::ENOPROTOOPT) => ": the loaded homa.ko does not have this option",
            Some(libc::EADDRINUSE) => ": give the server another --port",
            _ => "",
        };
        anyhow::anyhow!("{what}: {error}{hint}")
    })
}

fn key_of(key: &KeyIv) -> Key {
    Key { version: Version::Tls13, cipher: Cipher::Aes128Gcm { key: key.key, iv: key.iv } }
}

/// Seal all traffic with `peer`.
fn install(socket: &Socket, peer: SocketAddr, tx: &KeyIv, rx: &KeyIv) -> Result<()> {
    explain(socket.set_sealed(true), "setting SO_HOMA_SEALED")?;
    explain(socket.set_tx_key(Some(peer), &key_of(tx)), "setting the key to send with")?;
    explain(socket.set_rx_key(Some(peer), &key_of(rx)), "setting the key to receive with")
}

/// The client's socket, made before the server is asked, which must know its port.
pub struct HomaSocket(Socket);

impl HomaSocket {
    pub fn new(server: &SocketAddr) -> Result<Self> {
        explain(Socket::new(Domain::from(server)), "opening a Homa socket").map(Self)
    }

    pub fn port(&self) -> Result<u16> {
        Ok(explain(self.0.local_addr(), "asking for the port")?.port())
    }

    pub fn into_inner(self) -> Socket {
        self.0
    }

    pub fn install_keys(&self, spec: &Spec, server: SocketAddr) -> Result<()> {
        if spec.transport == Transport::Sealed {
            let keys = spec.keys.as_ref().context("no keys were agreed on")?;
            install(&self.0, server, &keys.client, &keys.server)?;
        }
        Ok(())
    }
}

/// The response in an event; a failed request is an error.
fn response(event: Event) -> io::Result<(usize, Option<u64>)> {
    match event {
        Event::Response(message) => Ok((message.len, Some(message.rpc.cookie))),
        Event::Failed(failure) => Err(failure.error),
        Event::Request(_) => Err(io::Error::other("a request came to a client's socket")),
    }
}

/// [`Api::Cmsg`].
pub struct CmsgClient {
    socket: Socket,
    server: SocketAddr,
}

impl CmsgClient {
    pub fn new(socket: HomaSocket, server: SocketAddr) -> Self {
        Self { socket: socket.0, server }
    }
}

impl Client for CmsgClient {
    #[inline]
    fn send(&mut self, tag: u64, message: &[u8]) -> io::Result<()> {
        retry(|| self.socket.send_request(self.server, tag, message))
    }

    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        response(retry(|| self.socket.recv(buffer))?)
    }
}

/// [`Api::Plain`].
pub struct PlainClient(Socket);

impl PlainClient {
    pub fn new(socket: HomaSocket, server: SocketAddr) -> Result<Self> {
        explain(socket.0.connect(server), "connecting the Homa socket")?;
        Ok(Self(socket.0))
    }
}

impl Client for PlainClient {
    #[inline]
    fn send(&mut self, _tag: u64, message: &[u8]) -> io::Result<()> {
        retry(|| self.0.send(message))
    }

    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        Ok((retry(|| self.0.recv_bytes(buffer))?, None))
    }
}

/// [`Api::Args`].
pub struct ArgsClient {
    socket: Socket,
    server: SocketAddr,
}

impl ArgsClient {
    pub fn new(socket: HomaSocket, server: SocketAddr) -> Self {
        Self { socket: socket.0, server }
    }
}

impl Client for ArgsClient {
    #[inline]
    fn send(&mut self, tag: u64, message: &[u8]) -> io::Result<()> {
        retry(|| self.socket.send_request_id(self.server, tag, false, message)).map(drop)
    }

    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        response(retry(|| self.socket.recv(buffer))?)
    }
}

/// Bytes of the receive pool: enough for all messages that can be here.
fn pool_size(spec: &Spec) -> usize {
    let message = spec.size.max(spec.response).next_multiple_of(HOMA_BPAGE_SIZE);
    (message * (spec.outstanding as usize + 2)).max(4 << 20)
}

/// [`Api::Pool`].
pub struct PoolClient {
    socket: PooledSocket,
    server: SocketAddr,
    copy: bool,
}

impl PoolClient {
    pub fn new(socket: HomaSocket, server: SocketAddr, spec: &Spec, copy: bool) -> Result<Self> {
        let socket = explain(socket.0.into_pooled(pool_size(spec)), "setting SO_HOMA_RCVBUF")?;
        Ok(Self { socket, server, copy })
    }
}

impl Client for PoolClient {
    #[inline]
    fn send(&mut self, tag: u64, message: &[u8]) -> io::Result<()> {
        retry(|| self.socket.send_request_id(self.server, tag, false, message)).map(drop)
    }

    /// The message stays in the pool, and its memory goes back with the next call; the measuring loop
    /// gets a copy only if it looks at it.
    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        match retry(|| self.socket.recv())? {
            PooledEvent::Response(message) => {
                let mut rest = if self.copy { buffer } else { &mut [][..] };
                for chunk in message.chunks() {
                    let (now, later) = rest.split_at_mut(chunk.len().min(rest.len()));
                    now.copy_from_slice(&chunk[..now.len()]);
                    rest = later;
                }
                Ok((message.len(), Some(message.rpc.cookie)))
            }
            PooledEvent::Failed(failure) => Err(failure.error),
            PooledEvent::Request(_) => Err(io::Error::other("a request came to a client's socket")),
        }
    }
}

pub struct HomaServer {
    socket: Socket,
}

impl HomaServer {
    /// `own` only tells the address family.
    pub fn bind(own: IpAddr, port: u16) -> Result<Self> {
        let any: IpAddr = match own {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket =
            explain(Socket::bind(SocketAddr::new(any, port)), "opening a Homa server socket")?;
        Ok(Self { socket })
    }

    pub fn port(&self) -> Result<u16> {
        Ok(explain(self.socket.local_addr(), "asking for the port")?.port())
    }

    pub fn serve(
        self,
        spec: &Spec,
        client: IpAddr,
        ready: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if spec.transport == Transport::Sealed {
            let port = spec.client_port.context("the client did not tell its port")?;
            let keys = spec.keys.as_ref().context("no keys were agreed on")?;
            install(&self.socket, SocketAddr::new(client, port), &keys.server, &keys.client)?;
        }
        if spec.api == Api::Pool {
            let socket =
                explain(self.socket.into_pooled(pool_size(spec)), "setting SO_HOMA_RCVBUF")?;
            ready()?;
            return serve_pooled(&socket, spec);
        }
        let mut buffer = vec![0; spec.size.max(spec.response)];
        if spec.api == Api::Plain {
            explain(self.socket.set_replying(true), "setting SO_HOMA_REPLY")?;
            ready()?;
            loop {
                retry(|| self.socket.recv_bytes(&mut buffer))?;
                retry(|| self.socket.send(&buffer[..spec.response]))?;
            }
        }
        ready()?;
        loop {
            match retry(|| self.socket.recv(&mut buffer))? {
                Event::Request(message) => {
                    let response = &buffer[..spec.response];
                    if spec.api == Api::Args {
                        let parts = [IoSlice::new(response)];
                        retry(|| self.socket.reply_vectored(&message.rpc, &parts))?;
                    } else {
                        retry(|| self.socket.reply(&message.rpc, response))?;
                    }
                }
                Event::Failed(failure) => return Err(failure.error.into()),
                Event::Response(_) => bail!("a response came to a server's socket"),
            }
        }
    }
}

/// Answer from the very memory that the request is in.
fn serve_pooled(socket: &PooledSocket, spec: &Spec) -> Result<()> {
    let rest = vec![0; spec.response];
    loop {
        match retry(|| socket.recv())? {
            PooledEvent::Request(message) => {
                let mut missing = spec.response;
                let mut slices = Vec::with_capacity(HOMA_MAX_BPAGES + 1);
                for chunk in message.chunks().chain([&rest[..]]) {
                    let part = &chunk[..chunk.len().min(missing)];
                    missing -= part.len();
                    if !part.is_empty() {
                        slices.push(IoSlice::new(part));
                    }
                }
                retry(|| socket.reply_vectored(&message.rpc, &slices))?;
            }
            PooledEvent::Failed(failure) => return Err(failure.error.into()),
            PooledEvent::Response(_) => bail!("a response came to a server's socket"),
        }
    }
}
