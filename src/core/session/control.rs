// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The counter of sealed control packets: given out by one end, checked by the other.
//!
//! It counts from 0 for the whole session, through all epochs. The receiver remembers the last 128
//! numbers, in the manner of IPsec (RFC 4303, section 3.4.3): packets may overtake each other
//! by less than that; one that was overtaken by more counts as a replay and is dropped, as if it
//! had been lost.

/// The sender's side.
#[derive(Debug, Default)]
pub struct ControlSender {
    next: u64,
}

impl ControlSender {
    /// None was given out.
    pub const fn new() -> Self {
        Self { next: 0 }
    }

    /// A number that was never given out; `None` after 2^63 of them.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<u64> {
        let counter = self.next;
        if counter >> 63 != 0 {
            return None;
        }
        self.next = counter.wrapping_add(1);
        Some(counter)
    }
}

/// The receiver's side.
///
/// # Invariants
///
/// Bit `i` of `seen` is set if `end - 1 - i` was seen; nothing from `end` on was.
#[derive(Debug, Default)]
pub struct ControlWindow {
    end: u64,
    seen: u128,
}

impl ControlWindow {
    /// How far back it remembers.
    pub const SIZE: u64 = 128;

    /// None was seen.
    pub const fn new() -> Self {
        Self { end: 0, seen: 0 }
    }

    /// Could `counter` be new? Changes nothing: ask before the tag is checked.
    #[inline]
    pub fn check(&self, counter: u64) -> bool {
        if counter >> 63 != 0 {
            return false;
        }
        match self.end.checked_sub(counter) {
            None | Some(0) => true,
            Some(age) => age <= Self::SIZE && (self.seen >> age.wrapping_sub(1)) & 1 == 0,
        }
    }

    /// Remembers `counter`, whose tag was right. False, and nothing changed, if it is not new.
    #[must_use]
    pub fn mark(&mut self, counter: u64) -> bool {
        if !self.check(counter) {
            return false;
        }
        match self.end.checked_sub(counter) {
            Some(age @ 1..=Self::SIZE) => self.seen |= 1 << age.wrapping_sub(1),
            // Older: `check` refused it.
            Some(1..) => return false,
            Some(0) | None => {
                let end = counter.wrapping_add(1);
                let shift = u32::try_from(end.wrapping_sub(self.end)).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
                self.end = end;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_ends() {
        let mut sender = ControlSender::new();
        assert_eq!((sender.next(), sender.next()), (Some(0), Some(1)));
        sender.next = (1 << 63) - 1;
        assert_eq!(sender.next(), Some((1 << 63) - 1));
        assert_eq!((sender.next(), sender.next()), (None, None));
    }

    #[test]
    fn each_number_once_in_any_order() {
        let mut window = ControlWindow::new();
        for counter in [3, 0, 2, 1, 127, 64] {
            assert!(window.check(counter) && window.mark(counter), "{counter}");
            assert!(!window.check(counter) && !window.mark(counter), "{counter}");
        }
        assert!(window.mark(131));
        // 131 is the newest of 128 that are remembered: 4 is the oldest.
        assert!(!window.check(3) && window.check(4));
        assert!(window.mark(4));
    }

    #[test]
    fn far_jumps_forget_all() {
        let mut window = ControlWindow::new();
        assert!(window.mark(5));
        assert!(window.mark((1 << 63) - 1));
        assert!(!window.check(1 << 63) && !window.check(u64::MAX));
        assert!(!window.check(5) && !window.check((1 << 63) - 1 - 128));
        assert!(window.mark((1 << 63) - 128));
        assert!(!window.mark((1 << 63) - 128));
    }
}
