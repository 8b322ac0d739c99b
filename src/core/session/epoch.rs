// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which of a session's keys: two bits in each packet.
//!
//! Each direction of a session rekeys by itself. The keys lie with the caller; here is which of them there are.
//!
//! The sender has one key to seal with ([`Epochs`]). It must not go on to the next epoch while
//! messages of the epoch before the current one are under way: sent, and neither done nor given up. So the
//! messages under way are of two epochs at most, of which the receiver knows the newer one as soon as
//! something of it authenticates.
//!
//! The receiver gets its next key before the sender does, as in TLS 1.3, and so has up to three
//! ([`ReceiveEpochs`]): one that is not used yet, and two of which messages may be under way.

/// The number of a key, modulo 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u8);

impl Epoch {
    /// How many there are.
    pub const COUNT: usize = 4;

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

/// The epochs of the keys to send with.
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

/// The epochs of the keys to receive with: the newest, and up to two before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveEpochs {
    newest: Epoch,
    older: u8,
}

impl ReceiveEpochs {
    /// Keys before the newest, at most.
    const MOST: u8 = 2;

    /// The first key: epoch 0.
    pub const fn new() -> Self {
        Self { newest: Epoch::new(0), older: 0 }
    }

    /// The epoch of the newest key.
    pub fn newest(&self) -> Epoch {
        self.newest
    }

    /// A new key. Returns the epoch whose key must go for it.
    ///
    /// That is one of which there are no messages any more: who gives the receiver its next key knows that the sender
    /// uses the one before it, at least.
    pub fn advance(&mut self) -> Option<Epoch> {
        let gone = self.oldest();
        self.newest = self.newest.next();
        self.older = self.older.saturating_add(1).min(Self::MOST);
        gone
    }

    /// The epoch that ends when something of the newest one authenticates.
    pub fn oldest(&self) -> Option<Epoch> {
        // Two before it is two after it, modulo 4.
        (self.older == Self::MOST).then(|| self.newest.next().next())
    }

    /// Something of `epoch` authenticated. Returns the epoch of which, therefore, there are no messages any more.
    pub fn used(&mut self, epoch: Epoch) -> Option<Epoch> {
        let gone = self.oldest().filter(|_| epoch == self.newest)?;
        self.older = self.older.saturating_sub(1);
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rekey_at_a_time() {
        let mut epochs = Epochs::new();
        for round in 0..6u8 {
            assert_eq!(epochs.current(), Epoch::new(round));
            assert!(epochs.advance());
            assert!(!epochs.advance());
            assert_eq!(epochs.current(), Epoch::new(round + 1));
            epochs.drop_previous();
        }
    }

    /// Against a model that has the keys themselves.
    #[test]
    fn receiver_keeps_what_may_be_under_way() {
        let mut epochs = ReceiveEpochs::new();
        let mut keys = [Some(0u32), None, None, None];
        let (mut sender, mut receiver) = (0u32, 0u32);
        let slot = |epoch: Epoch| usize::from(epoch.number());
        let mut state = 1u32;
        for _ in 0..10_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match state >> 30 {
                // The next key, which the sender gets later.
                0 if receiver == sender => {
                    if let Some(gone) = epochs.advance() {
                        keys[slot(gone)] = None;
                    }
                    receiver += 1;
                    assert_eq!(epochs.newest(), Epoch::new(receiver as u8));
                    assert_eq!(keys[slot(epochs.newest())], None);
                    keys[slot(epochs.newest())] = Some(receiver);
                }
                // The sender has no messages before `sender - 1` now.
                1 if receiver > sender => sender += 1,
                // A packet of the current epoch, or the one before.
                n => {
                    let of = sender.saturating_sub(n & 1);
                    let epoch = Epoch::new(of as u8);
                    assert_eq!(keys[slot(epoch)], Some(of), "{sender} {receiver}");
                    if let Some(gone) = epochs.used(epoch) {
                        assert_eq!(keys[slot(gone)].take(), Some(of - 2));
                    }
                }
            }
            assert!(keys.iter().flatten().count() <= 3);
        }
        assert!(sender > 1000);
    }

    #[test]
    fn old_keys_go() {
        let mut epochs = ReceiveEpochs::new();
        assert_eq!(epochs.used(Epoch::new(0)), None);
        assert_eq!(epochs.advance(), None);
        assert_eq!(epochs.used(Epoch::new(1)), None);
        assert_eq!(epochs.advance(), None);
        // Not by what is older than the newest.
        assert_eq!(epochs.used(Epoch::new(0)), None);
        assert_eq!(epochs.used(Epoch::new(1)), None);
        assert_eq!(epochs.used(Epoch::new(2)), Some(Epoch::new(0)));
        assert_eq!(epochs.used(Epoch::new(2)), None);
        // Without a message in between, the next key pushes the oldest out.
        assert_eq!(epochs.advance(), None);
        assert_eq!(epochs.advance(), Some(Epoch::new(1)));
    }
}
