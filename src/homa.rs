// SPDX-License-Identifier: GPL-2.0

//! Homa, a transport for datacenters, with encryption inside.
//!
//! The protocol itself is [`protocol`], a library that knows nothing of the kernel. Around it, from the
//! program inwards: [`socket`], [`transport`], [`tls`] and [`observe`], on the safe Rust of [`sys`].

use kernel::prelude::*;

mod observe;
#[path = "core/mod.rs"]
mod protocol;
mod socket;
mod sys;
mod tls;
mod transport;

use crate::sys::netns::PerNetRegistration;
use crate::sys::proto::Registration;
use crate::sys::secret::LongBuffers;

module! {
    type: Module,
    name: "homa",
    authors: ["The homa.ko authors"],
    description: "Homa transport with encryption inside",
    license: "GPL",
    alias: ["net-pf-2-proto-146-type-2", "net-pf-10-proto-146-type-2"],
}

/// The loaded module. Fields are dropped in order: first no new sockets or packets, then the
/// namespaces' state.
struct Module {
    _protocol: Registration<socket::Homa>,
    _namespaces: PerNetRegistration<transport::net::Net>,
    // Last: messages have buffers.
    _buffers: LongBuffers,
}

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        #[cfg(homa_audit)]
        tls::audit::begin()?;
        let buffers = LongBuffers::new()?;
        let namespaces = PerNetRegistration::new(module)?;
        let protocol = Registration::new(module)?;
        Ok(Self { _protocol: protocol, _namespaces: namespaces, _buffers: buffers })
    }
}

#[cfg(homa_audit)]
impl Drop for Module {
    fn drop(&mut self) {
        tls::audit::end();
    }
}
