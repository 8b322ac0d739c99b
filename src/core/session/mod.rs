// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a sealed session remembers between packets.
//!
//! A session is a local socket, a peer's address and port, a key to send with and a key to receive
//! with. Keys and ciphers stay with the caller; here is the rest, which decides that no (key,
//! nonce) pair is used twice and that nothing is delivered twice:
//!
//! - [`seq`]: message ids, sequence numbers of records and of control packets, nonces, AADs;
//! - [`ids`]: the client's ids: dense, counted per session, with a floor below which all is done;
//! - [`replay`]: the server's exact memory of the ids it has seen;
//! - [`control`]: the counter of sealed control packets, and the window that checks it;
//! - [`preamble`]: the first bytes of each message: its true length and the floor;
//! - [`epoch`]: which of a session's keys;
//! - [`tag`]: ids as programs see them.
//!
//! A client needs no window for responses: it takes a response only for an RPC that it has
//! running, and an id never runs twice, so the state of the RPC itself gives at-most-once.
//!
//! Formats and rules are in `docs/wire.md`.

mod bitmap;
pub mod control;
pub mod epoch;
pub mod ids;
pub mod preamble;
pub mod replay;
pub mod seq;
pub mod tag;

/// Ids that a client may have between its oldest unfinished one and its newest.
pub const WINDOW: u64 = 65_536;

/// The kind of TLS records that a session's keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246 with RFC 5288 (AES-GCM): explicit nonce in each record.
    Tls12,
    /// RFC 8446: nonce from the static IV, content type inside the record.
    Tls13,
}

impl TlsVersion {
    /// What a record is longer than its plaintext, in bytes.
    ///
    /// TLS 1.3: header 5, content type 1, tag 16. TLS 1.2: header 5, explicit nonce 8, tag 16.
    #[inline]
    pub fn record_overhead(self) -> u32 {
        match self {
            Self::Tls12 => 29,
            Self::Tls13 => 22,
        }
    }

    /// What of that comes before the plaintext.
    #[inline]
    pub fn record_prefix(self) -> u32 {
        match self {
            Self::Tls12 => 13,
            Self::Tls13 => 5,
        }
    }
}
