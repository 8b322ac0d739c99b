// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What was ever encrypted: each (key, nonce) pair once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// A book that all hosts of a simulation write into.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Rc<RefCell<Book>>);

#[derive(Debug, Default)]
struct Book {
    pairs: HashSet<(u64, u64)>,
    twice: Option<(u64, u64)>,
}

impl Ledger {
    /// `key` encrypts with the record sequence number `number`, which makes the nonce.
    pub fn encrypt(&self, key: u64, number: u64) {
        let mut book = self.0.borrow_mut();
        if !book.pairs.insert((key, number)) {
            book.twice = Some((key, number));
        }
    }

    /// A pair that was used twice.
    pub fn twice(&self) -> Option<(u64, u64)> {
        self.0.borrow().twice
    }

    /// How many pairs were used.
    pub fn len(&self) -> usize {
        self.0.borrow().pairs.len()
    }

    /// None was used.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
