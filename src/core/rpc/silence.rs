// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What silence means: when to ask the peer, what for, and when to give up.

use super::super::config::Config;
use super::super::msgin::{MsgIn, Range};
use super::super::peer::Pulse;
use super::super::wire::MAX_RECORD;
use super::{Action, Control, Failure, Phase, Role, Rpc};

/// Where the first record of a sealed message is, however large it is.
const FIRST_RECORD: Range = Range { start: 0, end: MAX_RECORD as u32 + 29 };

/// So often must nothing have come of asking (or of waiting for the client to ask) before a peer counts as gone: time alone
/// may have passed here only, as when this machine stood still.
const ENOUGH: u8 = 3;

impl Rpc {
    /// The peer is known to take longer to answer than [`Config::resend_first`], or less long: so much is
    /// waited for an answer.
    pub fn set_patience(&mut self, now: u64, patience: u64) {
        self.first = patience;
        self.pause = patience;
        self.ask_at = now.saturating_add(patience);
    }

    /// Bytes that should come are waited for so long, once the incoming message began; those that others
    /// overtook, for as long as `reordering`.
    pub fn set_rto(&mut self, now: u64, rto: u64, reordering: u64) {
        self.rto = rto;
        self.reordering = reordering;
        if self.phase == Phase::Receiving {
            self.pause = rto;
            self.ask_at = now.saturating_add(rto);
        }
    }

    /// The peer gave a sign of life, or a new wait begins: the clock of silence restarts.
    pub(super) fn hear(&mut self, now: u64) {
        self.heard = now;
        self.vain = 0;
        self.pause = if self.phase == Phase::Receiving { self.rto } else { self.first };
        self.ask_at = now.saturating_add(self.pause);
    }

    /// The peer is alive, but does not say that it has nothing for us: the time-out restarts, and our question comes when it
    /// is due.
    pub(super) fn hear_question(&mut self, now: u64) {
        self.heard = now;
        self.vain = 0;
    }

    /// The peer is alive but brought nothing: the time-out restarts, the questions stay rare.
    pub(super) fn hear_alive(&mut self, now: u64) {
        self.hear_question(now);
        self.ask_at = self.ask_at.max(now.saturating_add(self.pause));
    }

    /// New bytes of the incoming message were kept.
    pub(super) fn note_arrival(&mut self, now: u64, config: &Config, payload: Range, again: bool) {
        if let Some((offset, at)) = self.timed {
            if payload.start >= offset {
                self.timed = None;
                // What was sent again says nothing: it may answer another question.
                self.round_trip = (!again).then(|| now.saturating_sub(at));
            }
        }
        let (Some(msgin), true) = (self.msgin.as_ref(), self.proven) else {
            // Forged packets with gaps would make us ask: the timer does.
            return;
        };
        if again {
            self.news.lost = self.news.lost.saturating_add(payload.len());
        }
        if ::core::mem::take(&mut self.asked) && self.role == Role::Client && again {
            // The start of the response was asked for and came again: so all of it was lost.
            self.recovery.began(msgin, config.probe);
        }
        if let Some(late) = self.recovery.arrived(now, msgin, payload.start, again) {
            // For the rest of this message, too; but what comes as late as this is asked for anyway.
            self.reordering = self.reordering.max(late.min(self.rto));
            self.news.overtaken = self.news.overtaken.max(late);
        }
    }

    /// What to ask for now because it was overtaken and did not come, or because what was asked for first came: to be
    /// called after each packet until there is nothing.
    pub fn poll_resend(&mut self, now: u64) -> Option<Control> {
        if self.phase != Phase::Receiving || !self.proven {
            return None;
        }
        let msgin = self.msgin.as_ref()?;
        if ::core::mem::take(&mut self.regrant) {
            return Some(Control::Grant(msgin.granted()));
        }
        self.recovery.check(now, msgin, self.reordering, self.rto);
        let range = self.recovery.poll(msgin)?;
        self.undisturbed = false;
        Some(Control::Resend(range))
    }

    /// What to ask the peer for when it has been silent.
    pub(super) fn question(&mut self, now: u64, config: &Config) -> Option<Control> {
        self.asked = true;
        let Some(msgin) = self.msgin.as_ref() else {
            // Nothing came. If all of it was lost then a little of it tells that, too.
            return Some(Control::Resend(Range { start: 0, end: config.probe.max(1) }));
        };
        if !self.proven {
            // Perhaps a forger told how long the message is and which part of it is here: the
            // first record decides, so all of that.
            return Some(Control::Resend(FIRST_RECORD));
        }
        self.recovery.timed_out(now, msgin, config.probe);
        match self.recovery.poll(msgin) {
            Some(range) => {
                self.stalled = self.token.is_some();
                // If nothing behind it came, the sender may not know that it may send this; ours takes the question for a
                // grant, HomaModule's does not.
                self.regrant = range.start >= msgin.end() && msgin.is_grant_unconfirmed();
                // Nothing else would tell, if all that is sent again is lost, too.
                self.news.lost = self.news.lost.saturating_add(range.len());
                Some(Control::Resend(range))
            }
            // All that was granted is here: the grant was lost.
            None => Some(Control::Grant(msgin.granted())),
        }
    }

