// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An incoming message: which of its bytes are here.
//!
//! Packets name the place of their payload, and may come in any order, twice, or cut
//! differently than the first time. [`MsgIn`] keeps the set of bytes received as a length and
//! a short sorted list of gaps; the bytes themselves stay with the caller. Offsets are *stream
//! offsets*: positions in the message as it is sent (for a sealed message, its sealed bytes).

use super::config::Config;
use super::mem::Vec;

/// Bytes `start .. end` of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Range {
    /// The part that `self` and `other` share, if any.
    pub fn intersect(&self, other: &Range) -> Option<Range> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Range { start, end })
    }

    /// Number of bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u32 {
        self.end.saturating_sub(self.start)
    }
}

/// What became of a packet's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// This part of it is new and now counts as received. What a packet holds beyond it is
    /// here already, or will be asked for again.
    New(Range),
    /// All of it is here already.
    Duplicate,
    /// It is outside the message, or leaves more gaps than a message may have.
    Refused,
}

/// Most gaps a message may have: a packet that would open one more is dropped.
pub const MAX_GAPS: usize = 128;

/// The received part of one message.
///
/// # Invariants
///
/// `gaps` is sorted, its ranges are not empty, do not touch and end below `end`;
/// `received` = `end` less the gaps; `end <= length`.
#[derive(Debug)]
pub struct MsgIn {
    length: u32,
    received: u32,
    end: u32,
    granted: u32,
    /// So far its sender says that it sends.
    announced: u32,
    gaps: Vec<Range>,
}

impl MsgIn {
    /// A message of `length` bytes of which nothing is here; its sender said it will send
    /// `incoming` of them unasked.
    pub fn new(length: u32, incoming: u32) -> Self {
        let announced = incoming.min(length);
        Self { length, received: 0, end: 0, granted: announced, announced, gaps: Vec::new() }
    }

    /// Length of the whole message.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Bytes that are here.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// One past the last byte that is here.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Bytes not yet here.
    pub fn remaining(&self) -> u32 {
        self.length.saturating_sub(self.received)
    }

    /// Is every byte here?
    pub fn is_complete(&self) -> bool {
        self.received == self.length
    }

    /// Bytes the sender may send.
    pub fn granted(&self) -> u32 {
        self.granted
    }

    /// Number of gaps, and the bytes in them.
    pub fn gaps(&self) -> (u32, u32) {
        let bytes = self.gaps.iter().fold(0u32, |n, g| n.saturating_add(g.len()));
        (self.gaps.len() as u32, bytes)
    }

    /// The sender says it sends up to `incoming` without further grants.
    pub fn note_incoming(&mut self, incoming: u32) {
        self.announced = self.announced.max(incoming.min(self.length));
        self.granted = self.granted.max(self.announced);
    }

    /// May the sender send more than it has said that it will?
    pub fn is_grant_unconfirmed(&self) -> bool {
        self.granted > self.announced
    }

    /// Takes the payload `offset .. offset + len` of a packet.
    pub fn accept(&mut self, offset: u32, len: u32) -> Accept {
        let Some(end) = offset.checked_add(len) else {
            return Accept::Refused;
        };
        if len == 0 || end > self.length {
            return Accept::Refused;
        }
        if offset >= self.end {
            if offset > self.end {
                let gap = Range { start: self.end, end: offset };
                if self.gaps.len() >= MAX_GAPS || self.gaps.push(gap).is_err() {
                    return Accept::Refused;
                }
            }
            self.reach(end);
            self.received = self.received.saturating_add(len);
            return Accept::New(Range { start: offset, end });
        }
        self.fill(Range { start: offset, end })
    }

