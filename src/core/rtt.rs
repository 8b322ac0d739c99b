// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How long a peer takes to answer, and so how long to wait before asking again (RFC 6298).
//!
//! A sample is the time from the first packet of a request to the last of its response, of an RPC of
//! which nothing was lost, as far as is known. That includes the server's work: it is what a client has to
//! expect before silence means loss.

use super::config::Config;

/// The smoothed time and its deviation, in nanoseconds; zero before the first sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    smoothed: u64,
    deviation: u64,
}

impl Rtt {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self { smoothed: 0, deviation: 0 }
    }

    /// An answer took `ns`.
    pub fn sample(&mut self, ns: u64) {
        if self.smoothed == 0 {
            self.smoothed = ns.max(1);
            self.deviation = ns / 2;
            return;
        }
        let off = ns.abs_diff(self.smoothed);
        self.deviation = (self.deviation - self.deviation / 4).saturating_add(off / 4);
        self.smoothed = (self.smoothed - self.smoothed / 8).saturating_add(ns / 8).max(1);
    }

    /// How long to wait for an answer before asking for it.
    pub fn patience(&self, config: &Config) -> u64 {
        let expected = self.smoothed.saturating_add(self.deviation.saturating_mul(4));
        expected.clamp(config.resend_first, config.resend_max.max(config.resend_first))
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::MS;
    use super::*;

    #[test]
    fn patience_is_bounded() {
        let config = Config::default();
        let mut rtt = Rtt::new();
        assert_eq!(rtt.patience(&config), config.resend_first);
        rtt.sample(1);
        assert_eq!(rtt.patience(&config), config.resend_first);
        for _ in 0..100 {
            rtt.sample(u64::MAX);
        }
        assert_eq!(rtt.patience(&config), config.resend_max);
    }

    #[test]
    fn follows_a_slow_peer() {
        let config = Config::default();
        let mut rtt = Rtt::new();
        for _ in 0..50 {
            rtt.sample(30 * MS);
        }
        assert!((30 * MS..40 * MS).contains(&rtt.patience(&config)));
    }
}
