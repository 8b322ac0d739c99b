// SPDX-License-Identifier: GPL-2.0

//! How far a key was used, and how far it may be (RFC 8446, section 5.5).

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

use super::Direction;

/// How far a key may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// AES blocks sealed.
    pub(crate) blocks: u64,
    /// Records and control packets that did not open.
    pub(crate) failures: u64,
}

impl Limits {
    /// 2^24.5 full records of 2^10 blocks, and 2^36.
    pub(crate) const TLS: Self = Self { blocks: 24_296_004_000, failures: 1 << 36 };
}

/// A key is half used up.
#[derive(Clone, Copy)]
pub(crate) struct Notice {
    /// Which way it works.
    pub(crate) direction: Direction,
    /// How far it was used.
    pub(crate) used: u64,
    /// How far it may be.
    pub(crate) limit: u64,
}

/// How far a key was used.
pub(super) struct Usage {
    limits: Limits,
    blocks: Atomic<u64>,
    failures: Atomic<u64>,
    told: Atomic<bool>,
}

impl Usage {
    /// Of a new key.
    pub(super) fn new(limits: Limits) -> Self {
        let (blocks, failures) = (Atomic::new(0), Atomic::new(0));
        Self { limits, blocks, failures, told: Atomic::new(false) }
    }

    /// Takes `blocks`, before they are sealed. EKEYEXPIRED, and nothing is taken, if there are not so many.
    #[inline]
    pub(super) fn take(&self, blocks: u64) -> Result<Option<Notice>> {
        self.take_within(blocks, self.limits.blocks)
    }

    /// The same for a control packet: they go on for an eighth longer, so that what was sent can be finished.
    #[inline]
    pub(super) fn take_for_control(&self) -> Result<Option<Notice>> {
        let limit = self.limits.blocks;
        self.take_within(CONTROL_BLOCKS, limit.saturating_add(limit >> 3))
    }

    #[inline]
    fn take_within(&self, blocks: u64, limit: u64) -> Result<Option<Notice>> {
        let before = self.blocks.fetch_add(blocks, Relaxed);
        let after = before.saturating_add(blocks);
        if after > limit {
            self.blocks.fetch_sub(blocks, Relaxed);
            return Err(EKEYEXPIRED);
        }
        Ok(self.half(Direction::Tx, after, self.limits.blocks))
    }

    /// One more did not open.
    #[cold]
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1u64, Relaxed);
    }

    /// Has so much failed to open that nothing may be opened any more?
    #[inline]
    pub(super) fn is_worn(&self) -> bool {
        self.failures.load(Relaxed) >= self.limits.failures
    }

    /// Once, when half of what may fail to open did.
    #[inline]
    pub(super) fn half_failed(&self) -> Option<Notice> {
        self.half(Direction::Rx, self.failures.load(Relaxed), self.limits.failures)
    }

    #[inline]
    fn half(&self, direction: Direction, used: u64, limit: u64) -> Option<Notice> {
        if used < limit >> 1 || self.told.load(Relaxed) {
            return None;
        }
        self.tell(direction, used, limit)
    }

    #[cold]
    fn tell(&self, direction: Direction, used: u64, limit: u64) -> Option<Notice> {
        (!self.told.xchg(true, Relaxed)).then_some(Notice { direction, used, limit })
    }
}

/// AES blocks that a control packet counts as: its tag's, and some of its bytes.
const CONTROL_BLOCKS: u64 = 4;
