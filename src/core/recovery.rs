// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which missing bytes of an incoming message to ask for, and when.
//!
//! Two things tell that bytes were lost. Something after them came, and they still did not, a little later
//! (packets overtake each other: the *reordering time* allows for that, as RACK does, RFC 8985): then all gaps
//! are asked for at once. Or nothing comes any more although there should: then all that is missing may be lost, and
//! the network may be overloaded. So first only a little is asked for, the *probe*; when that came, twice as much, and
//! so on: a sender sends again as fast as its packets get through, never all at once. If what comes was not sent
//! again but late, there is nothing to recover, and asking stops.
//!
//! What was asked for and did not come is asked for again after a time-out, which doubles.

use super::msgin::{MsgIn, Range};

/// RESENDs that are sent at once for gaps.
const MAX_ASKS: u8 = 8;

/// Pauses between questions for the same gaps double so often at most.
const MAX_SHIFT: u8 = 5;

/// Gaps that were noticed and not asked for.
#[derive(Clone, Copy, Debug)]
struct Noticed {
    since: u64,
    /// The end of what was here then: gaps below are due when the reordering time is over.
    below: u32,
}

/// After silence: what is missing below `to` is asked for piece by piece.
#[derive(Clone, Copy, Debug)]
struct Round {
    to: u32,
    /// The piece that was asked for ends here.
    piece_end: u32,
    /// Its size.
    piece: u32,
}

/// What of one incoming message was asked for.
#[derive(Debug, Default)]
pub struct Recovery {
    /// All gaps below were asked for, at `asked_at`.
    asked_to: u32,
    asked_at: u64,
    /// Of these, all below had been overtaken, the last at this time.
    overtaken_to: u32,
    overtaken_at: u64,
    /// How often what is below `asked_to` was asked for again.
    repeats: u8,
    noticed: Option<Noticed>,
    round: Option<Round>,
    /// What is being asked for right now: missing bytes in here, in so many questions.
    due: (u32, u32),
    questions: u8,
}

impl Recovery {
    /// Nothing was asked for.
    pub const fn new() -> Self {
        Self {
            asked_to: 0,
            asked_at: 0,
            overtaken_to: 0,
            overtaken_at: 0,
            repeats: 0,
            noticed: None,
            round: None,
            due: (0, 0),
            questions: 0,
        }
    }

    fn ask(&mut self, start: u32, end: u32) {
        self.due = (start, end);
        self.questions = MAX_ASKS;
    }

    /// New bytes of the message came, from `start` on; `again` if their sender sent them again. If they had been asked for and
    /// were only late: how long ago they were overtaken, at least.
    pub fn arrived(&mut self, now: u64, msgin: &MsgIn, start: u32, again: bool) -> Option<u64> {
        let late = !again && start < self.overtaken_to;
        let above = Range { start: self.asked_to, end: msgin.end() };
        if msgin.missing_in(above).is_none() {
            // What overtook the others was not ahead of a loss.
            self.noticed = None;
        } else if self.noticed.is_none() {
            self.noticed = Some(Noticed { since: now, below: msgin.end() });
        }
        if let Some(round) = self.round {
            self.go_on(now, msgin, round, again);
        }
        late.then(|| now.saturating_sub(self.overtaken_at))
    }

    fn go_on(&mut self, now: u64, msgin: &MsgIn, round: Round, again: bool) {
        let next = msgin.missing_in(Range { start: 0, end: round.to });
        let Some(next) = next.filter(|_| again) else {
            // All is here, or it was only late.
            self.round = None;
            return;
        };
        if next.start < round.piece_end {
            return;
        }
        let piece = round.piece.saturating_mul(2);
        let piece_end = next.start.saturating_add(piece).min(round.to);
        self.round = Some(Round { piece, piece_end, ..round });
        self.asked_at = now;
        self.ask(next.start, piece_end);
    }

