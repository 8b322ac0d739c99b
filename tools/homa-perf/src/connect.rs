// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A client's way to a server that measures with it.

use crate::control::{Answer, Control};
use crate::spec::{KeyIv, Keys, Spec, Transport};
use crate::sys;
use crate::transport::HomaSocket;
use anyhow::{bail, Context, Error, Result};
use std::net::{SocketAddr, TcpStream};

/// The control connection, and what both sides agreed on.
pub struct Connection {
    control: Control,
    /// The server's data socket.
    pub server: SocketAddr,
    /// Keys and all.
    pub spec: Spec,
    /// Our socket, for Homa: it was made in advance.
    pub own: Option<HomaSocket>,
}

impl Connection {
    pub fn open(host: &str, port: u16, mut spec: Spec) -> Result<Self> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).with_context(|| {
            format!("no server on {host} port {port}: start 'homa-perf server' there")
        })?;
        let mut control = Control::new(stream);
        let mut server = control.peer()?;
        let mut own = None;
        if matches!(spec.transport, Transport::Homa | Transport::Sealed) {
            let socket = HomaSocket::new(&server)?;
            spec.client_port = Some(socket.port()?);
            own = Some(socket);
        }
        if matches!(spec.transport, Transport::Ktls | Transport::Sealed) {
            let key = || Ok::<_, std::io::Error>(KeyIv { key: sys::random()?, iv: sys::random()? });
            spec.keys = Some(Keys { client: key()?, server: key()? });
        }
        control.send(&spec)?;
        let Answer::Listening { port } = control.answer()? else {
            bail!("the server does not follow the control protocol");
        };
        server.set_port(port);
        Ok(Self { control, server, spec, own })
    }

    /// Until all is set up at the server.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        match self.control.answer()? {
            Answer::Ready => Ok(()),
            _ => bail!("the server does not follow the control protocol"),
        }
    }

    /// What went wrong at the server explains more than that nothing came from it.
    pub fn explain(&mut self, error: Error) -> Error {
        match self.control.error() {
            Some(cause) => cause.context(error),
            None => error,
        }
    }
}
