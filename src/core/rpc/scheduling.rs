// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The incoming message and the host's grant scheduler.
//!
//! The scheduler has a lock of its own, so it is told of a message only when that may change something:
//! [`is_report_due`](Rpc::is_report_due) is cheap and mostly false, and always so for short messages.

use super::super::grant::{Grants, Progress};
use super::super::mem::AllocError;
use super::super::msgin::MsgIn;
use super::super::slab::Token;
use super::super::window::News;
use super::{Phase, Rpc};

impl Rpc {
    /// Does the scheduler have to hear of the incoming message now? (After each packet that was kept, of a sealed
    /// message after its records were opened; and after each timer, as there may have been no memory before.)
    #[inline]
    pub fn is_report_due(&self) -> bool {
        let Some(msgin) = self.msgin.as_ref() else {
            return false;
        };
        match self.token {
            // All that was granted may be less than a step, if there was no room for more.
            Some(_) => msgin.received() >= self.report_at.min(msgin.granted()),
            None => {
                // What may be forged gets no place.
                self.proven && self.phase == Phase::Receiving && msgin.granted() < msgin.length()
            }
        }
    }

    /// Tells the scheduler. `handle` is what it will name the message by, `peer` the host that it comes from.
    /// The caller then sends what [`Grants::poll`] says.
    ///
    /// # Errors
    ///
    /// There is no memory for one more message: it is tried again with the next packet or timer.
    pub fn report<H: Clone>(
        &mut self,
        grants: &mut Grants<H>,
        handle: impl FnOnce() -> H,
        peer: u64,
        window: u32,
    ) -> Result<(), AllocError> {
        let Some(msgin) = self.msgin.as_ref() else {
            return Ok(());
        };
        if msgin.is_complete() {
            self.leave(grants);
            return Ok(());
        }
        let progress = Progress { received: msgin.received(), granted: msgin.granted(), window };
        let token = match self.token {
            Some(token) => token,
            None => grants.add(handle(), peer, msgin.length(), progress)?,
        };
        self.token = Some(token);
        // A token that the scheduler does not know any more is not asked about again.
        let next = grants.progress(token, progress).unwrap_or(u32::MAX);
        // When all that was granted is here nothing more will come before the scheduler knows.
        self.report_at = next.min(msgin.granted().max(msgin.received().saturating_add(1)));
        Ok(())
    }

    /// The scheduler decided: everything below `offset` is granted. True if the GRANT is to be sent.
    pub fn grant(&mut self, now: u64, offset: u32) -> bool {
        if self.phase != Phase::Receiving {
            return false;
        }
        let was_missing = self.is_missing_bytes();
        let Some(msgin) = self.msgin.as_mut() else {
            return false;
        };
        let before = msgin.granted();
        msgin.grant(offset);
        let more = msgin.granted() > before;
        if more && self.timed.is_none() {
            self.timed = Some((before, now));
        }
        if more && !was_missing {
            // So far the peer waited for us; from now on it is the other way round.
            self.hear(now);
            self.progressed = now;
        }
        more
    }

    /// How long it took from a GRANT to what it let out, if that is known now: no less than a round trip of the
    /// network ([`Path::sample`](super::super::window::Path::sample)).
    pub fn take_round_trip(&mut self) -> Option<u64> {
        self.round_trip.take()
    }

    /// What the packets that came since this was asked last tell of the path ([`Path::learn`](super::super::window::Path::learn)): to be
    /// asked after each packet.
    #[inline]
    pub fn take_news(&mut self) -> Option<News> {
        self.news.is_some().then(|| ::core::mem::replace(&mut self.news, News::NONE))
    }

    /// How fast the incoming message comes, in bits per second, if that is known now ([`Path::carried_in`](super::super::window::Path::carried_in)):
    /// to be asked when a report is due.
    pub fn pace_in(&mut self, now: u64) -> Option<u64> {
        let received = self.msgin.as_ref()?.received();
        self.pace.at(now, received)
    }

    /// Bytes of the incoming message that arrived since this was asked last: to be asked when a report is due, and at the end.
    pub fn take_arrived(&mut self) -> u32 {
        let received = self.msgin.as_ref().map_or(0, MsgIn::received);
        received.saturating_sub(::core::mem::replace(&mut self.counted, received))
    }

    /// How fast the outgoing message is granted: to be asked after each GRANT.
    pub fn pace_out(&mut self, now: u64) -> Option<u64> {
        let granted = self.out.as_ref()?.granted();
        self.pace.at(now, granted)
    }

    /// Is the message with the scheduler?
    pub fn is_scheduled(&self) -> bool {
        self.token.is_some()
    }

    /// The message is complete, or given up: the scheduler forgets it.
    pub fn leave<H: Clone>(&mut self, grants: &mut Grants<H>) {
        if let Some(token) = self.token.take() {
            grants.remove(token);
        }
    }

    /// The scheduler is to be told that the sender is silent ([`Grants::stalled`]): once, after a timer.
    pub fn take_stalled(&mut self) -> Option<Token> {
        if ::core::mem::take(&mut self.stalled) {
            self.token
        } else {
            None
        }
    }
}
