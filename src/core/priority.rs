// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which of the network's eight queues a packet takes.
//!
//! The levels are the receiver's to give out, as it is its link that they compete for. The lowest ones are for granted
//! bytes: each grant names one ([`super::grant`]). The others are for bytes that are sent unasked, by the length of their
//! message: the shorter, the higher. Where to cut is learned from the messages that come, such that all of these levels
//! carry equally many bytes; and how many levels there are for each kind, from how many bytes of each kind come
//! (SIGCOMM'18, section 3.4). Senders are told in CUTOFFS packets; DATA packets say which version their sender has.
//!
//! Control packets that somebody waits for take the highest level, the others the lowest ([`of_control`]). What stands for a level on the wire (DSCP, traffic class) is the caller's
//! affair.

use ::core::num::NonZero;

use super::wire::{Control, PRIORITIES};

/// The highest level.
pub const HIGHEST: u8 = PRIORITIES as u8 - 1;

/// The level of a control packet.
pub fn of_control(control: &Control) -> u8 {
    match control {
        // Nobody waits for these, and there are many where messages are short.
        Control::Ack(_) | Control::Cutoffs { .. } | Control::NeedAck => 0,
        _ => HIGHEST,
    }
}

/// Longer than any message; what HomaModule takes for that.
const ANY: u32 = i32::MAX as u32;

/// A receiver's levels for messages sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// 0: its receiver has told nothing.
    pub version: u16,
    /// For each level, the length of the longest message that uses it or a higher one.
    pub longest: [u32; PRIORITIES],
}

impl Cutoffs {
    /// Of a receiver that told nothing: all messages use the level below the highest, as HomaModule has it.
    pub const UNKNOWN: Self = {
        let longest = [ANY, ANY, ANY, ANY, ANY, ANY, ANY, 0];
        Self { version: 0, longest }
    };

    /// The level for unscheduled bytes of a message of `length` bytes.
    pub fn level(&self, length: u32) -> u8 {
        let level = self.longest.iter().rposition(|longest| *longest >= length);
        level.unwrap_or(0) as u8
    }
}

/// What is known about the levels of one peer, and what it was told of ours.
#[derive(Clone, Copy, Debug)]
pub struct PeerCutoffs {
    theirs: Cutoffs,
    /// When ours were sent to it, and which.
    told: Option<(u64, u16)>,
}

impl Default for PeerCutoffs {
    fn default() -> Self {
        Self::new()
    }
}

impl PeerCutoffs {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self { theirs: Cutoffs::UNKNOWN, told: None }
    }

    /// Its levels: for sending to it.
    pub fn theirs(&self) -> &Cutoffs {
        &self.theirs
    }

    /// A CUTOFFS packet came from it.
    pub fn learn(&mut self, longest: [u32; PRIORITIES], version: u16) {
        self.theirs = Cutoffs { version, longest };
    }

    /// A DATA packet from it says that it knows `version` of our cutoffs. Is it to be sent `ours`? Then that counts as
    /// done; if the packet is lost, it is due again `pause` later.
    #[inline]
    pub fn is_due(&mut self, now: u64, version: u16, ours: &Cutoffs, pause: u64) -> bool {
        if version == ours.version || ours.version == 0 {
            return false;
        }
        let waiting = self
            .told
            .is_some_and(|(at, told)| told == ours.version && now.saturating_sub(at) < pause);
        if !waiting {
            self.told = Some((now, ours.version));
        }
        !waiting
    }
}

/// Eight for each power of two: enough for any stream.
const BUCKETS: usize = 168;

/// Messages after which the cutoffs are computed for the first time, and in the end each time: between, the number
/// doubles.
const FIRST_ROUND: u32 = 64;
const ROUND: u32 = 1024;

/// Learns from what comes which cutoffs to give out.
#[derive(Debug)]
pub struct Learner {
    /// Unscheduled bytes that came, by the length of their messages; older ones count less.
    unscheduled: [u64; BUCKETS],
    scheduled: u64,
    /// Messages since the last time.
    messages: u32,
    round: u32,
    cutoffs: Cutoffs,
    scheduled_levels: u8,
    next_version: u16,
}

