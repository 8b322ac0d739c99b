// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Transport interface sends. One with TLS has the state of a stream, which belongs to the device: several queues may
//! send through it.

use crate::tls::{Context, Silicon};

pub struct Tis {
    /// With `tls_en`.
    pub tls: Option<Context>,
    /// The key of its last static parameters. It may go before the TIS does, but not before its last data.
    pub dek: Option<u32>,
}

impl Tis {
    pub fn new(tls: Option<Silicon>) -> Tis {
        Tis { tls: tls.map(Context::new), dek: None }
    }
}
