// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The client's ids: 0, 2, 4, ..., one for each RPC of the session.
//!
//! Every message names the *floor*, the oldest id that is not finished, in its preamble: the
//! server may forget all below. In exchange the client keeps its newest id within [`WINDOW`] ids
//! of the floor, so that the server's memory is bounded and yet exact.

use super::super::mem::AllocError;
use super::bitmap::Bitmap;
use super::seq::MessageId;
use super::WINDOW;

/// Why there is no next id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdsError {
    /// The window is full: an old RPC must finish first. (EAGAIN, or wait.)
    Full,
    /// The session has used up all ids: new keys and a new session are needed. (EKEYEXPIRED.)
    Exhausted,
    /// No memory.
    Alloc,
}

impl From<AllocError> for IdsError {
    fn from(_: AllocError) -> Self {
        Self::Alloc
    }
}

/// The ids that a client has given out.
///
/// # Invariants
///
/// The bitmap's floor, in ids counted from 0, is the oldest unfinished one, or `next` if there is
/// none; a bit is set if the id is finished; `next - floor <= WINDOW`.
#[derive(Debug, Default)]
pub struct Ids {
    finished: Bitmap,
    /// The next id's number, that is half the id.
    next: u64,
}

impl Ids {
    /// None was given out.
    pub const fn new() -> Self {
        Self { finished: Bitmap::new(), next: 0 }
    }

    /// Gives out an id. Nothing has changed if that fails.
    ///
    /// [`finish`](Self::finish) it exactly when nothing of its RPC is needed from the server any
    /// more.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<MessageId, IdsError> {
        let number = self.next;
        let id = number.checked_mul(2).and_then(MessageId::new).ok_or(IdsError::Exhausted)?;
        if number.wrapping_sub(self.finished.floor()) >= WINDOW {
            return Err(IdsError::Full);
        }
        self.finished.reserve(number)?;
        self.next = number.wrapping_add(1);
        Ok(id)
    }

    /// The RPC with this id (either message of it) is over. False if it was already, or never
    /// began.
    pub fn finish(&mut self, id: MessageId) -> bool {
        let number = id.number();
        if number >= self.next || self.finished.get(number) || !self.finished.set(number) {
            return false;
        }
        let floor = self.finished.first_clear(self.next);
        self.finished.advance(floor);
        true
    }

    /// The oldest id that is not finished: all below are. It is the next id, if all are.
    pub fn floor(&self) -> u64 {
        self.finished.floor().wrapping_mul(2)
    }

    /// How many ids lie between the floor and `id`, for the preamble of `id`'s message.
    ///
    /// 0 for an id below the floor, of which no message is sent any more.
    pub fn floor_distance(&self, id: MessageId) -> u16 {
        let distance = id.number().saturating_sub(self.finished.floor());
        // Below WINDOW for every id that was given out.
        u16::try_from(distance).unwrap_or(u16::MAX)
    }

    /// How many ids lie between the floor and the next one: finished or not, they fill the window.
    pub fn in_window(&self) -> u64 {
        self.next.wrapping_sub(self.finished.floor())
    }

    /// Bytes of memory it has.
    pub fn memory(&self) -> usize {
        self.finished.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_the_floor_follows() {
        let mut ids = Ids::new();
        assert_eq!(ids.floor(), 0);
        let [a, b, c] = [(); 3].map(|()| ids.next().unwrap());
        assert_eq!([a, b, c].map(MessageId::get), [0, 2, 4]);
        assert_eq!([a, b, c].map(|id| ids.floor_distance(id)), [0, 1, 2]);
        assert!(ids.finish(b));
        assert_eq!((ids.floor(), ids.in_window()), (0, 3));
        assert!(ids.finish(a.other()));
        assert_eq!((ids.floor(), ids.in_window()), (4, 1));
        assert_eq!([a, c].map(|id| ids.floor_distance(id)), [0, 0]);
        assert!(ids.finish(c));
        assert_eq!((ids.floor(), ids.in_window()), (6, 0));
        assert_eq!(ids.next().map(MessageId::get), Ok(6));
    }

    #[test]
    fn finishes_once_and_only_what_began() {
        let mut ids = Ids::new();
        let (a, b) = (ids.next().unwrap(), ids.next().unwrap());
        assert!(ids.finish(b));
        assert!(!ids.finish(b));
        assert!(ids.finish(a));
        assert!(!ids.finish(a));
        assert!(!ids.finish(MessageId::new(4).unwrap()));
        assert_eq!(ids.floor(), 4);
    }

    #[test]
    fn one_old_rpc_stops_the_window_and_no_other() {
        let mut ids = Ids::new();
        let old = ids.next().unwrap();
        for _ in 1..WINDOW {
            let id = ids.next().unwrap();
            assert!(u64::from(ids.floor_distance(id)) < WINDOW);
            ids.finish(id);
        }
        assert_eq!(ids.next(), Err(IdsError::Full));
        assert_eq!(ids.next(), Err(IdsError::Full));
        assert!(ids.memory() <= 8192);
        assert!(ids.finish(old));
        assert_eq!(ids.floor(), 2 * WINDOW);
        assert_eq!(ids.next().map(MessageId::get), Ok(2 * WINDOW));
    }

    #[test]
    fn one_at_a_time_needs_a_word_or_two() {
        let mut ids = Ids::new();
        for _ in 0..100_000 {
            let id = ids.next().unwrap();
            assert!(ids.finish(id));
        }
        assert_eq!(ids.memory(), 8);
    }

    #[test]
    fn ends_after_all_ids() {
        let mut ids = Ids::new();
        ids.next = MessageId::END / 2 - 1;
        ids.finished.advance(ids.next);
        assert_eq!(ids.next().map(MessageId::get), Ok(MessageId::END - 2));
        assert_eq!(ids.next(), Err(IdsError::Exhausted));
    }
}
