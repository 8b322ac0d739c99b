// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Was that TLS? An independent look at a capture.
//!
//! [`Capture::read`] puts the TCP streams of a pcapng file together, and [`check`] decrypts them record by record with keys that the
//! sending program has logged, and compares the plaintext with what that program says it sent. Nothing here knows the NIC, or
//! shares code with the model's engine: the cipher is `ring`'s. Bytes that were sent again must be the same as before; a
//! stream with two versions of a byte is what an attacker who listens would wish for.

mod keylog;
mod streams;
mod tls;

pub use keylog::{pattern, Connection, KeyLog};
pub use streams::{Capture, Stream};
pub use tls::{check, Report};

#[cfg(test)]
mod tests;
