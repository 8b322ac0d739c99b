// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The server's memory of requests: each is delivered once, however late its packets come again.
//!
//! All ids below the floor are dead: the client is done with them. From the floor on a bit per id
//! tells whether the request was seen, [`WINDOW`] ids far, which is 8 KiB at most. As honest
//! clients stay within that window, none of their messages is refused, and as the memory has no
//! holes, no replay is accepted.
//!
//! Only what was authenticated may change this memory: first the floor that the message's preamble
//! tells ([`advance_floor`](ReplayWindow::advance_floor)), then the id itself
//! ([`mark`](ReplayWindow::mark)). What was not only asks ([`check`](ReplayWindow::check)).

use ::core::ops::Range;

use super::super::mem::AllocError;
use super::bitmap::Bitmap;
use super::seq::MessageId;
use super::WINDOW;

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Never seen.
    Fresh,
    /// Seen: its RPC may still be there, and if not, this is a replay.
    Seen,
    /// Below the floor: over and done with.
    Dead,
    /// Never seen, and further up than the window reaches from the floor we know. That is how a
    /// message looks whose predecessors, with their floors, were lost; its own preamble will
    /// bring the floor near, or it is forged.
    Ahead,
}

/// Why an id cannot be marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkError {
    /// It is marked already: whatever authenticated is a replay.
    Seen,
    /// It is below the floor: a replay too.
    Dead,
    /// It is further from the floor than honest clients go.
    Ahead,
    /// No memory; as if the packet had been lost.
    Alloc,
}

impl From<AllocError> for MarkError {
    fn from(_: AllocError) -> Self {
        Self::Alloc
    }
}

/// The requests that were seen.
#[derive(Debug, Default)]
pub struct ReplayWindow {
    seen: Bitmap,
}

impl ReplayWindow {
    /// None was seen.
    pub const fn new() -> Self {
        Self { seen: Bitmap::new() }
    }

    /// What is known of the request `id`. Changes nothing.
    pub fn check(&self, id: MessageId) -> Verdict {
        let number = id.number();
        match number.checked_sub(self.seen.floor()) {
            None => Verdict::Dead,
            Some(_) if self.seen.get(number) => Verdict::Seen,
            Some(distance) if distance >= WINDOW => Verdict::Ahead,
            Some(_) => Verdict::Fresh,
        }
    }

    /// Remembers the request `id`, whose record 0 authenticated (and whose floor was taken over).
    ///
    /// From then on it counts as seen. Nothing changed if that fails.
    pub fn mark(&mut self, id: MessageId) -> Result<(), MarkError> {
        match self.check(id) {
            Verdict::Fresh => {}
            Verdict::Seen => return Err(MarkError::Seen),
            Verdict::Dead => return Err(MarkError::Dead),
            Verdict::Ahead => return Err(MarkError::Ahead),
        }
        self.seen.reserve(id.number())?;
        self.seen.set(id.number());
        Ok(())
    }

    /// The client says, authenticated, that it is done with every id below the one that is
    /// `floor_distance` ids before `id`.
    ///
    /// Returns the ids, as numbers that programs of the client know (even), that died by this:
    /// their RPCs are acknowledged. `None` if none did. The range may be long; look for the RPCs
    /// that there are in it, not the other way round.
    pub fn advance_floor(&mut self, id: MessageId, floor_distance: u16) -> Option<Range<u64>> {
        let floor = id.number().checked_sub(u64::from(floor_distance))?;
        let old = self.seen.floor();
        if floor <= old {
            return None;
        }
        self.seen.advance(floor);
        Some(old.wrapping_mul(2)..floor.wrapping_mul(2))
    }

    /// The lowest id that is not dead.
    pub fn floor(&self) -> u64 {
        self.seen.floor().wrapping_mul(2)
    }

    /// Bytes of memory it has: 8 KiB at most.
    pub fn memory(&self) -> usize {
        self.seen.memory()
    }
}
