// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The control connection: one line of JSON per message.
//!
//! The client sends a [`Spec`](crate::spec::Spec); the server answers with `Listening` (the port of its
//! data socket), and with `Ready` when all is set up on its side. An `Error` may come at any time. The
//! measurement ends when the client closes the connection.

use anyhow::{bail, Context, Result};
use serde::{de::DeserializeOwned, Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Listening { port: u16 },
    Ready,
    Error(String),
}

pub struct Control {
    reader: BufReader<TcpStream>,
}

impl Control {
    pub fn new(stream: TcpStream) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    pub fn send(&mut self, message: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).context("the control connection broke")
    }

    /// The next message, `None` when the other side has closed the connection.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut line = String::new();
        // Whoever speaks to the port by accident must not fill our memory.
        let n = self.reader.by_ref().take(10_000).read_line(&mut line);
        if n.context("the control connection broke")? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).context("this is not homa-perf's control protocol")
    }

    /// The next answer of the server's, which must not be an error.
    pub fn answer(&mut self) -> Result<Answer> {
        match self.receive()? {
            None => bail!("the server closed the connection"),
            Some(Answer::Error(error)) => bail!("the server says: {error}"),
            Some(answer) => Ok(answer),
        }
    }

    /// An error that the server has reported in the meantime.
    pub fn error(&mut self) -> Option<anyhow::Error> {
        self.reader.get_mut().set_nonblocking(true).ok()?;
        self.answer().err().filter(|error| error.to_string().starts_with("the server says"))
    }

    /// Address of this side, without a port.
    pub fn local(&self) -> Result<IpAddr> {
        Ok(self.reader.get_ref().local_addr()?.ip().to_canonical())
    }

    /// Address of the other side.
    pub fn peer(&self) -> Result<SocketAddr> {
        let peer = self.reader.get_ref().peer_addr()?;
        Ok(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.get_ref().as_fd()
    }
}
