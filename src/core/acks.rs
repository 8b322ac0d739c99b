// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Acknowledgments a client owes one server socket (plain Homa).
//!
//! A finished RPC's id waits here until a DATA packet to the same server takes it along, or
//! until so many wait that an ACK packet pays. Sealed sessions need none of this: the floor in
//! each preamble acknowledges.

/// Ids an ACK packet holds.
pub const MAX_ACKS: usize = 5;

/// Up to [`MAX_ACKS`] ids that wait.
#[derive(Debug, Default)]
pub struct PendingAcks {
    ids: [u64; MAX_ACKS],
    count: usize,
}

impl PendingAcks {
    /// None wait.
    pub const fn new() -> Self {
        Self { ids: [0; MAX_ACKS], count: 0 }
    }

    /// Adds a finished RPC. If that fills the list, returns it whole, for an ACK packet.
    #[must_use]
    pub fn push(&mut self, id: u64) -> Option<[u64; MAX_ACKS]> {
        if let Some(slot) = self.ids.get_mut(self.count) {
            *slot = id;
            self.count = self.count.saturating_add(1);
        }
        if self.count < MAX_ACKS {
            return None;
        }
        self.count = 0;
        Some(self.ids)
    }

    /// Takes one, to travel in a DATA packet.
    pub fn pop(&mut self) -> Option<u64> {
        self.count = self.count.checked_sub(1)?;
        self.ids.get(self.count).copied()
    }

    /// Takes all: the ids and how many of them count.
    pub fn take(&mut self) -> ([u64; MAX_ACKS], usize) {
        let count = ::core::mem::take(&mut self.count);
        (self.ids, count)
    }
}
