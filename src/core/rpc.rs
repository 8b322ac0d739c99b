// SPDX-License-Identifier: GPL-2.0 OR MIT

//! One RPC, as its client or its server sees it.
//!
//! ```text
//!  client:  Sending --first byte of the response--> Receiving --all of it--> Done
//!  server:  Receiving --whole request--> InService --reply()--> Replying --acknowledged--> Done
//! ```
//!
//! [`Rpc`] decides what a packet or the passing of time means for the RPC and what to answer;
//! it sends nothing and holds no bytes. The caller looks the RPC up, hands packets in, sends
//! what it is told to send, and transmits whatever [`MsgOut`] permits afterwards.
//!
//! At-most-once rests on the server keeping an RPC in `Replying` until the client acknowledged
//! the response, so that a repeated request finds it. (In a session the replay window does the
//! same for as long as the session lives.)

use super::config::Config;
use super::msgin::{Accept, MsgIn, Range};
use super::msgout::MsgOut;
use super::wire::MAX_RECORD;

/// Which end of the RPC this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends the request.
    Client,
    /// It sends the response.
    Server,
}

/// How far the RPC has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Client: nothing of the response is here.
    Sending,
    /// The incoming message is arriving.
    Receiving,
    /// Server: the request is here, the program has not replied.
    InService,
    /// Server: the response is being sent, or waits for its acknowledgment.
    Replying,
    /// Nothing more will happen on the wire.
    Done,
}

/// Why an RPC ends without its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer was silent for [`Config::timeout`].
    TimedOut,
    /// The server knew the RPC, answered in part, and has forgotten it.
    Reset,
}

/// A control packet about this RPC that the caller is to send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// GRANT of everything below.
    Grant(u32),
    /// RESEND of a range.
    Resend(Range),
    /// RESEND of everything: nothing came.
    ResendAll,
    /// BUSY.
    Busy,
    /// NEED_ACK.
    NeedAck,
    /// ACK of this RPC.
    Ack,
}

/// What the caller is to do after a packet or a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing beyond sending what [`MsgOut`] permits.
    None,
    /// Send this.
    Send(Control),
    /// Send this part of the outgoing message again.
    Retransmit(Range),
    /// The RPC failed: tell the program, then drop it. (Client only.)
    Fail(Failure),
    /// The RPC is over: drop it.
    Free,
}

/// What became of a DATA packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Keep this part of it.
    Keep(Range),
    /// Nothing new; drop the packet.
    Duplicate,
    /// It contradicts the message or asks too much; drop and count it.
    Refused,
}

/// Where the first record of a sealed message is, however large it is.
const FIRST_RECORD: Range = Range { start: 0, end: MAX_RECORD as u32 + 29 };

/// One RPC at one end.
#[derive(Debug)]
pub struct Rpc {
    role: Role,
    phase: Phase,
    out: Option<MsgOut>,
    msgin: Option<MsgIn>,
    /// Some of the incoming message is known to be the peer's.
    proven: bool,
    /// When it began.
    began: u64,
    /// When the peer was last heard of, or waiting began.
    heard: u64,
    /// When to ask next.
    ask_at: u64,
    /// Pause before the question after that.
    pause: u64,
    /// Pause before the first question of a wait.
    first: u64,
    /// Nothing had to be asked for.
    undisturbed: bool,
    /// How often the server said that it knows nothing of the RPC.
    restarts: u8,
}

/// A server may say so often that it does not know an RPC and still count as alive: it may be
/// overloaded. Not for ever: it may refuse the request.
const MAX_RESTARTS: u8 = 20;

impl Rpc {
    /// A client's RPC that is about to send `out`.
    pub fn client(now: u64, config: &Config, out: MsgOut) -> Self {
        Self::new(Role::Client, Phase::Sending, now, config, Some(out), None)
    }

    /// A server's RPC of which the first packet arrived.
    pub fn server(now: u64, config: &Config, msgin: MsgIn) -> Self {
        Self::new(Role::Server, Phase::Receiving, now, config, None, Some(msgin))
    }

    fn new(
        role: Role,
        phase: Phase,
        now: u64,
        config: &Config,
        out: Option<MsgOut>,
        msgin: Option<MsgIn>,
    ) -> Self {
        let ask_at = now.saturating_add(config.resend_first);
        let first = config.resend_first;
        Self {
            role,
            phase,
            out,
            msgin,
            proven: false,
            began: now,
            heard: now,
            ask_at,
            pause: first,
            first,
            undisturbed: true,
            restarts: 0,
        }
    }

    /// The peer is known to take longer to answer than [`Config::resend_first`]: so much is waited.
    pub fn set_patience(&mut self, now: u64, patience: u64) {
        self.first = patience;
        self.pause = patience;
        self.ask_at = now.saturating_add(patience);
    }