    /// Nothing came for too long, though it should have: asks for `probe` bytes of what is missing.
    pub fn timed_out(&mut self, now: u64, msgin: &MsgIn, probe: u32) {
        let Some(next) = msgin.missing_in(Range { start: 0, end: msgin.granted() }) else {
            self.round = None;
            return;
        };
        let piece_end = next.start.saturating_add(probe.max(1)).min(msgin.granted());
        self.round = Some(Round { to: msgin.granted(), piece_end, piece: probe.max(1) });
        self.noticed = None;
        // Gaps are part of the round.
        self.asked_to = msgin.end();
        self.overtaken_to = 0;
        self.asked_at = now;
        self.ask(next.start, piece_end);
    }

    /// The message began with what was asked for, its first `probe` bytes: the rest that its sender may send was
    /// lost, too.
    pub fn began(&mut self, msgin: &MsgIn, probe: u32) {
        let probe = probe.max(1);
        self.round = Some(Round { to: msgin.granted(), piece_end: probe, piece: probe });
    }

    /// When [`check`](Self::check) will have something to ask for.
    pub fn deadline(&self, reordering: u64) -> Option<u64> {
        self.noticed.map(|noticed| noticed.since.saturating_add(reordering))
    }

    /// Time passed, or something came: are gaps due? `timeout` is how long to wait for what was asked for.
    pub fn check(&mut self, now: u64, msgin: &MsgIn, reordering: u64, timeout: u64) {
        if let Some(noticed) = self.noticed {
            if now.saturating_sub(noticed.since) >= reordering {
                self.ask(self.asked_to, noticed.below);
                self.asked_to = noticed.below;
                self.overtaken_to = noticed.below;
                self.overtaken_at = noticed.since;
                self.asked_at = now;
                self.repeats = 0;
                self.noticed = None;
                let above = Range { start: self.asked_to, end: msgin.end() };
                if msgin.missing_in(above).is_some() {
                    self.noticed = Some(Noticed { since: now, below: msgin.end() });
                }
                return;
            }
        }
        // While other bytes come, nobody notices that what was asked for is lost again.
        let timeout = timeout.saturating_mul(1 << self.repeats.min(MAX_SHIFT));
        let asked = Range { start: 0, end: self.asked_to };
        if self.round.is_none()
            && self.questions == 0
            && now.saturating_sub(self.asked_at) >= timeout
            && msgin.missing_in(asked).is_some()
        {
            self.ask(0, self.asked_to);
            self.asked_at = now;
            self.repeats = self.repeats.saturating_add(1).min(MAX_SHIFT);
        }
    }

