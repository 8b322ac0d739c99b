// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sequence numbers, and the nonces and associated data made of them.
//!
//! ```text
//! 63                                              16 15                0
//! | message id, 48 bits, top bit 0                  | record index      |  data
//! | 1 | control counter, 63 bits                                        |  control
//! ```
//!
//! Under one key, nonces differ as sequence numbers do. These do, because a session's ids are never
//! given out twice, request and response differ in the lowest bit of the id, two records of a
//! message in the index, data and control in the top bit, and the control counter only rises.
//! The same record sent again is the same number with the same plaintext, which is no second use.

use super::TlsVersion;

/// The id of a message of a session: below 2^47, even for a request, odd for its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    /// One more than the highest id.
    pub const END: u64 = 1 << 47;

    /// The id `raw`; `None` if it has more than 47 bits.
    #[inline]
    pub const fn new(raw: u64) -> Option<Self> {
        if raw < Self::END {
            Some(Self(raw))
        } else {
            None
        }
    }

    /// The id as an integer.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Is this the id of a response?
    #[inline]
    pub const fn is_response(self) -> bool {
        self.0 & 1 != 0
    }

    /// The id of the other message of the RPC.
    #[inline]
    pub const fn other(self) -> Self {
        Self(self.0 ^ 1)
    }

    /// The id of the RPC's request.
    #[inline]
    pub const fn request(self) -> Self {
        Self(self.0 & !1)
    }

    /// How many RPCs of the session came before this one.
    #[inline]
    pub const fn number(self) -> u64 {
        self.0 >> 1
    }
}

/// The sequence number of a record or a control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber(u64);

impl SequenceNumber {
    const CONTROL: u64 = 1 << 63;

    /// Of record `index` of the message `id`.
    #[inline]
    pub const fn record(id: MessageId, index: u16) -> Self {
        Self((id.0 << 16) | index as u64)
    }

    /// Of the control packet with this counter; `None` if that has more than 63 bits.
    #[inline]
    pub const fn control(counter: u64) -> Option<Self> {
        if counter < Self::CONTROL {
            Some(Self(Self::CONTROL | counter))
        } else {
            None
        }
    }

    /// The number as an integer: what a network card is told.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The nonce for AES-GCM.
    ///
    /// `iv` is what the handshake gave for the key. TLS 1.3 (RFC 8446, section 5.3): 12 bytes of
    /// static IV, xor the number in its last 8. TLS 1.2 (RFC 5288, section 3): 4 bytes of salt,
    /// then the number; the other 8 bytes of `iv` are not used.
    #[inline]
    pub fn nonce(self, version: TlsVersion, iv: &[u8; 12]) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *iv;
        let number = match version {
            TlsVersion::Tls13 => self.0 ^ u64::from_be_bytes([e, f, g, h, i, j, k, l]),
            TlsVersion::Tls12 => self.0,
        };
        let [e, f, g, h, i, j, k, l] = number.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

/// TLS's content type of application data.
pub const APPLICATION_DATA: u8 = 23;

/// The 5 bytes that a record of `plaintext` bytes begins with, in either version.
///
/// They say version 1.2 for TLS 1.3 too. The length in them is that of what follows them.
#[inline]
pub fn record_header(version: TlsVersion, plaintext: u16) -> [u8; 5] {
    // 24 at most, so it fits as plaintext is at most 2^14.
    let extra = version.record_overhead().wrapping_sub(5) as u16;
    let [high, low] = plaintext.wrapping_add(extra).to_be_bytes();
    [APPLICATION_DATA, 3, 3, high, low]
}

/// The plaintext length of the record that begins with `header`; `None` if no record of
/// application data of ours begins so.
#[inline]
pub fn record_plaintext(version: TlsVersion, header: &[u8; 5]) -> Option<u16> {
    let [APPLICATION_DATA, 3, 3, high, low] = *header else {
        return None;
    };
    let extra = version.record_overhead().wrapping_sub(5) as u16;
    u16::from_be_bytes([high, low])
        .checked_sub(extra)
        .filter(|plaintext| (1..=super::super::wire::MAX_RECORD).contains(plaintext))
}

/// The associated data of a TLS 1.3 record: its header (RFC 8446, section 5.2).
#[inline]
pub fn aad_tls13(plaintext: u16) -> [u8; 5] {
    record_header(TlsVersion::Tls13, plaintext)
}

/// The associated data of a TLS 1.2 record: number, type, version, plaintext length (RFC 5246,
/// section 6.2.3.3).
#[inline]
pub fn aad_tls12(number: SequenceNumber, plaintext: u16) -> [u8; 13] {
    let [a, b, c, d, e, f, g, h] = number.0.to_be_bytes();
    let [high, low] = plaintext.to_be_bytes();
    [a, b, c, d, e, f, g, h, APPLICATION_DATA, 3, 3, high, low]
}
