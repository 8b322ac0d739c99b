// SPDX-License-Identifier: GPL-2.0

//! How far a key was used, and how far it may be: RFC 8446, section 5.5, for what is sealed; RFC 9147, section 4.5.3, for what does
//! not open, which datagrams can go on with.

use crate::sys::relaxed::Relaxed;
use kernel::prelude::*;

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

/// How far a key was used. On a cache line of its own, as all CPUs that seal read what is beside it.
#[repr(align(64))]
pub(super) struct Usage {
    limits: Limits,
    blocks: Relaxed<u64>,
    failures: Relaxed<u64>,
    told: Relaxed<bool>,
}

impl Usage {
    /// Of a new key.
    pub(super) fn new(limits: Limits) -> Self {
        let (blocks, failures) = (Relaxed::new(0), Relaxed::new(0));
        Self { limits, blocks, failures, told: Relaxed::new(false) }
    }

    /// Takes `blocks`, before they are sealed. EKEYEXPIRED, and nothing is taken, if there are not so many.
    #[inline]
    pub(super) fn take(&self, blocks: u64) -> Result {
        self.take_within(blocks, self.limits.blocks)
    }

    /// The same for a control packet: they go on for an eighth longer, so that what was sent can be finished.
    #[inline]
    pub(super) fn take_for_control(&self) -> Result {
        let limit = self.limits.blocks;
        self.take_within(CONTROL_BLOCKS, limit.saturating_add(limit >> 3))
    }

    #[inline]
    fn take_within(&self, blocks: u64, limit: u64) -> Result {
        let before = self.blocks.fetch_add(blocks);
        if before.saturating_add(blocks) > limit {
            self.blocks.fetch_sub(blocks);
            return Err(EKEYEXPIRED);
        }
        Ok(())
    }

    /// One more did not open.
    #[cold]
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1u64);
    }

    /// Has so much failed to open that nothing may be opened any more?
    #[inline]
    pub(super) fn is_worn(&self) -> bool {
        self.failures.load() >= self.limits.failures
    }

    /// Has half of what it may seal been sealed, or half of what may fail to open failed, and nobody was told?
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        let half = self.blocks.load() >= self.limits.blocks >> 1
            || self.failures.load() >= self.limits.failures >> 1;
        half && !self.told.load()
    }

    /// What is to be told of it, and was not; once, unless [`was_not_told`](Self::was_not_told).
    pub(super) fn notice(&self, direction: Direction) -> Option<Notice> {
        let (used, limit) = match direction {
            Direction::Tx => (self.blocks.load(), self.limits.blocks),
            Direction::Rx => (self.failures.load(), self.limits.failures),
        };
        if used < limit >> 1 || self.told.swap(true) {
            return None;
        }
        Some(Notice { direction, used, limit })
    }

    /// The notice could not be delivered.
    pub(super) fn was_not_told(&self) {
        self.told.store(false);
    }
}

/// AES blocks that a control packet counts as: its tag's, and some of its bytes.
const CONTROL_BLOCKS: u64 = 4;
