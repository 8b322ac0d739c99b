// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Requests over TCP: each has a connection to itself, so that none waits behind another; connections are used again.
//!
//! A request is its length (4 bytes, big endian, itself included) and as many bytes as are missing then; or, if it
//! is shorter than that, a length without more.

use super::{Requests, BOTH, RESPONSE};
use anyhow::{ensure, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

/// Bytes that say how long a request is.
const HEAD: usize = 4;

/// What is read or written at once, at most.
const CHUNK: usize = 1 << 18;

/// One client's connection.
struct Connection {
    stream: TcpStream,
    /// The request that it is used for.
    tag: Option<u64>,
    head: [u8; HEAD],
    /// Of its bytes so many are written, of so many.
    written: usize,
    length: usize,
    /// So many bytes of its response are here.
    read: usize,
}

pub struct TcpRequests {
    server: SocketAddr,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    body: Vec<u8>,
}

impl TcpRequests {
    pub fn new(server: SocketAddr) -> Self {
        Self { server, connections: Vec::new(), idle: Vec::new(), body: vec![0x5a; CHUNK] }
    }

    /// A connection that nobody uses, if there must be a new one.
    fn idle_one(&mut self, registry: &Registry) -> io::Result<usize> {
        if let Some(at) = self.idle.pop() {
            return Ok(at);
        }
        let mut stream = TcpStream::connect(self.server)?;
        stream.set_nodelay(true)?;
        let at = self.connections.len();
        registry.register(&mut stream, Token(at), BOTH)?;
        let head = [0; HEAD];
        self.connections.push(Connection {
            stream,
            tag: None,
            head,
            written: 0,
            length: 0,
            read: 0,
        });
        Ok(at)
    }
}

impl Connection {
    /// Write what the socket takes.
    fn write(&mut self, body: &[u8]) -> io::Result<()> {
        while self.written < self.length {
            let rest = match self.head.get(self.written..) {
                Some(head) if !head.is_empty() => head,
                _ => &body[..body.len().min(self.length - self.written)],
            };
            match self.stream.write(rest) {
                Ok(n) => self.written += n,
                // Or it is not connected yet.
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(())
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Read the response; true if all of it is here.
    fn read(&mut self) -> io::Result<bool> {
        let mut response = [0; RESPONSE];
        while self.tag.is_some() && self.read < RESPONSE {
            match self.stream.read(&mut response[self.read..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.read += n,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(false)
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.tag.is_some())
    }
}

impl Requests for TcpRequests {
    fn register(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, tag: u64, length: u32, registry: &Registry) -> io::Result<()> {
        let at = self.idle_one(registry)?;
        let Self { connections, body, .. } = self;
        let connection = &mut connections[at];
        connection.tag = Some(tag);
        connection.length = HEAD.max(length as usize);
        connection.head = (connection.length as u32).to_be_bytes();
        (connection.written, connection.read) = (0, 0);
        connection.write(body)
    }

    fn handle(&mut self, socket: Token, done: &mut dyn FnMut(u64)) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(socket.0) else { return Ok(()) };
        connection.write(&self.body)?;
        if connection.read()? {
            done(connection.tag.take().expect("it is used"));
            self.idle.push(socket.0);
        }
        Ok(())
    }
}

/// A connection at the server.
struct Served {
    stream: TcpStream,
    head: [u8; HEAD],
    /// Bytes of the length, then of the request, that are here.
    have: usize,
}

impl Served {
    /// Take in what came, and answer what is complete; false at the end of the connection.
    fn go_on(&mut self, chunk: &mut [u8]) -> Result<bool> {
        loop {
            let bytes = match self.stream.read(chunk) {
                Ok(0) => return Ok(false),
                Ok(n) => &chunk[..n],
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(e) => return Err(e.into()),
            };
            if let Some(head) = self.head.get_mut(self.have..) {
                let n = head.len().min(bytes.len());
                head[..n].copy_from_slice(&bytes[..n]);
            }
            self.have += bytes.len();
            let length = u32::from_be_bytes(self.head) as usize;
            if self.have >= HEAD && self.have >= length {
                ensure!(self.have == length, "more came than one request");
                self.have = 0;
                // The client has one request under way, so there is room for its response.
                self.stream.write_all(&[0; RESPONSE])?;
            }
        }
    }
}

/// Answer all connections until killed.
pub fn serve(listener: std::net::TcpListener) -> Result<()> {
    const LISTENER: Token = Token(usize::MAX);
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut all: Vec<Option<Served>> = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() != LISTENER {
                let Some(one) = all.get_mut(event.token().0) else { continue };
                if one.as_mut().map_or(Ok(false), |served| served.go_on(&mut chunk))? {
                    continue;
                }
                *one = None;
                continue;
            }
            loop {
                let mut stream = match listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e.into()),
                };
                stream.set_nodelay(true)?;
                poll.registry().register(&mut stream, Token(all.len()), Interest::READABLE)?;
                all.push(Some(Served { stream, head: [0; HEAD], have: 0 }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests of all kinds of lengths are answered, on as many connections as are needed.
    #[test]
    fn all_are_answered() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut requests = TcpRequests::new(listener.local_addr().unwrap());
        std::thread::spawn(|| serve(listener));
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(16);
        let mut answered = Vec::new();
        for turn in 0..3 {
            for (n, length) in [1, 3, 4, 5, 1000, 1_000_000].into_iter().enumerate() {
                requests.send(turn * 10 + n as u64, length, poll.registry()).unwrap();
            }
            while answered.len() < (turn as usize + 1) * 6 {
                poll.poll(&mut events, None).unwrap();
                for event in &events {
                    requests.handle(event.token(), &mut |tag| answered.push(tag)).unwrap();
                }
            }
        }
        answered.sort_unstable();
        let all: Vec<_> = (0..3).flat_map(|turn| (0..6).map(move |n| turn * 10 + n)).collect();
        assert_eq!(answered, all);
        assert_eq!(requests.connections.len(), 6);
    }
}