/// The bucket of a length.
fn bucket(length: u32) -> usize {
    let length = length.max(1);
    let power = length.checked_ilog2().unwrap_or(0);
    // The three bits after the first one.
    let rest = if power >= 3 { length >> power.wrapping_sub(3) } else { length << 3 >> power } & 7;
    (power.wrapping_mul(8).wrapping_add(rest) as usize).min(BUCKETS - 1)
}

/// The longest length in a bucket. (Short lengths have a whole bucket each, with empty ones between.)
fn longest_in(bucket: usize) -> u32 {
    let next = bucket.saturating_add(1) as u32;
    let start = u64::from(next % 8 + 8).checked_shl(next / 8).unwrap_or(u64::MAX);
    start.div_ceil(8).saturating_sub(1).clamp(1, u64::from(ANY)) as u32
}

impl Learner {
    /// Nothing came. Versions begin with `version`, better not with the one of an earlier life of this host.
    pub const fn new(version: u16) -> Self {
        Self {
            unscheduled: [0; BUCKETS],
            scheduled: 0,
            messages: 0,
            round: FIRST_ROUND,
            cutoffs: Cutoffs::UNKNOWN,
            scheduled_levels: 6,
            next_version: version,
        }
    }

    /// A message of `length` bytes begins to arrive; `incoming` of them come unasked.
    ///
    /// True if the cutoffs are others now.
    pub fn message(&mut self, length: u32, incoming: u32) -> bool {
        let unscheduled = u64::from(incoming.min(length));
        if let Some(bytes) = self.unscheduled.get_mut(bucket(length)) {
            *bytes = bytes.saturating_add(unscheduled);
        }
        self.scheduled =
            self.scheduled.saturating_add(u64::from(length)).saturating_sub(unscheduled);
        self.messages = self.messages.saturating_add(1);
        self.messages >= self.round && self.compute()
    }

    /// What senders are to use; version 0 at first.
    pub fn cutoffs(&self) -> &Cutoffs {
        &self.cutoffs
    }

    /// The levels `0 ..` for granted bytes; at least one.
    pub fn scheduled_levels(&self) -> u8 {
        self.scheduled_levels
    }

