// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An outgoing message: how much of it was sent, how much may be.
//!
//! Offsets are stream offsets, as in [`super::msgin`]. The caller keeps the bytes, cut into
//! segments; it sends whole segments, so `sent` may run past `granted` by part of a segment,
//! which DATA's `incoming` field tells the receiver.

use super::msgin::Range;

/// Bytes that are sent first when all was lost: about a packet.
pub const PROBE: u32 = 1400;

/// The progress of one outgoing message.
///
/// # Invariants
///
/// `sent <= length`; `granted <= length`.
#[derive(Debug)]
pub struct MsgOut {
    length: u32,
    /// What is sent first when all was lost.
    probe: u32,
    granted: u32,
    sent: u32,
    priority: Option<u8>,
}

impl MsgOut {
    /// A message of `length` bytes, of which `unscheduled` need no grant.
    pub fn new(length: u32, unscheduled: u32) -> Self {
        let granted = unscheduled.min(length);
        Self { length, probe: PROBE, granted, sent: 0, priority: None }
    }

    /// When all was lost, `bytes` are sent first: of a sealed message its first record, without which
    /// nothing can be authenticated. (At first: [`PROBE`].)
    pub fn set_probe(&mut self, bytes: u32) {
        self.probe = bytes.max(1);
    }

    /// What the header of a packet that ends at `end` says in `incoming`: the receiver need not grant what is
    /// below.
    pub fn incoming(&self, end: u32) -> u32 {
        self.granted.max(self.sent).max(end.min(self.length))
    }

    /// The priority that the receiver's newest grant gave; `None` before the first.
    pub fn priority(&self) -> Option<u8> {
        self.priority
    }

    /// Bytes that were never sent.
    pub fn unsent(&self) -> u32 {
        self.length.saturating_sub(self.sent)
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

    /// The same, and `priority` is for what is sent from now on. (Grants are not ordered: the furthest counts.)
    pub fn grant_at(&mut self, offset: u32, priority: u8) {
        if offset >= self.granted || self.priority.is_none() {
            self.priority = Some(priority);
        }
        self.grant(offset);
    }

    /// Everything below `offset` is being sent.
    pub fn advance(&mut self, offset: u32) {
        self.sent = self.sent.max(offset.min(self.length));
    }

    /// The receiver has nothing of it: begins anew, with little. What is returned is to be sent again; it
    /// tells the receiver that the rest needs grants, so that nothing more goes out blindly.
    pub fn restart(&mut self) -> Range {
        if self.sent == 0 {
            // Nothing of it was lost: it waits for its turn here.
            return Range { start: 0, end: 0 };
        }
        let probe = self.probe.min(self.sent);
        self.sent = probe;
        self.granted = probe;
        Range { start: 0, end: probe }
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
