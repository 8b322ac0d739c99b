// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Are so many packets lost that less should be sent?
//!
//! A packet now and then is lost to a bad cable or a flipped bit, and sending less would not change that. A queue that overflows
//! loses a good part of what comes. The line is drawn at one in [`TOLERATED`].

/// One lost packet in so many is put up with.
pub const TOLERATED: u32 = 12;

/// Bytes that count as a packet.
const PACKET: u32 = 1024;

/// What is older than so many packets counts half.
const MEMORY: u32 = 512;

/// Losses are no rate before there are so many.
const FEW: u32 = 3;

/// How much of what was sent one way arrived lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossRate {
    arrived: u32,
    lost: u32,
}

impl LossRate {
    /// Nothing was sent.
    pub const fn new() -> Self {
        Self { arrived: 0, lost: 0 }
    }

    /// So many bytes arrived.
    #[inline]
    pub fn arrived(&mut self, bytes: u32) {
        self.arrived = self.arrived.saturating_add(bytes / PACKET).saturating_add(1);
        if self.arrived > MEMORY {
            self.arrived /= 2;
            self.lost /= 2;
        }
    }

    /// So many bytes were lost. True if that is too much.
    pub fn lost(&mut self, bytes: u32) -> bool {
        self.lost = self.lost.saturating_add(bytes / PACKET).saturating_add(1).min(MEMORY);
        self.lost >= FEW && self.lost.saturating_mul(TOLERATED) > self.arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often in a thousand packets of which every `nth` is lost that is too much.
    fn alarms(nth: u32) -> u32 {
        let mut rate = LossRate::new();
        let mut alarms = 0;
        for n in 1..=1000 {
            if n % nth == 0 {
                alarms += u32::from(rate.lost(1000));
            } else {
                rate.arrived(1000);
            }
        }
        alarms
    }

    #[test]
    fn some_loss_is_tolerated() {
        assert_eq!(alarms(100), 0);
        assert_eq!(alarms(30), 0);
        assert!(alarms(5) > 150, "{}", alarms(5));
    }

    #[test]
    fn a_dead_path_is_noticed_at_once() {
        let mut rate = LossRate::new();
        assert!(!rate.lost(1));
        assert!(!rate.lost(1));
        assert!(rate.lost(1));
        // A whole window at once, too.
        assert!(LossRate::new().lost(10_000));
    }

    #[test]
    fn old_losses_are_forgotten() {
        let mut rate = LossRate::new();
        for _ in 0..10_000 {
            rate.lost(u32::MAX);
        }
        for _ in 0..100 {
            rate.arrived(100_000);
        }
        assert!(!rate.lost(1));
    }
}
