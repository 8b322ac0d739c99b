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

mod scheduling;
mod silence;

use super::config::Config;
use super::msgin::{Accept, MsgIn, Range};
use super::msgout::MsgOut;
use super::recovery::Recovery;
use super::slab::Token;
use super::window::{News, Pace, ResponseLimit};

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

/// A DATA packet, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Bytes in the whole message.
    pub length: u32,
    /// The sender sends everything below unasked.
    pub incoming: u32,
    /// Which bytes it brings.
    pub payload: Range,
    /// It is sealed, and nothing of it was opened so far.
    pub sealed: bool,
    /// Its sender says that it sent this before.
    pub again: bool,
}

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
    /// How often it was asked since, or should have been.
    vain: u8,
    /// When to ask next.
    ask_at: u64,
    /// Pause before the question after that.
    pause: u64,
    /// Pause before the first question of a wait.
    first: u64,
    /// Nothing was lost, as far as is known.
    undisturbed: bool,
    /// Part of what is sent was sent again.
    resent: bool,
    /// How often the server said that it knows nothing of the RPC.
    restarts: u8,
    /// How often it said so since the response began, and brought nothing.
    unknowns: u8,
    /// When bytes of the incoming message came last, or were granted after all before had come.
    progressed: u64,
    /// How long bytes that should come are waited for, once the incoming message began.
    rto: u64,
    /// How long bytes that others overtook are waited for.
    reordering: u64,
    /// Something was asked since the message being sent was last begun.
    asked: bool,
    /// What is missing of the incoming message, and was asked for.
    recovery: Recovery,
    /// Perhaps a grant was lost: it is due once more.
    regrant: bool,
    /// The incoming message's place in the grant scheduler, which wants to know when so many bytes are here.
    token: Option<Token>,
    report_at: u32,
    /// A grant under way: the first byte that it lets out, and when it was made. Then how long that took.
    timed: Option<(u32, u64)>,
    round_trip: Option<u64>,
    /// How fast the message that is under way is carried.
    pace: Pace,
    /// Bytes of the incoming message that were counted as arrived.
    counted: u32,
    /// What its packets told of the path, and nobody asked for yet.
    news: News,
    /// How little of the response its client wants unasked.
    response_limit: ResponseLimit,
    /// The incoming message's sender was silent, and the grant scheduler does not know yet.
    stalled: bool,
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
            vain: 0,
            ask_at,
            pause: first,
            first,
            undisturbed: true,
            resent: false,
            restarts: 0,
            unknowns: 0,
            progressed: now,
            rto: first,
            reordering: config.reordering,
            asked: false,
            recovery: Recovery::new(),
            regrant: false,
            token: None,
            report_at: 0,
            stalled: false,
            news: News::NONE,
            response_limit: ResponseLimit::NONE,
            timed: None,
            round_trip: None,
            pace: Pace::new(),
            counted: 0,
        }
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
        let again = false;
        self.handle_arrival(now, config, &Arrival { length, incoming, payload, sealed, again })
    }

    /// The same, knowing whether the packet was sent before. What is to be asked for and granted then, is told by
    /// [`poll_resend`](Self::poll_resend) and [`is_report_due`](Self::is_report_due).
    pub fn handle_arrival(&mut self, now: u64, config: &Config, arrival: &Arrival) -> Data {
        let Arrival { length, incoming, payload, sealed, again } = *arrival;
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
                self.note_arrival(now, config, range, again);
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
            self.pace = Pace::new();
        }
        self.hear(now);
        self.progressed = now;
        self.stalled = false;
        self.unknowns = 0;
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

    /// The client's program does not want the response any more. What is returned tells the server, so that its
    /// memory does not have to wait for a time-out; a loss of it is harmless.
    pub fn cancel(&mut self) -> Action {
        let running = matches!(self.phase, Phase::Sending | Phase::Receiving);
        if self.role != Role::Client || !running {
            return Action::None;
        }
        // A request that is sent in part is known to the server, perhaps.
        let told = self.phase == Phase::Receiving || self.out().is_some_and(|out| out.sent() > 0);
        self.phase = Phase::Done;
        if told {
            Action::Send(Control::Ack)
        } else {
            Action::None
        }
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
        self.recovery = Recovery::new();
    }

    /// The grant to send, if one is due.
    pub fn poll_grant(&mut self, config: &Config) -> Option<Control> {
        self.msgin.as_mut()?.poll_grant(config).map(Control::Grant)
    }

    /// Server: the client asked for so little of the response at a time. (In the first DATA packet of its request, and
    /// all others.)
    pub fn set_response_limit(&mut self, limit: ResponseLimit) {
        self.response_limit = limit;
    }

    /// How many of `unscheduled` bytes of the response the client wants without having granted them.
    pub fn unscheduled_response(&self, unscheduled: u32) -> u32 {
        self.response_limit.apply(unscheduled)
    }

    /// Server: the program replies with `out`. False, and nothing changed, if it may not now.
    pub fn reply(&mut self, now: u64, config: &Config, out: MsgOut) -> bool {
        if self.role != Role::Server || self.phase != Phase::InService {
            return false;
        }
        self.out = Some(out);
        self.pace = Pace::new();
        self.phase = Phase::Replying;
        self.first = self.first.max(config.need_ack_first);
        self.hear(now);
        true
    }

    /// A GRANT of everything below `offset`.
    pub fn handle_grant(&mut self, now: u64, offset: u32) -> Action {
        let priority = self.out.as_ref().and_then(MsgOut::priority).unwrap_or(0);
        self.handle_grant_at(now, offset, priority)
    }

    /// A GRANT of everything below `offset`, to be sent with `priority`.
    pub fn handle_grant_at(&mut self, now: u64, offset: u32, priority: u8) -> Action {
        if let Some(out) = self.out.as_mut() {
            out.grant_at(offset, priority);
            self.hear(now);
        }
        Action::None
    }

    /// A RESEND: the peer misses part of what we send, or all.
    pub fn handle_resend(&mut self, now: u64, offset: u32, len: u32) -> Action {
        match (self.role, self.phase) {
            (Role::Client, Phase::Sending) | (Role::Server, Phase::Replying) => {
                self.hear_alive(now);
            }
            // The client misses the response, which there is not yet: perhaps for want of what we miss. It may ask more often
            // than we do.
            (Role::Server, Phase::Receiving | Phase::InService) => {
                self.hear_question(now);
                return Action::Send(Control::Busy);
            }
            _ => {
                self.hear_alive(now);
                return Action::None;
            }
        }
        match self.out.as_mut().and_then(|out| out.resend(offset, len)) {
            Some(range) => {
                self.resent = true;
                Action::Retransmit(range)
            }
            // It asks for what it did not grant: we are here and hold back.
            None => Action::Send(Control::Busy),
        }
    }

    /// An UNKNOWN: the peer has no state for this RPC.
    pub fn handle_unknown(&mut self, now: u64, config: &Config) -> Action {
        match (self.role, self.phase) {
            // The request was lost entirely: again from the start, but only as much as makes it known.
            (Role::Client, Phase::Sending) => {
                if !::core::mem::take(&mut self.asked) {
                    // Nobody asked: an old answer, once more, or a forged one.
                    return Action::None;
                }
                let range = self.out.as_mut().map(MsgOut::restart);
                if self.restarts < MAX_RESTARTS {
                    self.restarts = self.restarts.saturating_add(1);
                    self.heard = now;
                    self.vain = 0;
                }
                self.undisturbed = false;
                self.resent = true;
                // The pause is that which followed the question.
                self.ask_at = now.saturating_add(self.pause.min(config.resend_max));
                match range {
                    Some(range) if range.len() > 0 => Action::Retransmit(range),
                    _ => Action::None,
                }
            }
            // The server forgot it half-way. A late answer to an old question would say so too: so it is asked
            // once more.
            (Role::Client, Phase::Receiving) => {
                if !::core::mem::take(&mut self.asked) {
                    return Action::None;
                }
                self.unknowns = self.unknowns.saturating_add(1);
                if self.unknowns < 2 {
                    return self.question(now, config).map_or(Action::None, Action::Send);
                }
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
    pub fn handle_busy(&mut self, now: u64, config: &Config) -> Action {
        self.hear_alive(now);
        // Nobody asked: it has no room for the request, and will not know of it.
        if (self.role, self.phase) == (Role::Client, Phase::Sending) && self.asked {
            // It knows the request, and asks itself for what it misses of it, and whether the response came: only that it
            // lives is to be seen. If all RPCs with a slow server asked often, it would be slower still.
            self.ask_at = self.ask_at.max(now.saturating_add(config.timeout / 5));
            // The question was needless: how long the answer takes is worth knowing.
            self.undisturbed = !self.resent;
        }
        Action::None
    }

    /// A NEED_ACK: the server would like to forget this RPC.
    pub fn handle_need_ack(&mut self, now: u64) -> Action {
        // It only says how much to ask for.
        let config = &Config::DEFAULT;
        self.hear_alive(now);
        let waits = self.msgin.as_ref().map(|m| (m.granted(), m.length()));
        match (self.role, self.phase, waits) {
            (Role::Client, Phase::Done, _) => Action::Send(Control::Ack),
            // It cannot have sent everything: it asks whether we live.
            (Role::Client, Phase::Receiving, Some((granted, length))) if granted < length => {
                Action::Send(Control::Grant(granted))
            }
            // It has sent everything, and we do not have it.
            (Role::Client, Phase::Sending | Phase::Receiving, _) => {
                self.question(now, config).map_or(Action::None, Action::Send)
            }
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
}
