// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Ideal encryption: a sealed text opens under its own key, nonce and associated data, and under nothing else.
//!
//! The attacker has no key, so it can neither make nor open one: it can only hand round those that were sent, or
//! bytes that never open. Nonces and associated data are the core's.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use homa_core::session::seq::{aad_tls13, MessageId, SequenceNumber};
use homa_core::session::TlsVersion;

use crate::live::hash_of;
use crate::sabotage::{Rules, Sabotage};

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// One.
    A,
    /// The other.
    B,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub fn peer(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// 0 or 1.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The key of one direction, counted from 0 (not modulo 4: those are its epoch's bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Who seals with it.
    pub from: Side,
    /// The how manieth.
    pub generation: u8,
}

impl Key {
    /// The key that `from` seals with after so many rekeys.
    pub fn new(rules: Rules, from: Side, generation: u8) -> Self {
        Self {
            from: if rules.broken(Sabotage::OneKey) { Side::A } else { from },
            generation: if rules.broken(Sabotage::KeyAgain) { 0 } else { generation },
        }
    }

    fn iv(self) -> [u8; 12] {
        [self.from as u8, self.generation, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    }

    /// The nonce for this number.
    pub fn nonce(self, number: SequenceNumber) -> [u8; 12] {
        number.nonce(TlsVersion::Tls13, &self.iv())
    }
}

/// Who wrote a message, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Author {
    /// Who.
    pub side: Side,
    /// Its id.
    pub id: u64,
    /// Of a response: the how manieth answer to that request, which must be 0.
    pub run: u8,
}

/// What is sealed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Text {
    /// A record of a message.
    Record {
        /// Whose.
        author: Author,
        /// Which of the message's.
        index: u16,
        /// What record 0 begins with.
        preamble: Option<[u8; 8]>,
    },
    /// The tag of a control packet with this header, counter included.
    Control(Vec<u8>),
}

/// Something sealed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sealed {
    /// Under this key.
    pub key: Key,
    /// With this nonce.
    pub nonce: [u8; 12],
    /// And this associated data.
    pub aad: Vec<u8>,
    /// What is inside.
    pub text: Text,
}

/// Something sealed, shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(Arc<(u64, Sealed)>);

impl Term {
    /// Seals.
    pub fn new(sealed: Sealed) -> Self {
        Self(Arc::new((hash_of(&sealed), sealed)))
    }

    /// What it is made of: for the owner of the key, and for the properties.
    pub fn sealed(&self) -> &Sealed {
        &self.0 .1
    }

    /// Does it open under these? (Without the key that needs no thought: it does not.)
    pub fn opens(&self, rules: Rules, key: Key, nonce: &[u8; 12], aad: &[u8]) -> bool {
        let sealed = self.sealed();
        let nonce = sealed.nonce == *nonce || rules.broken(Sabotage::AnyNonce);
        sealed.key == key && nonce && sealed.aad == aad
    }
}

impl Hash for Term {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 .0);
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sealed { key, text, .. } = self.sealed();
        write!(f, "{{{:?}{}: ", key.from, key.generation)?;
        match text {
            Text::Record { author, index, .. } => {
                write!(f, "record {index} of {:?}'s message {}", author.side, author.id)?;
                if author.run > 0 {
                    write!(f, ", run {}", author.run)?;
                }
            }
            Text::Control(header) => write!(f, "tag of {header:x?}")?,
        }
        f.write_str("}")
    }
}

/// The number of a record.
pub fn record_number(rules: Rules, id: MessageId, index: u16) -> SequenceNumber {
    let id = if rules.broken(Sabotage::NoDirection) { id.request() } else { id };
    SequenceNumber::record(id, if rules.broken(Sabotage::NoIndex) { 0 } else { index })
}

/// The associated data of a record of so many bytes.
pub fn record_aad(plaintext: u32) -> Vec<u8> {
    aad_tls13(plaintext as u16).to_vec()
}