    /// Does time matter to this RPC at all?
    ///
    /// A server's program may take as long as it likes, a delivered message waits for its reader, and a
    /// message whose granted bytes are all here waits for our own grants.
    fn is_waiting(&self) -> bool {
        match self.phase {
            Phase::Sending | Phase::Replying => true,
            Phase::Receiving => {
                let ours = self.token.is_some()
                    && self.msgin.as_ref().is_some_and(|m| m.missing().is_none());
                !ours && !self.is_deliverable()
            }
            Phase::InService | Phase::Done => false,
        }
    }

    /// When [`poll_timer`](Self::poll_timer) next has something to do.
    pub fn deadline(&self) -> Option<u64> {
        if !self.is_waiting() {
            return None;
        }
        let gaps = match self.phase {
            Phase::Receiving if self.proven => self.recovery.deadline(self.reordering),
            _ => None,
        };
        Some(gaps.map_or(self.ask_at, |at| at.min(self.ask_at)))
    }

    /// Time passed; all that is known of the peer is known to this RPC.
    pub fn poll_timer(&mut self, now: u64, config: &Config) -> Action {
        self.poll_timer_of(now, config, &mut Pulse::new())
    }

    /// Time passed. `peer` is what all RPCs with this peer have heard and asked together.
    ///
    /// Afterwards: [`poll_resend`](Self::poll_resend), and [`take_stalled`](Self::take_stalled).
    pub fn poll_timer_of(&mut self, now: u64, config: &Config, peer: &mut Pulse) -> Action {
        if !self.is_waiting() {
            return Action::None;
        }
        if now < self.ask_at {
            return self.poll_resend(now).map_or(Action::None, Action::Send);
        }
        if self.out.as_ref().is_some_and(|out| out.sent() == 0 && out.length() > 0) {
            // The peer knows of nothing: what is to be sent waits for its turn at our device.
            self.hear(now);
            return Action::None;
        }
        let silent = now.saturating_sub(self.heard);
        let peer_silent = now.saturating_sub(peer.last_heard());
        let gone = silent >= config.timeout
            && (peer_silent >= config.timeout || silent >= config.rpc_timeout)
            && (self.vain >= ENOUGH || peer.silent_intervals() >= ENOUGH);
        // Both ends may hear each other and yet wait for ever, if one of them was born anew.
        let stuck = self.phase == Phase::Receiving
            && now.saturating_sub(self.progressed) >= config.rpc_timeout;
        if gone || stuck {
            self.phase = Phase::Done;
            return match self.role {
                Role::Client => Action::Fail(Failure::TimedOut),
                Role::Server => Action::Free,
            };
        }
        let driven = self.phase == Phase::Replying && self.is_client_driving();
        if driven && peer_silent < config.timeout / 2 && silent < config.rpc_timeout / 2 {
            // It may have better to do than to grant this. Half-way to the end it is asked whether it lives.
            self.back_off(now, config);
            return Action::None;
        }
        if let Err(at) = peer.ask(now, config) {
            self.ask_at = at;
            return Action::None;
        }
        self.undisturbed = false;
        self.back_off(now, config);
        if self.phase == Phase::Replying {
            return Action::Send(Control::NeedAck);
        }
        self.question(now, config).map_or(Action::None, Action::Send)
    }

    /// The client knows of the response, as it grants, and asks for what it misses of it. (Before, it may not ask for
    /// long, if it was told that we are busy.)
    fn is_client_driving(&self) -> bool {
        self.out.as_ref().is_some_and(|out| !out.is_sent() && out.priority().is_some())
    }

    fn back_off(&mut self, now: u64, config: &Config) {
        self.vain = self.vain.saturating_add(1);
        self.pause = self.pause.saturating_mul(2).min(config.resend_max);
        self.ask_at = now.saturating_add(self.pause);
    }

    /// Has anything of the incoming message that should be here not come?
    pub fn is_missing_bytes(&self) -> bool {
        self.msgin.as_ref().and_then(MsgIn::missing).is_some()
    }
}