    /// How long a client's RPC took that is now whole, if that says how quick the peer is.
    pub fn rtt_sample(&self, now: u64) -> Option<u64> {
        let sound = self.role == Role::Client && self.undisturbed;
        sound.then(|| now.saturating_sub(self.began))
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The outgoing message, if there is one.
    pub fn out(&self) -> Option<&MsgOut> {
        self.out.as_ref()
    }

    /// The outgoing message, to mark what was sent.
    pub fn out_mut(&mut self) -> Option<&mut MsgOut> {
        self.out.as_mut()
    }

    /// The incoming message, once a packet of it came.
    pub fn msgin(&self) -> Option<&MsgIn> {
        self.msgin.as_ref()
    }

    /// The peer gave a sign of life, or a new wait begins: the clock of silence restarts.
    fn hear(&mut self, now: u64) {
        self.heard = now;
        self.pause = self.first;
        self.ask_at = now.saturating_add(self.pause);
    }

    /// The peer is alive but brought nothing: the time-out restarts, the questions stay rare.
    fn hear_alive(&mut self, now: u64) {
        self.heard = now;
        self.ask_at = self.ask_at.max(now.saturating_add(self.pause));
    }

    /// A DATA packet: its `payload` is part of a message of `length` bytes.
    ///
    /// A sealed packet proves nothing until its record opened ([`prove`](Self::prove)): it
    /// neither moves the RPC on nor counts as a sign of life. Until then a packet that says another
    /// length replaces what came before; a caller for whom more than the length must agree calls
    /// [`forget_message`](Self::forget_message) first if it does not.
    pub fn handle_data(
        &mut self,
        now: u64,
        config: &Config,
        length: u32,
        incoming: u32,
        payload: Range,
        sealed: bool,
    ) -> Data {
        if !self.is_receiving() {
            return Data::Duplicate;
        }
        // Until something is proven the newest packet is as good as those before it: if it says
        // otherwise, they may have been forged.
        self.msgin.take_if(|msgin| msgin.length() != length && !self.proven);
        let msgin = self.msgin.get_or_insert_with(|| MsgIn::new(length, incoming));
        if msgin.length() != length {
            return Data::Refused;
        }
        match msgin.accept(payload.start, payload.len()) {
            Accept::New(range) => {
                if !sealed {
                    // A sealed packet's word may be forged; our own grants are not.
                    msgin.note_incoming(incoming);
                }
                if sealed {
                    // Packets that may be forged put the question off, but not for ever.
                    let latest = self.heard.saturating_add(config.resend_max);
                    let ask_at = now.saturating_add(self.pause).min(latest);
                    self.ask_at = self.ask_at.max(ask_at);
                } else {
                    self.prove(now);
                }
                Data::Keep(range)
            }
            Accept::Duplicate => Data::Duplicate,
            Accept::Refused => Data::Refused,
        }
    }

    /// Does it take DATA?
    pub fn is_receiving(&self) -> bool {
        match self.phase {
            Phase::Receiving => true,
            Phase::Sending => self.role == Role::Client,
            _ => false,
        }
    }

    /// What came is from the peer itself: the RPC moves on.
    pub fn prove(&mut self, now: u64) {
        self.proven = true;
        if self.phase == Phase::Sending {
            self.phase = Phase::Receiving;
        }
        self.hear(now);
    }

    /// The whole incoming message is here and found good: it goes to the program.
    ///
    /// A client is done; a server is in service.
    pub fn deliver(&mut self) {
        self.phase = match self.role {
            Role::Client => Phase::Done,
            Role::Server => Phase::InService,
        };
    }

    /// Whatever was going on is over.
    pub fn finish(&mut self) {
        self.phase = Phase::Done;
    }

    /// Is the incoming message whole, and not yet delivered?
    pub fn is_deliverable(&self) -> bool {
        self.phase == Phase::Receiving && self.msgin.as_ref().is_some_and(MsgIn::is_complete)
    }

    /// Is every byte of `range` of the incoming message here?
    pub fn has(&self, range: Range) -> bool {
        self.msgin.as_ref().is_some_and(|m| m.has(range))
    }

    /// Bytes of the incoming message did not authenticate: they are wanted again.
    ///
    /// Nothing is asked now: the question comes with the timer, so that forged packets do not
    /// become a flood of RESENDs. False if the RPC cannot remember it and must be dropped.
    pub fn forget(&mut self, range: Range) -> bool {
        self.msgin.as_mut().is_some_and(|m| m.forget(range))
    }

    /// Forgets the incoming message altogether: nothing of it ever authenticated.
    pub fn forget_message(&mut self) {
        self.msgin = None;
    }

    /// The grant to send, if one is due.
    pub fn poll_grant(&mut self, config: &Config) -> Option<Control> {
        self.msgin.as_mut()?.poll_grant(config).map(Control::Grant)
    }

    /// Server: the program replies with `out`. False, and nothing changed, if it may not now.
    pub fn reply(&mut self, now: u64, config: &Config, out: MsgOut) -> bool {
        if self.role != Role::Server || self.phase != Phase::InService {
            return false;
        }
        self.out = Some(out);
        self.phase = Phase::Replying;
        self.first = self.first.max(config.need_ack_first);
        self.hear(now);
        true
    }

    /// A GRANT of everything below `offset`.
    pub fn handle_grant(&mut self, now: u64, offset: u32) -> Action {
        if let Some(out) = self.out.as_mut() {
            out.grant(offset);
            self.hear(now);
        }
        Action::None
    }

    /// A RESEND: the peer misses part of what we send, or all.
    pub fn handle_resend(&mut self, now: u64, offset: u32, len: u32) -> Action {
        self.hear_alive(now);
        match (self.role, self.phase) {
            (Role::Client, Phase::Sending) | (Role::Server, Phase::Replying) => {}
            // The client misses the response, which there is not yet.
            (Role::Server, Phase::Receiving | Phase::InService) => {
                return Action::Send(Control::Busy)
            }
            _ => return Action::None,
        }
        match self.out.as_mut().and_then(|out| out.resend(offset, len)) {
            Some(range) => Action::Retransmit(range),
            // It asks for what it did not grant: we are here and hold back.
            None => Action::Send(Control::Busy),
        }
    }

    /// An UNKNOWN: the peer has no state for this RPC.
    pub fn handle_unknown(&mut self, now: u64, config: &Config) -> Action {
        match (self.role, self.phase) {
            // The request was lost entirely: again from the start.
            (Role::Client, Phase::Sending) => {
                if let Some(out) = self.out.as_mut() {
                    out.restart();
                }
                if self.restarts < MAX_RESTARTS {
                    self.restarts = self.restarts.saturating_add(1);
                    self.heard = now;
                }
                self.undisturbed = false;
                self.pause = self.pause.saturating_mul(2).min(config.resend_max);
                self.ask_at = now.saturating_add(self.pause);
                Action::None
            }
            (Role::Client, Phase::Receiving) => {
                self.phase = Phase::Done;
                Action::Fail(Failure::Reset)
            }
            (Role::Server, Phase::Receiving | Phase::Replying) => {
                self.phase = Phase::Done;
                Action::Free
            }
            _ => Action::None,
        }
    }

    /// A BUSY: the peer is alive and holds back.
    pub fn handle_busy(&mut self, now: u64) -> Action {
        self.hear_alive(now);
        Action::None
    }

    /// A NEED_ACK: the server would like to forget this RPC.
    pub fn handle_need_ack(&mut self, now: u64) -> Action {
        self.hear_alive(now);
        match (self.role, self.phase) {
            (Role::Client, Phase::Done) => Action::Send(Control::Ack),
            // It has sent everything, and we do not have it.
            (Role::Client, Phase::Sending | Phase::Receiving) => Action::Send(self.question()),
            _ => Action::None,
        }
    }

    /// The client acknowledged this RPC.
    pub fn handle_ack(&mut self) -> Action {
        if self.role == Role::Server {
            self.phase = Phase::Done;
            Action::Free
        } else {
            Action::None
        }
    }

    /// What to ask the peer for when it has been silent.
    fn question(&self) -> Control {
        match self.msgin.as_ref() {
            // Perhaps a forger told how long the message is and which part of it is here: the
            // first record decides, so all of that.
            Some(_) if !self.proven => Control::Resend(FIRST_RECORD),
            Some(msgin) => match msgin.missing() {
                Some(range) => Control::Resend(range),
                // All that was granted is here: the grant was lost.
                None => Control::Grant(msgin.granted()),
            },
            None => Control::ResendAll,
        }
    }

    /// Does time matter to this RPC at all?
    ///
    /// A server's program may take as long as it likes, and a delivered message waits for
    /// its reader.
    fn is_waiting(&self) -> bool {
        match self.phase {
            Phase::Sending | Phase::Replying => true,
            Phase::Receiving => !self.is_deliverable(),
            Phase::InService | Phase::Done => false,
        }
    }

    /// When [`poll_timer`](Self::poll_timer) next has something to do.
    pub fn deadline(&self) -> Option<u64> {
        self.is_waiting().then_some(self.ask_at)
    }

    /// Time passed.
    pub fn poll_timer(&mut self, now: u64, config: &Config) -> Action {
        if !self.is_waiting() || now < self.ask_at {
            return Action::None;
        }
        if now.saturating_sub(self.heard) >= config.timeout {
            self.phase = Phase::Done;
            return match self.role {
                Role::Client => Action::Fail(Failure::TimedOut),
                Role::Server => Action::Free,
            };
        }
        self.undisturbed = false;
        self.pause = self.pause.saturating_mul(2).min(config.resend_max);
        self.ask_at = now.saturating_add(self.pause);
        match (self.role, self.phase) {
            (Role::Server, Phase::Replying) => {
                if self.out.as_ref().is_some_and(MsgOut::is_sent) {
                    Action::Send(Control::NeedAck)
                } else {
                    // The client drives: it asks, or grants.
                    Action::None
                }
            }
            _ => Action::Send(self.question()),
        }
    }
}
