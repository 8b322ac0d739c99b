// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The transports: for each, a client that sends requests and receives responses, and a server's echo
//! loop.
//!
//! Setting up goes in three steps, as some transports need both sides: the server binds
//! ([`Server::bind`]), the client opens its socket knowing the server's port, the server does what it can only
//! do then ([`Server::serve`]: accept, keys) and reports that it is ready.

mod homa;
mod stream;
mod udp;

pub use self::homa::HomaSocket;
use crate::measure::{self, Outcome, Plan};
use crate::spec::{Api, Spec, Transport};
use anyhow::Result;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// The client's side of a transport, as the measuring loop uses it.
pub trait Client {
    /// Send a request. `tag` comes back with its response if the transport can do that.
    fn send(&mut self, tag: u64, message: &[u8]) -> io::Result<()>;

    /// Wait for a response; its length, and the tag of its request. Transports without tags keep the
    /// order.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)>;
}

/// Connect to the server and run the plan. `own` is the socket that was made in advance, for Homa.
pub fn run_client(
    spec: &Spec,
    plan: &Plan,
    server: SocketAddr,
    own: Option<HomaSocket>,
    ready: impl FnOnce() -> Result<()>,
) -> Result<Outcome> {
    match spec.transport {
        Transport::Udp => {
            let mut client = udp::UdpClient::new(spec, server)?;
            ready()?;
            measure::run(&mut client, plan)
        }
        Transport::Tcp | Transport::Ktls => {
            let mut client = stream::StreamClient::new(spec, server)?;
            ready()?;
            measure::run(&mut client, plan)
        }
        Transport::Homa | Transport::Sealed => {
            let socket = own.expect("made before the server was asked");
            socket.install_keys(spec, server)?;
            ready()?;
            match spec.api {
                Api::Cmsg => measure::run(&mut homa::CmsgClient::new(socket, server), plan),
                Api::Plain => measure::run(&mut homa::PlainClient::new(socket, server)?, plan),
                Api::Args => measure::run(&mut homa::ArgsClient::new(socket, server), plan),
                Api::Pool => measure::run(
                    &mut homa::PoolClient::new(socket, server, spec, plan.check)?,
                    plan,
                ),
            }
        }
    }
}

/// The server's side.
pub enum Server {
    Udp(udp::UdpServer),
    Stream(stream::StreamServer),
    Homa(homa::HomaServer),
}

impl Server {
    /// Make the socket. `own` is the address that the client knows us by, `homa_port` the port for Homa.
    pub fn bind(spec: &Spec, own: IpAddr, homa_port: u16) -> Result<Self> {
        Ok(match spec.transport {
            Transport::Udp => Self::Udp(udp::UdpServer::bind(spec, own)?),
            Transport::Tcp | Transport::Ktls => Self::Stream(stream::StreamServer::bind(own)?),
            Transport::Homa | Transport::Sealed => {
                Self::Homa(homa::HomaServer::bind(own, homa_port)?)
            }
        })
    }

    /// The port that the client needs.
    pub fn port(&self) -> Result<u16> {
        match self {
            Self::Udp(server) => server.port(),
            Self::Stream(server) => server.port(),
            Self::Homa(server) => server.port(),
        }
    }

    /// Answer until killed, or until the client is gone. Calls `ready` when the client may begin.
    pub fn serve(
        self,
        spec: &Spec,
        client: IpAddr,
        ready: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Udp(server) => server.serve(spec, ready),
            Self::Stream(server) => server.serve(spec, ready),
            Self::Homa(server) => server.serve(spec, client, ready),
        }
    }
}
