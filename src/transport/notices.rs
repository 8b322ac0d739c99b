// SPDX-License-Identifier: GPL-2.0

//! What a socket has to tell its program about keys that are half used up, until the program asks.
//!
//! The lock is a leaf.

use crate::sys::relaxed::Relaxed;
use kernel::prelude::*;

use crate::sys::addr::SockAddr;
use crate::sys::lock::{new_spinlock_bh, SpinLockBh};
use crate::tls::{Direction, Notice};

/// So many are kept for a program that does not ask.
const MAX: usize = 4096;

/// Notices, each with the peer whose session it is about.
#[pin_data]
pub(crate) struct Notices {
    #[pin]
    list: SpinLockBh<KVec<(SockAddr, Notice)>>,
    any: Relaxed<bool>,
}

impl Notices {
    /// None.
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            list <- new_spinlock_bh!(KVec::new(), "homa_notices"),
            any: Relaxed::new(false),
        })
    }

    /// Are there any?
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.load()
    }

    /// Keeps one; false if there is no room.
    pub(super) fn keep(&self, name: SockAddr, notice: Notice) -> bool {
        let mut list = self.list.lock();
        if list.len() >= MAX || list.push((name, notice), GFP_ATOMIC).is_err() {
            return false;
        }
        self.any.store(true);
        true
    }

    /// Drops those about that direction of the session with `name`: the program set another key.
    pub(super) fn forget(&self, name: &SockAddr, direction: Direction) {
        let mut list = self.list.lock();
        let mut at = 0;
        while let Some((of, notice)) = list.get(at) {
            if of != name || notice.direction != direction {
                at += 1;
                continue;
            }
            // The last one takes its place.
            let last = list.pop();
            if let (Some(slot), Some(last)) = (list.get_mut(at), last) {
                *slot = last;
            }
        }
        self.any.store(!list.is_empty());
    }

    /// The next one.
    pub(crate) fn next(&self) -> Option<(SockAddr, Notice)> {
        let mut list = self.list.lock();
        let next = list.remove(0).ok();
        self.any.store(!list.is_empty());
        next
    }
}
