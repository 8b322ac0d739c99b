// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An outgoing message: how much of it was sent, how much may be.
//!
//! Offsets are stream offsets, as in [`super::msgin`]. The caller keeps the bytes, cut into
//! segments; it sends whole segments, so `sent` may run past `granted` by part of a segment,
//! which DATA's `incoming` field tells the receiver.

use super::msgin::Range;

/// The progress of one outgoing message.
///
/// # Invariants
///
/// `sent <= length`; `granted <= length`.
#[derive(Debug)]
pub struct MsgOut {
    length: u32,
    unscheduled: u32,
    granted: u32,
    sent: u32,
}

impl MsgOut {
    /// A message of `length` bytes, of which `unscheduled` need no grant.
    pub fn new(length: u32, unscheduled: u32) -> Self {
        let unscheduled = unscheduled.min(length);
        Self { length, unscheduled, granted: unscheduled, sent: 0 }
    }

    /// Length of the whole message.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Everything below was sent at least once.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// Everything below may be sent.
    pub fn granted(&self) -> u32 {
        self.granted
    }

    /// May something be sent that was not?
    pub fn can_send(&self) -> bool {
        self.sent < self.granted
    }

    /// Everything was sent at least once.
    pub fn is_sent(&self) -> bool {
        self.sent >= self.length
    }

    /// The receiver grants everything below `offset`; an old grant changes nothing.
    pub fn grant(&mut self, offset: u32) {
        self.granted = self.granted.max(offset.min(self.length));
    }

    /// Everything below `offset` is being sent.
    pub fn advance(&mut self, offset: u32) {
        self.sent = self.sent.max(offset.min(self.length));
    }

    /// The receiver lost everything: begins anew.
    pub fn restart(&mut self) {
        self.sent = 0;
        self.granted = self.unscheduled;
    }

    /// The part of a RESEND for `offset .. offset + len` (`u32::MAX`: everything sent) that was
    /// sent and so must be sent again.
    ///
    /// To ask for bytes is to grant them: the receiver's GRANT may have been lost.
    pub fn resend(&mut self, offset: u32, len: u32) -> Option<Range> {
        if len == u32::MAX {
            return Range { start: 0, end: self.sent }
                .intersect(&Range { start: offset, end: u32::MAX });
        }
        let end = offset.saturating_add(len).min(self.length);
        self.grant(end);
        Range { start: offset, end }.intersect(&Range { start: 0, end: self.sent })
    }
}
