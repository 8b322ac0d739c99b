// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Is a peer alive, and may it be asked now?
//!
//! Each RPC has its own pause between questions. That is not enough when hundreds of RPCs wait for one peer that is
//! gone, or behind an overloaded link: then all of them ask. So a peer has a [`Pulse`]: in each interval at most
//! [`QUESTIONS`] are asked, and intervals double as long as nothing at all is heard from it. Any authentic
//! packet from the peer, about whichever RPC, is a sign of life: it ends that, and keeps the time-outs of
//! all RPCs with the peer away for a while.

use super::config::Config;

/// Questions in an interval, from all RPCs with a peer together.
pub const QUESTIONS: u8 = 8;

/// Intervals double so often at most; `Config::ask_max` ends it sooner.
const MAX_SHIFT: u8 = 16;

/// What was heard of a peer, and asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pulse {
    heard: u64,
    /// When the interval began, and how often it was doubled.
    began: u64,
    doubled: u8,
    asked: u8,
}

impl Pulse {
    /// Nothing was heard or asked.
    pub const fn new() -> Self {
        Self { heard: 0, began: 0, doubled: 0, asked: 0 }
    }

    /// An authentic packet came from it.
    #[inline]
    pub fn heard(&mut self, now: u64) {
        self.heard = now;
        if self.doubled != 0 {
            self.doubled = 0;
            self.asked = 0;
        }
    }

    /// When something was heard last; 0 if never.
    pub fn last_heard(&self) -> u64 {
        self.heard
    }

    /// So many intervals in a row had questions, and no sign of life.
    pub fn silent_intervals(&self) -> u8 {
        self.doubled
    }

    /// May a question be asked now? If so it counts as asked.
    ///
    /// # Errors
    ///
    /// When to try again.
    pub fn ask(&mut self, now: u64, config: &Config) -> Result<(), u64> {
        let interval = config.resend_first.max(1).saturating_mul(1 << self.doubled.min(MAX_SHIFT));
        let end = self.began.saturating_add(interval.min(config.ask_max));
        if now >= end {
            let silent = self.asked != 0 && self.heard < self.began;
            self.doubled = if silent { self.doubled.saturating_add(1).min(MAX_SHIFT) } else { 0 };
            self.began = now;
            self.asked = 0;
        } else if self.asked >= QUESTIONS {
            return Err(end);
        }
        self.asked = self.asked.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::MS;
    use super::*;

    #[test]
    fn a_silent_peer_is_asked_less_and_less() {
        let config = Config::default();
        let mut pulse = Pulse::new();
        let mut times = std::vec![];
        let mut now = 1000 * MS;
        // A thousand RPCs would like to ask all the time.
        while now < 31_000 * MS {
            match pulse.ask(now, &config) {
                Ok(()) => times.push(now / MS - 1000),
                Err(at) => now = at,
            }
        }
        assert!(times[..8].iter().all(|at| *at == 0), "{times:?}");
        assert_eq!((times[8], times[16], times[24], times[32]), (10, 30, 70, 150));
        // A second at most: and so few in all.
        assert!((280..=320).contains(&times.len()), "{}", times.len());
        // A sign of life: eight at once.
        pulse.heard(now);
        for _ in 0..QUESTIONS {
            assert_eq!(pulse.ask(now, &config), Ok(()));
        }
        assert!(pulse.ask(now, &config).is_err());
        assert_eq!(pulse.last_heard(), now);
    }

    #[test]
    fn a_peer_that_answers_is_asked_often() {
        let config = Config::default();
        let mut pulse = Pulse::new();
        for n in 1..100 {
            let now = n * config.resend_first;
            for _ in 0..QUESTIONS {
                assert_eq!(pulse.ask(now, &config), Ok(()));
            }
            pulse.heard(now + 1);
        }
    }
}
