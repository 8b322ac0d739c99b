// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A window of bits that slides along the natural numbers.
//!
//! Bit `n` stands at `n` modulo the capacity, so that sliding moves nothing. The capacity is a
//! power of two between one word and [`WINDOW`] bits, and grows when a bit is wanted that does
//! not fit beside those below it.

use super::super::mem::{AllocError, Vec};
use super::WINDOW;

const BITS: u64 = 64;
const MAX_WORDS: u64 = WINDOW / BITS;

/// The bits from `floor` on, [`WINDOW`] of them at most; those that were never set are clear.
///
/// # Invariants
///
/// The number of words is 0 or a power of two, at most `MAX_WORDS`; a bit is set only if it
/// stands for a number of `floor .. floor + capacity`.
#[derive(Debug, Default)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    floor: u64,
}

impl Bitmap {
    pub(super) const fn new() -> Self {
        Self { words: Vec::new(), floor: 0 }
    }

    /// The lowest number of the window.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Bytes of memory it has.
    pub(super) fn memory(&self) -> usize {
        self.words.len().saturating_mul(8)
    }

    fn capacity(&self) -> u64 {
        (self.words.len() as u64).saturating_mul(BITS)
    }

    /// Where `n` stands: index of the word, and the bit in it.
    fn place(&self, n: u64) -> (usize, u64) {
        let mask = (self.words.len() as u64).saturating_sub(1);
        (((n / BITS) & mask) as usize, 1 << (n % BITS))
    }

