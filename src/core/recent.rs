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

/// Which of the newest ids were forgotten. Ids of one client grow by two.
///
/// # Invariants
///
/// The bit of an id's number (half the id), modulo [`RECENT`], is set if it was forgotten, for the
/// numbers from `top - RECENT + 1` to `top`; other numbers have no bit.
#[derive(Debug)]
pub struct RecentIds {
    /// The highest number that was forgotten.
    top: u64,
    bits: [u64; WORDS],
}

impl RecentIds {
    /// None was forgotten.
    pub const fn new() -> Self {
        Self { top: 0, bits: [0; WORDS] }
    }

    fn place(number: u64) -> (usize, u64) {
        let bit = number % RECENT;
        ((bit / WORD) as usize, 1 << (bit % WORD))
    }

    /// `id` is being forgotten.
    pub fn add(&mut self, id: u64) {
        let number = id >> 1;
        if number > self.top {
            if number - self.top >= RECENT {
                self.bits = [0; WORDS];
            } else {
                for skipped in self.top + 1..number {
                    self.set(skipped, false);
                }
            }
            self.top = number;
        } else if self.top - number >= RECENT {
            return;
        }
        self.set(number, true);
    }

    fn set(&mut self, number: u64, on: bool) {
        let (word, bit) = Self::place(number);
        if let Some(word) = self.bits.get_mut(word) {
            *word = if on { *word | bit } else { *word & !bit };
        }
    }

    /// Was `id` forgotten lately?
    pub fn contains(&self, id: u64) -> bool {
        let number = id >> 1;
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
            let number = top.saturating_sub((seed >> 40) % 1500);
            let id = (number << 1) | 1;
            let highest = all.last().copied().unwrap_or(0);
            let known = highest < number + RECENT && all.contains(&number);
            assert_eq!(recent.contains(id), known);
            recent.add(id);
            if highest < number + RECENT {
                all.insert(number);
            }
        }
    }
}
