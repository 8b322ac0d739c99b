// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What must hold, whatever happens on the network.

use crate::world::fates::Name;

/// An invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// An RPC ends: it does not hang.
    Ends,
    /// An RPC ends once.
    EndsOnce,
    /// An RPC fails only for a reason: something is broken for long enough.
    FailsForAReason,
    /// A message has the bytes that were sent.
    RightBytes,
    /// A server executes a request at most once.
    AtMostOnce,
    /// When all is quiet, no state is left.
    MemoryReturns,
    /// No key encrypts twice with a nonce.
    NonceOnce,
    /// What a receiver has granted and not received stays within its bound.
    GrantBound,
    /// Packets stay in proportion to what is delivered.
    NoStorm,
    /// Time goes on: no host is busy without end.
    TimeAdvances,
}

impl Invariant {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Ends,
        Self::EndsOnce,
        Self::FailsForAReason,
        Self::RightBytes,
        Self::AtMostOnce,
        Self::MemoryReturns,
        Self::NonceOnce,
        Self::GrantBound,
        Self::NoStorm,
        Self::TimeAdvances,
    ];
}

/// An invariant did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When.
    pub at: u64,
    /// The RPC, if it is about one.
    pub rpc: Option<Name>,
    /// What was seen.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {}.{:03} us", self.invariant, self.at / 1000, self.at % 1000)?;
        if let Some(rpc) = self.rpc {
            write!(f, ", {rpc}")?;
        }
        write!(f, ": {}", self.what)
    }
}