    /// Is `n` in the window, and set?
    pub(super) fn get(&self, n: u64) -> bool {
        if n < self.floor || n.wrapping_sub(self.floor) >= self.capacity() {
            return false;
        }
        let (word, bit) = self.place(n);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Makes room for `n`, so that [`set`](Self::set) works for it.
    ///
    /// `n` must be inside `floor .. floor + WINDOW`; anything else is refused as if there were
    /// no memory.
    pub(super) fn reserve(&mut self, n: u64) -> Result<(), AllocError> {
        let first = self.floor / BITS;
        if n >= self.floor && n.wrapping_sub(first.wrapping_mul(BITS)) < self.capacity() {
            return Ok(());
        }
        let distance = n.checked_sub(self.floor).filter(|distance| *distance < WINDOW);
        distance.ok_or(AllocError)?;
        // Words that the window spans up to `n`. Only the full window may span one more than
        // there are, its last word sharing a place with its first: they share no bit.
        let span = (n / BITS).wrapping_sub(first).wrapping_add(1).min(MAX_WORDS);
        let old = self.words.len() as u64;
        if span <= old {
            return Ok(());
        }
        let new = span.next_power_of_two();
        let mut words = Vec::from_elem(0, new as usize)?;
        for word in first..first.wrapping_add(old) {
            let from = (word & old.wrapping_sub(1)) as usize;
            let to = (word & new.wrapping_sub(1)) as usize;
            if let (Some(from), Some(to)) = (self.words.get(from), words.get_mut(to)) {
                *to = *from;
            }
        }
        self.words = words;
        Ok(())
    }

    /// Sets bit `n`. False if it is outside the window or there was no [`reserve`](Self::reserve).
    pub(super) fn set(&mut self, n: u64) -> bool {
        if n < self.floor || n.wrapping_sub(self.floor) >= self.capacity() {
            return false;
        }
        let (word, bit) = self.place(n);
        match self.words.get_mut(word) {
            Some(word) => {
                *word |= bit;
                true
            }
            None => false,
        }
    }

    /// Slides the window up: `floor` becomes its lowest number, what is below is forgotten.
    pub(super) fn advance(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        if floor.wrapping_sub(self.floor) >= self.capacity() {
            self.words.iter_mut().for_each(|word| *word = 0);
            self.floor = floor;
            return;
        }
        // Whole words first, then the lower bits of the word that the new floor is in.
        let mut from = self.floor;
        while from < floor {
            let end = (from / BITS).wrapping_add(1).wrapping_mul(BITS).min(floor);
            let count = end.wrapping_sub(from);
            let ones = if count >= BITS { u64::MAX } else { (1u64 << count).wrapping_sub(1) };
            let (word, _) = self.place(from);
            if let Some(word) = self.words.get_mut(word) {
                *word &= !(ones << (from % BITS));
            }
            from = end;
        }
        self.floor = floor;
    }

    /// The lowest number from the floor on that is not set, if there is one below `end`; else
    /// `end`.
    pub(super) fn first_clear(&self, end: u64) -> u64 {
        let mut n = self.floor;
        while n < end {
            if n.wrapping_sub(self.floor) >= self.capacity() {
                return n;
            }
            let (word, _) = self.place(n);
            // The window's last word may hold bits of numbers below the floor's word: they are
            // clear or beyond `end`, and the loop ends there in either case.
            let bits = self.words.get(word).copied().unwrap_or(0) >> (n % BITS);
            let run = u64::from(bits.trailing_ones());
            let left = BITS.wrapping_sub(n % BITS);
            n = n.wrapping_add(run.min(left));
            if run < left {
                break;
            }
        }
        n.min(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn grows_only_as_needed() {
        let mut bitmap = Bitmap::new();
        assert_eq!(bitmap.memory(), 0);
        bitmap.reserve(0).unwrap();
        assert_eq!(bitmap.memory(), 8);
        bitmap.reserve(63).unwrap();
        assert_eq!(bitmap.memory(), 8);
        bitmap.reserve(64).unwrap();
        assert_eq!(bitmap.memory(), 16);
        bitmap.reserve(WINDOW - 1).unwrap();
        assert_eq!(bitmap.memory(), 8192);
        assert!(bitmap.reserve(WINDOW).is_err());
        bitmap.advance(1);
        bitmap.reserve(WINDOW).unwrap();
        assert!(bitmap.reserve(0).is_err());
        assert_eq!(bitmap.memory(), 8192);
    }

    #[test]
    fn nothing_is_set_without_room() {
        let mut bitmap = Bitmap::new();
        assert!(!bitmap.set(0));
        bitmap.reserve(0).unwrap();
        assert!(!bitmap.set(64));
        assert!(bitmap.set(1));
        assert!(bitmap.get(1) && !bitmap.get(0) && !bitmap.get(65));
    }

    /// A full window that straddles words, so that its ends share one.
    #[test]
    fn the_full_window_shares_no_bits() {
        for floor in [1, 63, 64, 100_001] {
            let mut bitmap = Bitmap::new();
            bitmap.advance(floor);
            let end = floor + WINDOW;
            bitmap.reserve(end - 1).unwrap();
            for n in (floor..end).filter(|n| n % 3 == 0) {
                assert!(bitmap.set(n));
            }
            for n in floor..end {
                assert_eq!(bitmap.get(n), n % 3 == 0, "{n}");
            }
            let clear = (floor..end).find(|n| n % 3 != 0).unwrap();
            assert_eq!(bitmap.first_clear(end), clear);
            for n in floor..end {
                bitmap.set(n);
            }
            assert_eq!(bitmap.first_clear(end), end);
            bitmap.advance(floor + 70);
            assert_eq!(bitmap.first_clear(end), end);
            // Where the old numbers were, new ones stand now, and they are clear.
            for n in end..end + 70 {
                bitmap.reserve(n).unwrap();
                assert!(!bitmap.get(n), "{n}");
            }
            assert_eq!(bitmap.first_clear(end + 70), end);
        }
    }

    #[test]
    fn like_a_set() {
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        for _ in 0..50 {
            let (mut bitmap, mut set) = (Bitmap::new(), BTreeSet::new());
            let reach = 1 << (random() % 17);
            for _ in 0..500 {
                let n = bitmap.floor() + random() % reach;
                match random() % 4 {
                    0 => {
                        let floor = bitmap.floor() + random() % reach / (1 + random() % 64);
                        bitmap.advance(floor);
                        set = set.split_off(&floor);
                    }
                    1 => assert_eq!(bitmap.get(n), set.contains(&n)),
                    _ => {
                        bitmap.reserve(n).unwrap();
                        assert!(bitmap.set(n));
                        set.insert(n);
                    }
                }
                let end = bitmap.floor() + reach;
                let clear = (bitmap.floor()..end).find(|n| !set.contains(n)).unwrap_or(end);
                assert_eq!(bitmap.first_clear(end), clear);
            }
            for n in bitmap.floor()..bitmap.floor() + WINDOW {
                assert_eq!(bitmap.get(n), set.contains(&n));
            }
        }
    }
}
