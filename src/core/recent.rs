// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The plain requests of a peer that a server has lately forgotten.
//!
//! A server forgets a plain RPC when its client acknowledged the response. A copy of the request that
//! the network kept back would then look new, and be served again; it is recognized here instead, as
//! long as its id is among the newest [`RECENT`] of that client. (In a session the replay window
//! recognizes every copy, however late.)

/// How many ids are looked back.
pub const RECENT: u64 = 1024;

const WORD: u64 = u64::BITS as u64;
const WORDS: usize = (RECENT / WORD) as usize;

/// Which of the newest ids were forgotten. Ids of one client grow by two, and begin anywhere when its host boots: so
/// there are two windows, for those of its newest life and of the one before.
#[derive(Debug)]
pub struct RecentIds {
    newest: Window,
    before: Window,
}

/// A stretch of ids.
///
/// # Invariants
///
/// The bit of an id's number (half the id), modulo [`RECENT`], is set if it was forgotten, for the
/// numbers from `top - RECENT + 1` to `top`; other numbers have no bit.
#[derive(Debug)]
struct Window {
    /// The highest number that was forgotten.
    top: u64,
    bits: [u64; WORDS],
}

impl RecentIds {
    /// None was forgotten.
    pub const fn new() -> Self {
        Self { newest: Window::at(0), before: Window::at(0) }
    }

    /// `id` is being forgotten.
    pub fn add(&mut self, id: u64) {
        let number = id >> 1;
        if !self.newest.is_near(number) {
            ::core::mem::swap(&mut self.newest, &mut self.before);
            if !self.newest.is_near(number) {
                self.newest = Window::at(number);
            }
        }
        self.newest.add(number);
    }

    /// Was `id` forgotten lately?
    pub fn contains(&self, id: u64) -> bool {
        self.newest.contains(id >> 1) || self.before.contains(id >> 1)
    }
}

impl Window {
    const fn at(top: u64) -> Self {
        Self { top, bits: [0; WORDS] }
    }

    /// Does the number belong to these, rather than to another life?
    fn is_near(&self, number: u64) -> bool {
        number.abs_diff(self.top) < RECENT
    }

    fn place(number: u64) -> (usize, u64) {
        let bit = number % RECENT;
        ((bit / WORD) as usize, 1 << (bit % WORD))
    }

    fn add(&mut self, number: u64) {
        for skipped in self.top.saturating_add(1)..number {
            self.set(skipped, false);
        }
        self.top = self.top.max(number);
        self.set(number, true);
    }

    fn set(&mut self, number: u64, on: bool) {
        let (word, bit) = Self::place(number);
        if let Some(word) = self.bits.get_mut(word) {
            *word = if on { *word | bit } else { *word & !bit };
        }
    }

    fn contains(&self, number: u64) -> bool {
        if number > self.top || self.top - number >= RECENT {
            return false;
        }
        let (word, bit) = Self::place(number);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }
}

impl Default for RecentIds {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_newest() {
        let mut recent = RecentIds::new();
        for id in (1001..).step_by(2).take(RECENT as usize) {
            assert!(!recent.contains(id));
            recent.add(id);
        }
        assert!(recent.contains(1001));
        recent.add(1001 + 2 * RECENT);
        assert!(!recent.contains(1001));
        assert!(recent.contains(1003));
        assert!(recent.contains(1001 + 2 * RECENT));
    }

    #[test]
    fn agrees_with_a_set() {
        let mut recent = RecentIds::new();
        let mut all = std::collections::BTreeSet::new();
        let mut seed = 7u64;
        let mut top = 5000u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            top += (seed >> 60) * ((seed >> 59) & 1);
            let number = top.saturating_sub((seed >> 40) % 1000);
            let id = (number << 1) | 1;
            let highest = all.last().copied().unwrap_or(0);
            let known = highest < number + RECENT && all.contains(&number);
            // What is far behind may be remembered, too; what never was, is not.
            assert!(recent.contains(id) || !known);
            assert!(!recent.contains(id) || all.contains(&number));
            recent.add(id);
            all.insert(number);
        }
    }

    #[test]
    fn a_client_that_boots_begins_anywhere() {
        let mut recent = RecentIds::new();
        for id in [90_001, 90_003, 101, 103] {
            assert!(!recent.contains(id));
            recent.add(id);
        }
        // A late copy of its life before.
        assert!(recent.contains(90_001) && recent.contains(103) && !recent.contains(90_005));
        recent.add(90_007);
        recent.add(105);
        assert!([101, 103, 105, 90_001, 90_003, 90_007].iter().all(|id| recent.contains(*id)));
    }
}