    /// The part of `packet` (which starts below `self.end`) that is new.
    fn fill(&mut self, packet: Range) -> Accept {
        let hit = self
            .gaps
            .iter()
            .enumerate()
            .find_map(|(i, gap)| packet.intersect(gap).map(|part| (i, *gap, part)));
        if let Some((i, gap, part)) = hit {
            let before = Range { start: gap.start, end: part.start };
            let after = Range { start: part.end, end: gap.end };
            match (before.len() > 0, after.len() > 0) {
                (false, false) => {
                    self.gaps.remove(i);
                }
                (true, true) => {
                    if self.gaps.len() >= MAX_GAPS || self.gaps.insert(i + 1, after).is_err() {
                        return Accept::Refused;
                    }
                    self.set_gap(i, before);
                }
                (true, false) => self.set_gap(i, before),
                (false, true) => self.set_gap(i, after),
            }
            self.received = self.received.saturating_add(part.len());
            return Accept::New(part);
        }
        if packet.end > self.end {
            let part = Range { start: self.end, end: packet.end };
            self.reach(packet.end);
            self.received = self.received.saturating_add(part.len());
            return Accept::New(part);
        }
        Accept::Duplicate
    }

    /// Bytes up to `end` came; so the sender may send them, whatever we knew.
    fn reach(&mut self, end: u32) {
        self.end = end;
        self.granted = self.granted.max(end);
    }

    fn set_gap(&mut self, i: usize, range: Range) {
        if let Some(gap) = self.gaps.get_mut(i) {
            *gap = range;
        }
    }

    /// Is every byte of `range` here?
    pub fn has(&self, range: Range) -> bool {
        range.end <= self.end && !self.gaps.iter().any(|g| g.intersect(&range).is_some())
    }

    /// Forgets `range`, all of which is here: it turned out to be false and is asked for again.
    ///
    /// Returns false, with nothing forgotten, if there is no memory to remember the gap.
    pub fn forget(&mut self, range: Range) -> bool {
        if !self.has(range) || range.len() == 0 {
            return false;
        }
        // The ranges touching it on either side merge with it.
        let at = self.gaps.iter().take_while(|g| g.end < range.start).count();
        let mut merged = range;
        if let Some(left) = self.gaps.get(at).filter(|g| g.end == range.start) {
            merged.start = left.start;
            self.gaps.remove(at);
        }
        if let Some(right) = self.gaps.get(at).filter(|g| g.start == range.end) {
            merged.end = right.end;
            self.gaps.remove(at);
        }
        if merged.end == self.end {
            self.end = merged.start;
        } else if self.gaps.insert(at, merged).is_err() {
            // A removal above left room, so this is the case that nothing was merged.
            return false;
        }
        self.received = self.received.saturating_sub(range.len());
        true
    }

    /// The first bytes that should be here (the sender may have sent them) and are not.
    pub fn missing(&self) -> Option<Range> {
        self.missing_in(Range { start: 0, end: self.granted })
    }

    /// The first bytes of `range` that should be here and are not.
    pub fn missing_in(&self, range: Range) -> Option<Range> {
        // Sorted: the first gap that ends behind the start is the first that can have part of it.
        let at = self.gaps.partition_point(|gap| gap.end <= range.start);
        if let Some(part) = self.gaps.get(at).and_then(|gap| gap.intersect(&range)) {
            return Some(part);
        }
        range.intersect(&Range { start: self.end, end: self.granted })
    }

    /// Everything below `offset` is granted now.
    pub fn grant(&mut self, offset: u32) {
        self.granted = self.granted.max(offset.min(self.length));
    }

    /// The next grant to send, if one is due: everything below the returned offset.
    ///
    /// A grant keeps the sender `grant_window` ahead of what is here, and is due when it has
    /// used up half of that.
    pub fn poll_grant(&mut self, config: &Config) -> Option<u32> {
        if self.granted >= self.length {
            return None;
        }
        let ahead = self.granted.saturating_sub(self.received);
        if ahead > config.grant_window / 2 {
            return None;
        }
        let to = self.received.saturating_add(config.grant_window).min(self.length);
        if to <= self.granted {
            return None;
        }
        self.granted = to;
        Some(to)
    }
}
