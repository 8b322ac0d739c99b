// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The allocator of a program's receive pool.
//!
//! The program maps a region and registers it; messages are copied into *bpages* of it, 64 KiB
//! each, and the program owns those until it hands them back. A message takes whole bpages, and
//! for its last part a piece of a bpage that small messages share. This file only does the
//! bookkeeping: it never touches the region.

use super::mem::{AllocError, Vec};

/// Bytes in a bpage.
pub const BPAGE_SIZE: u32 = 1 << BPAGE_SHIFT;
/// Its logarithm.
pub const BPAGE_SHIFT: u32 = 16;
/// Bpages that the longest message needs.
pub const MAX_BPAGES: usize = 16;
/// Bpages that a pool can have: offsets in its region are 32 bits.
pub const MAX_POOL_BPAGES: usize = 1 << (u32::BITS - BPAGE_SHIFT);

/// Pieces of a shared bpage start at multiples of this, so that messages do not share cache
/// lines.
const PIECE_ALIGN: u32 = 64;

/// Where a message goes: offsets in the region, all bpages but the last one full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    offsets: [u32; MAX_BPAGES],
    count: usize,
}

impl Placement {
    /// The offsets, in the order of the message.
    pub fn offsets(&self) -> &[u32] {
        self.offsets.get(..self.count).unwrap_or(&[])
    }

    fn push(&mut self, offset: u32) -> bool {
        let Some(slot) = self.offsets.get_mut(self.count) else {
            return false;
        };
        *slot = offset;
        self.count = self.count.saturating_add(1);
        true
    }
}

/// The offset handed back is no bpage that the program owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwned;

/// A bpage that small messages are being put into, and where the next one goes.
#[derive(Clone, Copy, Debug)]
struct Open {
    page: usize,
    used: u32,
}

/// The pool.
///
/// # Invariants
///
/// `users[i]` counts the messages in bpage `i` that the program owns, plus one if it is open;
/// `free` counts the zeros. There are at most [`MAX_POOL_BPAGES`], so every offset fits 32 bits.
#[derive(Debug)]
pub struct BufferPool {
    users: Vec<u16>,
    free: usize,
    /// Where the search for a free bpage begins: round robin, so that a page rests.
    next: usize,
    open: Option<Open>,
}

impl BufferPool {
    /// A pool over a region of `pages` bpages, all free. Fails, too, if they are more than
    /// [`MAX_POOL_BPAGES`].
    pub fn new(pages: usize) -> Result<Self, AllocError> {
        if pages > MAX_POOL_BPAGES {
            return Err(AllocError);
        }
        let mut users = Vec::new();
        for _ in 0..pages {
            users.push(0)?;
        }
        Ok(Self { users, free: pages, next: 0, open: None })
    }

    /// Bytes in free bpages.
    pub fn available(&self) -> u64 {
        (self.free as u64) << BPAGE_SHIFT
    }

    /// Is the pool large enough for a message of `len` bytes, once everything is handed back?
    pub fn fits(&self, len: u32) -> bool {
        len.div_ceil(BPAGE_SIZE) as usize <= self.users.len().min(MAX_BPAGES)
    }

    /// Finds a place for a message of `len` bytes, or `None` while there is no room.
    pub fn allocate(&mut self, len: u32) -> Option<Placement> {
        let full = (len >> BPAGE_SHIFT) as usize;
        let rest = len & (BPAGE_SIZE - 1);
        if full + usize::from(rest > 0) > MAX_BPAGES {
            return None;
        }
        if rest == 0 && self.free < full {
            self.close_if_empty();
        }
        // The shared piece first: it is what can fail beyond the count of free pages.
        let fresh = rest > 0 && !self.open_fits(rest);
        if self.free < full + usize::from(fresh) {
            return None;
        }
        let mut place = Placement::default();
        for _ in 0..full {
            // Below 2^16, so nothing is shifted out.
            place.push(self.take()? << BPAGE_SHIFT);
        }
        if rest > 0 {
            place.push(self.take_piece(rest)?);
        }
        Some(place)
    }

    /// The program hands `offset` back.
    pub fn release(&mut self, offset: u32) -> Result<(), NotOwned> {
        let page = (offset >> BPAGE_SHIFT) as usize;
        let open = self.open.is_some_and(|o| o.page == page);
        let users = self.users.get_mut(page).ok_or(NotOwned)?;
        if *users <= u16::from(open) {
            return Err(NotOwned);
        }
        leave(users, &mut self.free);
        Ok(())
    }

    /// Gives up the open bpage if no message is in it.
    fn close_if_empty(&mut self) {
        let Some(open) = self.open else {
            return;
        };
        if let Some(users) = self.users.get_mut(open.page).filter(|n| **n == 1) {
            leave(users, &mut self.free);
            self.open = None;
        }
    }

