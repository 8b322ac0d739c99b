// SPDX-License-Identifier: GPL-2.0 OR MIT

//! TCP, and TLS over TCP by the kernel: one connection, messages of known sizes in a row.

use super::Client;
use crate::spec::{Spec, Transport};
use crate::watchdog::retry;
use crate::{load, sys};
use anyhow::{Context, Result};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

/// Send the whole message; normally one call.
fn send_all(mut stream: &TcpStream, mut message: &[u8]) -> io::Result<()> {
    while !message.is_empty() {
        let sent = retry(|| stream.write(message))?;
        message = &message[sent..];
    }
    Ok(())
}

/// Fill the buffer; `false` at the end of the connection.
fn receive_all(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    let mut len = 0;
    while len < buffer.len() {
        match retry(|| stream.read(&mut buffer[len..]))? {
            0 => return Ok(false),
            n => len += n,
        }
    }
    Ok(true)
}

/// The keys, for kTLS.
fn set_up(stream: &TcpStream, spec: &Spec, server: bool) -> Result<()> {
    stream.set_nodelay(true)?;
    if spec.transport == Transport::Ktls {
        let keys = spec.keys.as_ref().context("no keys were agreed on")?;
        let (tx, rx) =
            if server { (&keys.server, &keys.client) } else { (&keys.client, &keys.server) };
        sys::enable_ktls(stream.as_fd(), tx, rx, spec.expect_no_pad).context("setting up kTLS")?;
    }
    Ok(())
}

pub struct StreamClient {
    stream: TcpStream,
    response: usize,
}

impl StreamClient {
    pub fn new(spec: &Spec, server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).context("connecting the data connection")?;
        set_up(&stream, spec, false)?;
        let bytes = spec.size * spec.outstanding as usize;
        // With all requests in the socket's buffer, the client never waits for the server to read before
        // it reads itself: else the two could wait for each other.
        if spec.outstanding > 1 && bytes > 65_536 {
            sys::set_buffers(stream.as_fd(), bytes * 2)?;
        }
        Ok(Self { stream, response: spec.response })
    }
}

impl Client for StreamClient {
    #[inline]
    fn send(&mut self, _tag: u64, message: &[u8]) -> io::Result<()> {
        send_all(&self.stream, message)
    }

    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        if !receive_all(&self.stream, &mut buffer[..self.response])? {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            ));
        }
        Ok((self.response, None))
    }
}

pub struct StreamServer {
    listener: TcpListener,
}

impl StreamServer {
    pub fn bind(own: IpAddr) -> Result<Self> {
        Ok(Self { listener: TcpListener::bind((own, 0)).context("binding a TCP socket")? })
    }

    pub fn port(&self) -> Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    pub fn serve(self, spec: &Spec, ready: impl FnOnce() -> Result<()>) -> Result<()> {
        if spec.load {
            return load::serve(self.listener);
        }
        let (stream, _) = self.listener.accept()?;
        set_up(&stream, spec, true)?;
        let mut buffer = vec![0; spec.size.max(spec.response)];
        ready()?;
        while receive_all(&stream, &mut buffer[..spec.size])? {
            send_all(&stream, &buffer[..spec.response])?;
        }
        Ok(())
    }
}
