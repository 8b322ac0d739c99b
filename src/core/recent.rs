// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The plain requests of a peer that a server has lately forgotten.
//!
//! A server forgets a plain RPC when its client acknowledged the response. A copy of the request that
//! the network kept back would then look new, and be served again; it is recognized here instead, as
//! long as fewer than [`RECENT`] other RPCs of the same client were forgotten meanwhile. (In a
//! session the replay window recognizes every copy, however late.)

/// How many ids are remembered.
pub const RECENT: usize = 32;

/// The last [`RECENT`] ids.
#[derive(Debug)]
pub struct RecentIds {
    ids: [u64; RECENT],
    next: usize,
}

impl RecentIds {
    /// None was forgotten. (0 is no server's id.)
    pub const fn new() -> Self {
        Self { ids: [0; RECENT], next: 0 }
    }

    /// `id` is being forgotten.
    pub fn add(&mut self, id: u64) {
        if let Some(slot) = self.ids.get_mut(self.next) {
            *slot = id;
        }
        self.next = self.next.wrapping_add(1) % RECENT;
    }

    /// Was `id` forgotten lately?
    pub fn contains(&self, id: u64) -> bool {
        self.ids.contains(&id)
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
    fn remembers_the_last_ones() {
        let mut recent = RecentIds::new();
        for id in (1..).step_by(2).take(RECENT + 1) {
            assert!(!recent.contains(id));
            recent.add(id);
        }
        assert!(!recent.contains(1));
        assert!(recent.contains(3));
        assert!(recent.contains(2 * RECENT as u64 + 1));
    }
}
