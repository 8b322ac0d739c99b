// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Requests over Homa, plain or sealed: one socket, to which all are handed at once.

use super::{Requests, BOTH, RESPONSE};
use crate::sys;
use crate::transport::HomaSocket;
use anyhow::Result;
use homa::{Event, Socket};
use mio::{unix::SourceFd, Registry, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

/// Requests that wait in the kernel, in bytes: the order in which they go is its affair.
const SEND_BUFFER: usize = 64 << 20;

pub struct HomaRequests {
    socket: Socket,
    server: SocketAddr,
    message: Vec<u8>,
    /// What the kernel has no room for yet.
    waiting: VecDeque<(u64, u32)>,
}

impl HomaRequests {
    pub fn new(socket: HomaSocket, server: SocketAddr) -> Result<Self> {
        let socket = socket.into_inner();
        sys::set_buffers(socket.as_fd(), SEND_BUFFER)?;
        sys::set_nonblocking(socket.as_fd())?;
        let message = vec![0x5a; homa::MAX_MESSAGE_LENGTH];
        Ok(Self { socket, server, message, waiting: VecDeque::new() })
    }

    fn send_waiting(&mut self) -> io::Result<()> {
        while let Some(&(tag, length)) = self.waiting.front() {
            let message = &self.message[..length as usize];
            match self.socket.send_request(self.server, tag, message) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                result => result?,
            }
            self.waiting.pop_front();
        }
        Ok(())
    }
}

impl Requests for HomaRequests {
    fn register(&mut self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), Token(0), BOTH)
    }

    fn send(&mut self, tag: u64, length: u32, _: &Registry) -> io::Result<()> {
        self.waiting.push_back((tag, length));
        self.send_waiting()
    }

    fn handle(&mut self, _: Token, done: &mut dyn FnMut(u64)) -> io::Result<()> {
        let mut response = [0; RESPONSE];
        loop {
            match self.socket.try_recv(&mut response) {
                Ok(Event::Response(message)) => done(message.rpc.cookie),
                Ok(Event::Failed(failure)) => return Err(failure.error),
                Ok(Event::Request(_)) => {
                    return Err(io::Error::other("a request came to a client's socket"))
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.send_waiting(),
                Err(error) => return Err(error),
            }
        }
    }
}