    /// The next range to ask for now; to be called until there is none.
    pub fn poll(&mut self, msgin: &MsgIn) -> Option<Range> {
        let (start, end) = self.due;
        let left = self.questions.checked_sub(1)?;
        let Some(missing) = msgin.missing_in(Range { start, end }) else {
            self.questions = 0;
            return None;
        };
        self.questions = left;
        if left == 0 && self.round.is_none() {
            // Those that are left are asked for as if noticed now.
            self.asked_to = self.asked_to.min(missing.end);
        }
        self.due.0 = missing.end;
        Some(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec as StdVec;

    const fn range(start: u32, end: u32) -> Range {
        Range { start, end }
    }

    fn all(recovery: &mut Recovery, msgin: &MsgIn) -> StdVec<Range> {
        std::iter::from_fn(|| recovery.poll(msgin)).collect()
    }

    /// A message of 100,000 bytes, all of which may come, with packets of 1000 bytes.
    struct World {
        recovery: Recovery,
        msgin: MsgIn,
    }

    impl World {
        fn new() -> Self {
            Self { recovery: Recovery::new(), msgin: MsgIn::new(100_000, 100_000) }
        }

        fn packet(&mut self, now: u64, thousand: u32, again: bool) -> StdVec<Range> {
            self.msgin.accept(thousand * 1000, 1000);
            self.recovery.arrived(now, &self.msgin, thousand * 1000, again);
            self.recovery.check(now, &self.msgin, 10, 100);
            all(&mut self.recovery, &self.msgin)
        }
    }

    #[test]
    fn gaps_are_asked_for_together_when_they_lasted() {
        let mut w = World::new();
        for (now, packet) in [(0, 0), (1, 2), (2, 3), (3, 5), (4, 7)] {
            assert_eq!(w.packet(now, packet, false), []);
        }
        assert_eq!(w.recovery.deadline(10), Some(11));
        // The first was noticed at 1; those that came later have time.
        assert_eq!(w.packet(11, 8, false), [range(1000, 2000)]);
        assert_eq!(w.packet(20, 9, false), []);
        assert_eq!(w.packet(21, 11, false), [range(4000, 5000), range(6000, 7000)]);
        // They do not come: again, but not soon.
        assert_eq!(w.packet(31, 12, false), [range(10_000, 11_000)]);
        assert_eq!(w.packet(130, 13, false), []);
        let all = [range(1000, 2000), range(4000, 5000), range(6000, 7000), range(10_000, 11_000)];
        assert_eq!(w.packet(131, 14, false), all);
        assert_eq!(w.packet(330, 15, false), []);
        assert_eq!(w.packet(331, 16, false), all);
    }

    #[test]
    fn reordering_is_no_loss() {
        let mut w = World::new();
        assert_eq!(w.packet(0, 1, false), []);
        assert_eq!(w.packet(5, 0, false), []);
        assert_eq!(w.recovery.deadline(10), None);
        assert_eq!(w.packet(50, 2, false), []);
    }

    #[test]
    fn what_was_taken_for_lost_and_was_late_is_told() {
        let mut w = World::new();
        assert_eq!(w.packet(0, 2, false), []);
        assert_eq!(w.packet(10, 3, false), [range(0, 2000)]);
        w.msgin.accept(0, 1000);
        assert_eq!(w.recovery.arrived(15, &w.msgin, 0, false), Some(15));
        w.msgin.accept(1000, 1000);
        assert_eq!(w.recovery.arrived(30, &w.msgin, 1000, true), None);
        w.msgin.accept(4000, 1000);
        assert_eq!(w.recovery.arrived(31, &w.msgin, 4000, false), None);
    }

    #[test]
    fn many_gaps_are_asked_for_in_portions() {
        let mut w = World::new();
        for n in 0..20 {
            assert_eq!(w.packet(0, 2 * n + 1, false), []);
        }
        let mut asked = w.packet(10, 40, false);
        assert_eq!((asked.len(), asked[0]), (1, range(0, 1000)));
        asked.extend(w.packet(20, 41, false));
        assert_eq!(asked.len(), 9);
        for now in (30..80).step_by(10) {
            asked.extend(w.packet(now, 39 + now as u32 / 10, false));
        }
        let expected: StdVec<_> = (0..20).map(|n| range(2000 * n, 2000 * n + 1000)).collect();
        assert_eq!(asked, expected);
    }

    #[test]
    fn after_silence_little_is_asked_for_and_then_more() {
        let mut w = World::new();
        assert_eq!(w.packet(0, 0, false), []);
        w.recovery.timed_out(100, &w.msgin, 1000);
        assert_eq!(all(&mut w.recovery, &w.msgin), [range(1000, 2000)]);
        assert_eq!(w.packet(200, 1, true), [range(2000, 4000)]);
        assert_eq!(w.packet(300, 2, true), []);
        assert_eq!(w.packet(300, 3, true), [range(4000, 8000)]);
        // Silence again: from the start.
        w.recovery.timed_out(900, &w.msgin, 1000);
        assert_eq!(all(&mut w.recovery, &w.msgin), [range(4000, 5000)]);
    }

    #[test]
    fn what_was_only_late_is_not_asked_for() {
        let mut w = World::new();
        w.recovery.timed_out(100, &w.msgin, 1000);
        assert_eq!(all(&mut w.recovery, &w.msgin), [range(0, 1000)]);
        assert_eq!(w.packet(101, 0, false), []);
        assert_eq!(w.packet(102, 1, true), []);
    }
}
