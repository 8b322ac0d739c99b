// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which of a session's keys: two bits in each packet.
//!
//! A session has a current key, and for a while after a rekey the previous one. The keys lie with
//! the caller, in two slots; here is which slot an epoch means.

/// The number of a key, modulo 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u8);

impl Epoch {
    /// The bits of it.
    pub const MASK: u8 = 3;

    /// The epoch in the low two bits of `number`.
    #[inline]
    pub const fn new(number: u8) -> Self {
        Self(number & Self::MASK)
    }

    /// 0 to 3.
    #[inline]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The epoch after this one.
    #[inline]
    pub const fn next(self) -> Self {
        Self::new(self.0.wrapping_add(1))
    }
}

/// Which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The newest.
    Current,
    /// The one before it.
    Previous,
}

/// The epochs whose keys a direction of a session has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    current: Epoch,
    has_previous: bool,
}

impl Epochs {
    /// The first key: epoch 0.
    pub const fn new() -> Self {
        Self { current: Epoch::new(0), has_previous: false }
    }

    /// The epoch that new messages are sent in.
    #[inline]
    pub fn current(&self) -> Epoch {
        self.current
    }

    /// The key for `epoch`; `None` if it is gone, or not there yet.
    #[inline]
    pub fn select(&self, epoch: Epoch) -> Option<Slot> {
        if epoch == self.current {
            Some(Slot::Current)
        } else if self.has_previous && epoch.next() == self.current {
            Some(Slot::Previous)
        } else {
            None
        }
    }

    /// A new key: the current one becomes the previous, of which there must be none any more.
    ///
    /// False, and nothing changed, while there is a previous key.
    #[must_use]
    pub fn advance(&mut self) -> bool {
        if self.has_previous {
            return false;
        }
        self.current = self.current.next();
        self.has_previous = true;
        true
    }

    /// The messages of the previous key are done: it is gone.
    pub fn drop_previous(&mut self) {
        self.has_previous = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rekey_at_a_time() {
        let mut epochs = Epochs::new();
        for round in 0..6u8 {
            let now = Epoch::new(round);
            assert_eq!(epochs.current(), now);
            assert_eq!(epochs.select(now), Some(Slot::Current));
            assert_eq!(epochs.select(now.next()), None);
            assert!(epochs.advance());
            assert!(!epochs.advance());
            assert_eq!(epochs.select(now), Some(Slot::Previous));
            assert_eq!(epochs.select(now.next()), Some(Slot::Current));
            assert_eq!(epochs.select(now.next().next()), None);
            epochs.drop_previous();
            assert_eq!(epochs.select(now), None);
        }
    }
}
