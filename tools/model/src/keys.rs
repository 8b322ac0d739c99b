// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A direction's keys, as `src/tls/rings.rs` has them at each end, and in which order programs set them.

use std::hash::{Hash, Hasher};

use homa_core::session::epoch::{Epoch, Epochs, ReceiveEpochs};

use crate::crypto::Side;
use crate::sabotage::{Rules, Sabotage};
use crate::scenario::Scenario;
use crate::state::State;

/// What an end seals with: the newest key. (The one before it is there as long as a message holds it.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendKeys {
    epochs: Epochs,
    /// How many keys came before the newest: what the epoch's bits are the last two bits of.
    pub generation: u8,
}

impl SendKeys {
    /// What packets say.
    pub fn epoch(&self) -> u8 {
        self.epochs.current().number()
    }

    /// The next key. False (EBUSY) while there is a previous one: while messages hold older keys than the newest.
    pub fn install(&mut self, rules: Rules, has_previous: bool) -> bool {
        if !has_previous || rules.broken(Sabotage::AdvanceEarly) {
            self.epochs.drop_previous();
        }
        let done = self.epochs.advance();
        self.generation += u8::from(done);
        done
    }
}

// Whether `Epochs` has a previous key follows from `generation`: it is told that there is none only to go on at once.
impl Hash for SendKeys {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.generation, self.epoch()).hash(state);
    }
}

/// What an end opens with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveKeys {
    epochs: ReceiveEpochs,
    /// Generations of the keys, by epoch.
    slots: [Option<u8>; Epoch::COUNT],
    /// Of the newest.
    pub generation: u8,
}

impl ReceiveKeys {
    /// The first one.
    pub fn new() -> Self {
        Self { epochs: ReceiveEpochs::new(), slots: [Some(0), None, None, None], generation: 0 }
    }

    fn slot(&mut self, epoch: Epoch) -> &mut Option<u8> {
        &mut self.slots[usize::from(epoch.number())]
    }

    /// The generation of the key that the epoch of a packet means.
    pub fn select(&self, rules: Rules, epoch: u8) -> Option<u8> {
        let generation = self.slots[usize::from(Epoch::new(epoch).number())]?;
        let newest = generation == self.generation;
        (newest || !rules.broken(Sabotage::NewestKey)).then_some(generation)
    }

    /// The generations that there are.
    pub fn all(&self) -> impl Iterator<Item = u8> + '_ {
        self.slots.iter().flatten().copied()
    }

    /// The next key.
    pub fn install(&mut self, rules: Rules) {
        if let Some(gone) = self.epochs.advance() {
            *self.slot(gone) = None;
        }
        self.generation += 1;
        *self.slot(self.epochs.newest()) = Some(self.generation);
        if rules.broken(Sabotage::DropKeyEarly) {
            self.used(rules, self.epochs.newest());
        }
    }

    /// Something of `epoch` authenticated.
    pub fn used(&mut self, rules: Rules, epoch: Epoch) {
        let any = rules.broken(Sabotage::AnyEpochEnds);
        let epoch = if any { self.epochs.newest() } else { epoch };
        if rules.broken(Sabotage::KeepKeys) {
            return;
        }
        if let Some(gone) = self.epochs.used(epoch) {
            *self.slot(gone) = None;
        }
    }
}

impl Default for ReceiveKeys {
    fn default() -> Self {
        Self::new()
    }
}

// The rest of `ReceiveEpochs` is how many keys there are.
impl Hash for ReceiveKeys {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.generation, self.slots, self.epochs.oldest().is_some()).hash(state);
    }
}

/// Does the program of `side` have the next key to seal with? The peer has it already, or else [`Scenario::tx_first`].
pub fn tx_is_next(state: &State, scenario: &Scenario, side: Side) -> bool {
    let (tx, rx) = (state.end(side).tx.generation, state.end(side.peer()).rx.generation);
    tx < scenario.rekeys[side.index()] && (tx < rx || scenario.tx_first)
}

/// Does the program of `side` have the next key to open with? Not before the peer seals with the one before it, at least.
pub fn rx_is_next(state: &State, scenario: &Scenario, rules: Rules, side: Side) -> bool {
    let (rx, tx) = (state.end(side).rx.generation, state.end(side.peer()).tx.generation);
    rx < scenario.rekeys[side.peer().index()] && (rx <= tx || rules.broken(Sabotage::EarlyKey))
}
