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

#[cfg(test)]
mod tests {
    use super::*;

    const IV: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    #[test]
    fn ids() {
        assert_eq!(MessageId::new(MessageId::END), None);
        let request = MessageId::new(6).unwrap();
        assert!(!request.is_response());
        let response = request.other();
        assert!(response.is_response());
        assert_eq!((response.get(), response.number()), (7, 3));
        assert_eq!(response.request(), request);
    }

    #[test]
    fn numbers_are_made_of_id_and_index() {
        let last = MessageId::new(MessageId::END - 1).unwrap();
        let number = SequenceNumber::record(last, u16::MAX);
        assert_eq!(number.get(), u64::MAX >> 1);
        assert_eq!(SequenceNumber::control(0).map(SequenceNumber::get), Some(1 << 63));
        assert_eq!(SequenceNumber::control(1 << 63), None);
        let record = SequenceNumber::record(MessageId::new(0x1234).unwrap(), 0x5678);
        assert_eq!(record.get(), 0x1234_5678);
    }

    #[test]
    fn nonces() {
        let number = SequenceNumber::record(MessageId::new(0x0203_0405).unwrap(), 0x0607);
        assert_eq!(
            number.nonce(TlsVersion::Tls13, &IV),
            [1, 2, 3, 4, 5, 6, 7 ^ 2, 8 ^ 3, 9 ^ 4, 10 ^ 5, 11 ^ 6, 12 ^ 7]
        );
        assert_eq!(number.nonce(TlsVersion::Tls12, &IV), [1, 2, 3, 4, 0, 0, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn headers_and_aads() {
        // The length is that of what follows: inner type and tag; explicit nonce and tag.
        assert_eq!(record_header(TlsVersion::Tls13, 100), [23, 3, 3, 0, 117]);
        assert_eq!(record_header(TlsVersion::Tls12, 100), [23, 3, 3, 0, 124]);
        assert_eq!(aad_tls13(16_384), [23, 3, 3, 0x40, 17]);
        let number = SequenceNumber::control(1).unwrap();
        assert_eq!(aad_tls12(number, 256), [0x80, 0, 0, 0, 0, 0, 0, 1, 23, 3, 3, 1, 0]);
        for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
            for plaintext in [1, 100, 16_384] {
                let header = record_header(version, plaintext);
                assert_eq!(record_plaintext(version, &header), Some(plaintext));
                let rest = u32::from(u16::from_be_bytes([header[3], header[4]]));
                assert_eq!(5 + rest, u32::from(plaintext) + version.record_overhead());
            }
            for plaintext in [0, 16_385] {
                assert_eq!(record_plaintext(version, &record_header(version, plaintext)), None);
            }
            assert_eq!(record_plaintext(version, &[23, 3, 3, 0, 1]), None);
            assert_eq!(record_plaintext(version, &[22, 3, 3, 1, 0]), None);
        }
    }
}
