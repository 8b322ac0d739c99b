// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The formats of protected records of TLS 1.2 (RFC 5288) and TLS 1.3 (RFC 8446, 5.2), as far as the engine needs them.

use super::{Gcm, Key, Nonce, StaticParams, Violation, TAG_LEN};

/// Type (1), version (2), length (2).
pub const HEADER_LEN: usize = 5;

/// TLS 1.2's nonce has eight bytes that travel in the record, after the header.
const EXPLICIT_NONCE: usize = 8;

/// RFC 5246 6.2.3 and RFC 8446 5.2: the longest plaintext, and what may be added to it.
const MAX_PLAINTEXT: usize = 1 << 14;

/// The version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Version {
    /// How many bytes after the header pass unchanged.
    pub fn explicit_nonce_len(self) -> usize {
        match self {
            Version::Tls12 => EXPLICIT_NONCE,
            Version::Tls13 => 0,
        }
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; HEADER_LEN],
}

impl Header {
    pub fn new(bytes: [u8; HEADER_LEN]) -> Self {
        Header { bytes }
    }

    /// The length of what follows.
    pub fn length(&self) -> u16 {
        u16::from_be_bytes([self.bytes[3], self.bytes[4]])
    }

    /// What is not as TLS has it, if anything.
    pub fn check(&self, version: Version) -> Option<Violation> {
        let wire_version = u16::from_be_bytes([self.bytes[1], self.bytes[2]]);
        let length = usize::from(self.length());
        // TLS 1.3 has a byte of inner type in each record, and padding, which counts as plaintext.
        let (least, most) = match version {
            Version::Tls12 => (EXPLICIT_NONCE + TAG_LEN, MAX_PLAINTEXT + EXPLICIT_NONCE + TAG_LEN),
            Version::Tls13 => (1 + TAG_LEN, MAX_PLAINTEXT + 1 + TAG_LEN),
        };
        if !(20..=23).contains(&self.bytes[0]) {
            Some(Violation::RecordType(self.bytes[0]))
        } else if wire_version != 0x0303 {
            Some(Violation::RecordVersion(wire_version))
        } else if !(least..=most).contains(&length) {
            Some(Violation::RecordLength(self.length()))
        } else {
            None
        }
    }

    /// How many bytes are encrypted. A length that is too short for its overhead has none.
    pub fn text_len(&self, version: Version) -> usize {
        usize::from(self.length()).saturating_sub(version.explicit_nonce_len() + TAG_LEN)
    }

    /// The encryption of this record.
    pub fn gcm(
        &self,
        params: &StaticParams,
        key: &Key,
        number: u64,
        explicit: [u8; EXPLICIT_NONCE],
    ) -> Gcm {
        match params.version {
            Version::Tls12 => {
                let mut aad = [0; 13];
                aad[..8].copy_from_slice(&number.to_be_bytes());
                aad[8..11].copy_from_slice(&self.bytes[..3]);
                aad[11..].copy_from_slice(&(self.text_len(params.version) as u16).to_be_bytes());
                Gcm::new(key, &join(params.gcm_iv, explicit), &aad)
            }
            Version::Tls13 => {
                let mask = number.to_be_bytes();
                let mut low = params.implicit_iv;
                for (l, m) in low.iter_mut().zip(mask) {
                    *l ^= m;
                }
                Gcm::new(key, &join(params.gcm_iv, low), &self.bytes)
            }
        }
    }
}

fn join(high: [u8; 4], low: [u8; 8]) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&high);
    nonce[4..].copy_from_slice(&low);
    nonce
}