    fn compute(&mut self) -> bool {
        self.messages = 0;
        self.round = self.round.saturating_mul(2).min(ROUND);
        let total: u64 = self.unscheduled.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes));
        let all = total.saturating_add(self.scheduled).max(1);
        let levels = PRIORITIES as u64;
        // Rounded. Unscheduled bytes have three at least, so that the shortest messages do not wait behind the first
        // bytes of long ones: a step beyond Homa, which has one if few bytes are unscheduled.
        let all_kib = NonZero::new(all / 1024).unwrap_or(NonZero::<u64>::MIN);
        let share = (total / 1024).saturating_mul(levels).saturating_mul(2) / all_kib;
        let for_unscheduled = (share.saturating_add(1) / 2).clamp(3, levels - 1);
        let mut longest = [ANY; PRIORITIES];
        let mut sum = 0u64;
        let mut level = PRIORITIES - 1;
        let lowest = PRIORITIES.saturating_sub(for_unscheduled as usize);
        for (index, bytes) in self.unscheduled.iter().enumerate() {
            sum = sum.saturating_add(*bytes);
            // The lowest of them takes all that is longer.
            while level > lowest {
                let above = PRIORITIES.saturating_sub(level) as u64;
                if u128::from(sum) * u128::from(for_unscheduled)
                    < u128::from(total) * u128::from(above)
                {
                    break;
                }
                if let Some(slot) = longest.get_mut(level) {
                    *slot = longest_in(index);
                }
                level -= 1;
            }
        }
        self.age();
        let scheduled_levels = lowest as u8;
        let changed = scheduled_levels != self.scheduled_levels || self.differs(&longest);
        // Each change costs a packet to each peer.
        if !changed && self.cutoffs.version != 0 {
            return false;
        }
        let version = self.next_version.max(1);
        self.next_version = version.wrapping_add(1);
        self.cutoffs = Cutoffs { version, longest };
        self.scheduled_levels = scheduled_levels;
        true
    }

    /// Is any cutoff away from what was told by more than a quarter of it?
    fn differs(&self, longest: &[u32; PRIORITIES]) -> bool {
        self.cutoffs
            .longest
            .iter()
            .zip(longest)
            .any(|(old, new)| bucket(*old).abs_diff(bucket(*new)) > 2)
    }

    fn age(&mut self) {
        for bytes in &mut self.unscheduled {
            *bytes = bytes.saturating_sub(*bytes / 8);
        }
        self.scheduled = self.scheduled.saturating_sub(self.scheduled / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_all_lengths_in_order() {
        let mut last = 0;
        for length in (1..100_000).chain((100_000..1_078_272).step_by(997)) {
            let index = bucket(length);
            assert!(index >= last);
            last = index;
            assert!(length <= longest_in(index), "{length} in {index} up to {}", longest_in(index));
            if longest_in(index) > 1 {
                assert_eq!(bucket(longest_in(index)), index, "{length}");
                assert!(bucket(longest_in(index) + 1) > index);
            }
        }
        assert!(last < BUCKETS);
    }

    #[test]
    fn levels_carry_equally_many_bytes() {
        // All is unscheduled: as many bytes of messages of each length from 1 to 1000.
        let mut learner = Learner::new(7);
        let mut bytes = [0u64; PRIORITIES];
        let mut seed = 1u64;
        for round in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let length = 1 + (seed >> 33) as u32 % 1000;
            learner.message(length, 10_000);
            if round >= 10_000 {
                bytes[usize::from(learner.cutoffs().level(length))] += u64::from(length);
            }
        }
        assert_eq!(learner.scheduled_levels(), 1);
        assert_eq!(bytes[0], 0);
        let whole: u64 = bytes.iter().sum();
        for level in &bytes[1..] {
            // Buckets are coarse, and small changes are not told.
            assert!((whole / 14..=whole / 3).contains(level), "{bytes:?}");
        }
        // It settled.
        assert!((7..=16).contains(&learner.cutoffs().version), "{:?}", learner.cutoffs());
        // The shorter, the higher.
        let cutoffs = learner.cutoffs();
        assert!(cutoffs.longest.windows(2).all(|pair| pair[0] >= pair[1]));
        assert_eq!((cutoffs.level(1), cutoffs.level(1_000_000)), (7, 1));
    }

    #[test]
    fn long_messages_leave_few_levels_to_unscheduled_bytes() {
        let mut learner = Learner::new(1);
        for _ in 0..FIRST_ROUND {
            learner.message(1_000_000, 10_000);
        }
        assert_eq!(learner.scheduled_levels(), 5);
        assert_eq!((learner.cutoffs().level(1), learner.cutoffs().level(1_000_000)), (7, 7));
        // And short ones get them back.
        for _ in 0..100_000 {
            learner.message(1000, 10_000);
        }
        assert_eq!(learner.scheduled_levels(), 1);
    }

    #[test]
    fn peers_are_told_once_in_a_while_until_they_know() {
        let ours = Cutoffs { version: 3, ..Cutoffs::UNKNOWN };
        let mut peer = PeerCutoffs::new();
        assert!(!peer.is_due(0, 0, &Cutoffs::UNKNOWN, 10));
        assert!(peer.is_due(0, 0, &ours, 10));
        assert!(!peer.is_due(9, 0, &ours, 10));
        assert!(peer.is_due(10, 2, &ours, 10));
        assert!(!peer.is_due(30, 3, &ours, 10));
        // Others are told at once.
        let ours = Cutoffs { version: 4, ..ours };
        assert!(peer.is_due(11, 3, &ours, 10));
        assert_eq!(peer.theirs().level(500), 6);
        peer.learn([ANY, ANY, ANY, ANY, 9000, 4000, 1000, 200], 1);
        let levels = [1, 200, 201, 1000, 4001, 9001].map(|length| peer.theirs().level(length));
        assert_eq!(levels, [7, 7, 6, 6, 4, 3]);
        // Whatever it says, there is a level.
        peer.learn([0; 8], 2);
        assert_eq!(peer.theirs().level(5), 0);
    }
}
