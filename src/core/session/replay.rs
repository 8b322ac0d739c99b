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
    #[inline]
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
    #[inline]
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
    /// Returns the range of (even) ids in which there may be RPCs that died by this: they are
    /// acknowledged. `None` if there are none. It spans [`WINDOW`] ids at most, however far the
    /// floor jumped, as nothing above was ever marked.
    #[inline]
    pub fn advance_floor(&mut self, id: MessageId, floor_distance: u16) -> Option<Range<u64>> {
        let floor = id.number().checked_sub(u64::from(floor_distance))?;
        let old = self.seen.floor();
        if floor <= old {
            return None;
        }
        self.seen.advance(floor);
        let end = floor.min(old.saturating_add(WINDOW));
        Some(old.wrapping_mul(2)..end.wrapping_mul(2))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> MessageId {
        MessageId::new(n).unwrap()
    }

    #[test]
    fn a_request_is_fresh_once() {
        let mut window = ReplayWindow::new();
        assert_eq!(window.check(id(4)), Verdict::Fresh);
        assert_eq!(window.check(id(4)), Verdict::Fresh);
        assert_eq!(window.mark(id(4)), Ok(()));
        assert_eq!(window.check(id(4)), Verdict::Seen);
        assert_eq!(window.mark(id(4)), Err(MarkError::Seen));
        assert_eq!(window.check(id(2)), Verdict::Fresh);
    }

    #[test]
    fn below_the_floor_is_dead_seen_or_not() {
        let mut window = ReplayWindow::new();
        window.mark(id(4)).unwrap();
        assert_eq!(window.advance_floor(id(10), 1), Some(0..8));
        for n in [0, 2, 4, 6] {
            assert_eq!(window.check(id(n)), Verdict::Dead);
            assert_eq!(window.mark(id(n)), Err(MarkError::Dead));
        }
        assert_eq!(window.check(id(8)), Verdict::Fresh);
        assert_eq!(window.floor(), 8);
    }

    #[test]
    fn the_floor_never_sinks() {
        let mut window = ReplayWindow::new();
        assert_eq!(window.advance_floor(id(10), 0), Some(0..10));
        assert_eq!(window.advance_floor(id(10), 0), None);
        assert_eq!(window.advance_floor(id(10), 3), None);
        // A distance that would reach below 0 is no client's.
        assert_eq!(window.advance_floor(id(2), 100), None);
        assert_eq!(window.floor(), 10);
    }

    #[test]
    fn a_message_far_ahead_brings_its_floor_along() {
        let mut window = ReplayWindow::new();
        let far = id(1_000_000);
        assert_eq!(window.check(far), Verdict::Ahead);
        assert_eq!(window.mark(far), Err(MarkError::Ahead));
        assert_eq!(window.advance_floor(far, u16::MAX), Some(0..2 * WINDOW));
        assert_eq!(window.floor(), 1_000_000 - 131_070);
        assert_eq!(window.check(far), Verdict::Fresh);
        assert_eq!(window.mark(far), Ok(()));
        assert_eq!(window.memory(), 8192);
    }

    #[test]
    fn small_for_small_use() {
        let mut window = ReplayWindow::new();
        for n in 0..10_000 {
            window.advance_floor(id(2 * n), 0);
            window.mark(id(2 * n)).unwrap();
        }
        assert_eq!(window.memory(), 8);
    }
}
