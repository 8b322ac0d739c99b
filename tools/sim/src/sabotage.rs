// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Hosts that are broken on purpose: each breaks one invariant, to show that the simulator notices.

use std::cell::Cell;
use std::collections::VecDeque;

use homa_core::rpc::Failure;
use homa_core::wire::{at, PacketType};

use crate::check::Invariant;
use crate::host::{Counts, Event, Host, Refused, Setup, Time};
use crate::packet::{HostId, Message, Packet};

/// How a host is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Some RPCs have a response that the program is never told of.
    Silence,
    /// The program is told of some responses twice.
    Twice,
    /// Some RPCs fail instead of completing.
    Fail,
    /// A message's bytes are put in the wrong place.
    Misplace,
    /// A message is delivered before its last packet came.
    Truncate,
    /// Some requests are executed twice.
    Execute,
    /// State of RPCs is never freed.
    Leak,
    /// A nonce is used again.
    Nonce,
    /// Whole messages are granted at once.
    Grant,
    /// Every packet is sent a hundred times.
    Storm,
    /// A timer that is always due.
    Spin,
    /// A timer that never ends, with nothing to do.
    Tick,
}

impl Sabotage {
    /// What breaks by it.
    pub fn breaks(self) -> &'static [Invariant] {
        match self {
            Self::Silence => &[Invariant::Ends],
            Self::Twice => &[Invariant::EndsOnce],
            Self::Fail => &[Invariant::FailsForAReason],
            Self::Misplace | Self::Truncate => &[Invariant::RightBytes],
            Self::Execute => &[Invariant::AtMostOnce],
            Self::Leak => &[Invariant::MemoryReturns],
            Self::Nonce => &[Invariant::NonceOnce],
            Self::Grant => &[Invariant::GrantBound],
            Self::Storm => &[Invariant::NoStorm],
            Self::Spin => &[Invariant::TimeAdvances],
            Self::Tick => &[Invariant::Ends],
        }
    }
}

thread_local! {
    static SABOTAGE: Cell<Option<Sabotage>> = const { Cell::new(None) };
}

/// Runs `what`, in which every [`Saboteur`] that is made does this.
pub fn with<R>(sabotage: Sabotage, what: impl FnOnce() -> R) -> R {
    SABOTAGE.set(Some(sabotage));
    let result = what();
    SABOTAGE.set(None);
    result
}

/// The bound that a host under [`Sabotage::Grant`] claims to keep.
const CLAIMED_BOUND: u64 = 300_000;

/// A host that is broken in one way, and otherwise as good as `H`.
pub struct Saboteur<H> {
    host: H,
    sabotage: Sabotage,
    setup: Setup,
    told: u64,
    leaked: usize,
    more_events: VecDeque<Event>,
    more_packets: VecDeque<Packet>,
}

impl<H: Host> Saboteur<H> {
    /// Every third time.
    fn now_and_then(&mut self) -> bool {
        self.told += 1;
        self.told % 3 == 0
    }

    fn spoil(&mut self, packet: &mut Packet) {
        let kind = PacketType::from_wire(packet.header[at::TYPE]);
        let sealed = kind.is_some_and(PacketType::is_sealed);
        match (self.sabotage, kind.map(PacketType::plain)) {
            (Sabotage::Misplace, Some(PacketType::Data)) if packet.payload.len > 1 => {
                packet.payload.content ^= 1
            }
            (Sabotage::Storm, _) => self.more_packets.extend((0..100).map(|_| *packet)),
            (Sabotage::Nonce, Some(kind)) if sealed && kind != PacketType::Data => {
                if let Some(ledger) = &self.setup.sealed {
                    // As if it had not counted: the same key and number for every control packet.
                    ledger.encrypt(u64::from(self.setup.id), 1 << 63);
                }
            }
            (Sabotage::Grant, Some(PacketType::Grant)) => {
                packet.header[28..32].copy_from_slice(&1_000_000u32.to_be_bytes());
            }
            _ => {}
        }
    }
}

impl<H: Host> Host for Saboteur<H> {
    fn new(setup: Setup) -> Self {
        let sabotage = SABOTAGE.get().unwrap_or(Sabotage::Silence);
        Self {
            host: H::new(setup.clone()),
            sabotage,
            setup,
            told: 0,
            leaked: 0,
            more_events: VecDeque::new(),
            more_packets: VecDeque::new(),
        }
    }

    fn start(&mut self, now: Time, peer: HostId, request: Message) -> Result<u64, Refused> {
        self.host.start(now, peer, request)
    }

    fn reply(&mut self, now: Time, peer: HostId, id: u64, response: Message) -> bool {
        self.host.reply(now, peer, id, response)
    }

    fn abort(&mut self, now: Time, peer: HostId, id: u64) -> bool {
        self.host.abort(now, peer, id)
    }

    fn new_session(&mut self, now: Time, peer: HostId, transmit_key: u64, receive_key: u64) {
        self.host.new_session(now, peer, transmit_key, receive_key);
    }

    fn handle(&mut self, now: Time, packet: &Packet) {
        self.host.handle(now, packet);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Packet> {
        if let Some(packet) = self.more_packets.pop_front() {
            return Some(packet);
        }
        let mut packet = self.host.poll_transmit(now)?;
        self.spoil(&mut packet);
        Some(packet)
    }

    fn next_timer(&self) -> Option<Time> {
        let timer = self.host.next_timer();
        match self.sabotage {
            // Not before there was something to do.
            Sabotage::Spin if timer.is_some() => Some(0),
            Sabotage::Tick => Some(timer.map_or(self.told, |at| at.min(self.told))),
            _ => timer,
        }
    }

    fn on_timer(&mut self, now: Time) {
        if self.sabotage == Sabotage::Tick {
            self.told = now + 10_000_000;
        }
        self.host.on_timer(now);
    }

    fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.more_events.pop_front() {
            return Some(event);
        }
        let mut event = self.host.poll_event()?;
        if self.sabotage == Sabotage::Tick || !self.now_and_then() {
            return Some(event);
        }
        match (self.sabotage, &mut event) {
            (Sabotage::Silence, Event::Response { .. }) => return self.poll_event(),
            (Sabotage::Twice, Event::Response { .. })
            | (Sabotage::Execute, Event::Request { .. }) => {
                self.more_events.push_back(event);
            }
            (Sabotage::Fail, Event::Response { peer, id, .. }) => {
                return Some(Event::Failed { peer: *peer, id: *id, why: Failure::TimedOut });
            }
            (Sabotage::Leak, Event::Response { .. }) => self.leaked += 1,
            (
                Sabotage::Truncate,
                Event::Request { message, .. } | Event::Response { message, .. },
            ) => message.length = message.length.saturating_sub(1).max(1),
            _ => {}
        }
        Some(event)
    }

    fn counts(&self) -> Counts {
        let counts = self.host.counts();
        Counts { client_rpcs: counts.client_rpcs + self.leaked, ..counts }
    }

    fn grant_bound(&self) -> Option<u64> {
        match self.sabotage {
            Sabotage::Grant => Some(self.host.grant_bound().unwrap_or(CLAIMED_BOUND)),
            _ => self.host.grant_bound(),
        }
    }

    fn describe(&self, peer: HostId, id: u64) -> String {
        self.host.describe(peer, id)
    }
}