    fn open_fits(&self, len: u32) -> bool {
        self.open.is_some_and(|open| {
            let alone = self.users.get(open.page).is_some_and(|n| *n == 1);
            alone || open.used.saturating_add(len) <= BPAGE_SIZE
        })
    }

    /// A piece of the open bpage; opens another if this one is full.
    fn take_piece(&mut self, len: u32) -> Option<u32> {
        if let Some(open) = self.open.as_mut() {
            let users = self.users.get_mut(open.page)?;
            if *users == 1 {
                // Only we hold it: the program has handed everything back.
                open.used = 0;
            }
            if open.used.saturating_add(len) > BPAGE_SIZE || *users == u16::MAX {
                leave(users, &mut self.free);
                self.open = None;
            }
        }
        if self.open.is_none() {
            let page = self.take()? as usize;
            self.open = Some(Open { page, used: 0 });
        }
        let open = self.open.as_mut()?;
        let users = self.users.get_mut(open.page)?;
        *users = users.saturating_add(1);
        let offset = ((open.page as u32) << BPAGE_SHIFT).saturating_add(open.used);
        let end = open.used.saturating_add(len);
        open.used = end.checked_next_multiple_of(PIECE_ALIGN).unwrap_or(BPAGE_SIZE);
        Some(offset)
    }

    /// A free bpage, now with one user.
    fn take(&mut self) -> Option<u32> {
        let n = self.users.len();
        for step in 0..n {
            let i = self.next.wrapping_add(step) % n;
            let users = self.users.get_mut(i)?;
            if *users == 0 {
                *users = 1;
                self.free = self.free.saturating_sub(1);
                self.next = i + 1;
                return Some(i as u32);
            }
        }
        None
    }
}

/// A bpage has one user less, and is free if that was the last.
fn leave(users: &mut u16, free: &mut usize) {
    *users = users.saturating_sub(1);
    if *users == 0 {
        *free = free.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_share_a_bpage() {
        let mut pool = BufferPool::new(2).unwrap();
        let a = pool.allocate(100).unwrap();
        let b = pool.allocate(100).unwrap();
        assert_eq!(a.offsets(), &[0]);
        assert_eq!(b.offsets(), &[128]);
        assert_eq!(pool.available(), u64::from(BPAGE_SIZE));
    }

    #[test]
    fn an_empty_open_bpage_is_used_from_its_start() {
        let mut pool = BufferPool::new(1).unwrap();
        for _ in 0..5000 {
            let a = pool.allocate(40_000).unwrap();
            assert_eq!(a.offsets(), &[0]);
            pool.release(0).unwrap();
        }
    }

    #[test]
    fn a_long_message_takes_whole_bpages() {
        let mut pool = BufferPool::new(16).unwrap();
        let a = pool.allocate(1_000_000).unwrap();
        assert_eq!(a.offsets().len(), 16);
        assert_eq!(pool.allocate(BPAGE_SIZE), None);
        for offset in a.offsets() {
            pool.release(*offset).unwrap();
        }
        assert!(pool.allocate(15 * BPAGE_SIZE).is_some());
    }

    #[test]
    fn every_offset_of_the_largest_pool_fits() {
        assert!(BufferPool::new(MAX_POOL_BPAGES + 1).is_err());
        let mut pool = BufferPool::new(MAX_POOL_BPAGES).unwrap();
        for page in 0..MAX_POOL_BPAGES - 1 {
            let a = pool.allocate(BPAGE_SIZE).unwrap();
            assert_eq!(a.offsets(), &[(page * BPAGE_SIZE as usize) as u32]);
        }
        // The last one is shared.
        let last = u32::MAX - (BPAGE_SIZE - 1);
        assert_eq!(pool.allocate(BPAGE_SIZE - 64).unwrap().offsets(), &[last]);
        assert_eq!(pool.allocate(64).unwrap().offsets(), &[u32::MAX - 63]);
        assert_eq!(pool.allocate(1), None);
        for offset in [last, u32::MAX - 63] {
            pool.release(offset).unwrap();
        }
    }

    #[test]
    fn what_fits_finds_room_when_all_is_back() {
        let mut pool = BufferPool::new(2).unwrap();
        pool.allocate(10).unwrap();
        assert_eq!(pool.allocate(2 * BPAGE_SIZE), None);
        pool.release(0).unwrap();
        assert!(pool.fits(2 * BPAGE_SIZE) && !pool.fits(2 * BPAGE_SIZE + 1));
        assert!(pool.allocate(2 * BPAGE_SIZE).is_some());
    }

    #[test]
    fn only_what_is_owned_can_be_handed_back() {
        let mut pool = BufferPool::new(2).unwrap();
        assert_eq!(pool.release(0), Err(NotOwned));
        assert_eq!(pool.release(u32::MAX), Err(NotOwned));
        let a = pool.allocate(10).unwrap();
        pool.release(a.offsets()[0]).unwrap();
        assert_eq!(pool.release(a.offsets()[0]), Err(NotOwned));
    }
}
