// SPDX-License-Identifier: GPL-2.0 OR MIT

//! One end of the session: client of its own requests, server of the other end's.
//!
//! What `src/transport` and `src/tls` do around the core.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use homa_core::rpc::{Action, Phase, Rpc};
use homa_core::session::control::{ControlSender, ControlWindow};
use homa_core::session::epoch::Epoch;
use homa_core::session::ids::Ids;
use homa_core::session::preamble::Preamble;
use homa_core::session::replay::{ReplayWindow, Verdict};
use homa_core::session::seq::{MessageId, SequenceNumber};
use homa_core::wire::{Ack, Acks, Control, PREAMBLE_LEN};

use crate::crypto::{record_aad, record_number, Author, Key, Sealed, Side, Term, Text};
use crate::incoming::{Incoming, Outcome};
use crate::keys::{ReceiveKeys, SendKeys};
use crate::live::{IdsOp, Live, ReplayOp, RpcOp, RpcOut, RpcSeed};
use crate::packet::{layout, ControlPacket, DataPacket, RECORD};
use crate::sabotage::{Rules, Sabotage};

/// An RPC at one end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// The core's part.
    pub rpc: Live<Rpc>,
    /// What came of its incoming message.
    pub incoming: Incoming,
}

/// A message that was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    /// By whom, and as what.
    pub author: Author,
    /// Under which of its keys.
    pub generation: u8,
    /// Bytes, preamble included.
    pub length: u32,
    /// Its records: kept, to be sent again.
    pub records: Vec<Term>,
}

impl Sent {
    /// Its packets as the sender sends them.
    pub fn packets(&self) -> impl Iterator<Item = DataPacket> + '_ {
        self.records.iter().zip(0..).map(|(record, index)| DataPacket {
            id: self.author.id,
            epoch: self.generation & Epoch::MASK,
            length: self.length,
            index,
            record: Some(record.clone()),
        })
    }
}

/// Something that happened at an end, for the network and for the properties.
#[derive(Clone, Debug)]
pub enum Event {
    /// This was sealed and handed to the network.
    Sealed(Term),
    /// The message `id` was delivered: these records, this length.
    Delivered(u64, Vec<Term>, Option<u32>),
    /// The request `id` is acknowledged: its RPC is gone.
    Acknowledged(u64),
    /// This control packet was believed.
    Believed(ControlPacket),
    /// Something of this epoch authenticated.
    Authenticated(u8),
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// Which.
    pub side: Side,
    /// Its own ids.
    pub ids: Live<Ids>,
    /// The other end's that it saw.
    pub replay: Live<ReplayWindow>,
    control_tx: Live<ControlSender>,
    control_rx: Live<ControlWindow>,
    /// What it seals with.
    pub tx: SendKeys,
    /// What it opens with.
    pub rx: ReceiveKeys,
    /// Its own RPCs that run, by id.
    pub client: BTreeMap<u64, Call>,
    /// The other end's that it has, by id as it knows them (odd).
    pub server: BTreeMap<u64, Call>,
    /// All that it ever sealed, by id of the message (and by how often that had been there before: never).
    pub sent: BTreeMap<(u64, u8), Arc<Sent>>,
    /// How often it delivered a message of the other end's.
    pub delivered: BTreeMap<Author, u8>,
    /// Its own RPCs so far.
    pub started: u8,
    /// Those that it gave up.
    pub aborted: u8,
    /// NEED_ACKs that it sent.
    pub asked: u8,
    /// Requests that it gave up for lack of packets.
    pub given_up: BTreeSet<u64>,
}

impl End {
    /// A new session's.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            ids: Live::new(()),
            replay: Live::new(()),
            control_tx: Live::new(()),
            control_rx: Live::new(()),
            tx: SendKeys::default(),
            rx: ReceiveKeys::new(),
            client: BTreeMap::new(),
            server: BTreeMap::new(),
            sent: BTreeMap::new(),
            delivered: BTreeMap::new(),
            started: 0,
            aborted: 0,
            asked: 0,
            given_up: BTreeSet::new(),
        }
    }

    fn tx_key(&self, rules: Rules, generation: u8) -> Key {
        Key::new(rules, self.side, generation)
    }

    fn rx_key(&self, rules: Rules, epoch: u8) -> Option<Key> {
        Some(Key::new(rules, self.side.peer(), self.rx.select(rules, epoch)?))
    }

    /// Seals a message of so many records under the newest key.
    fn seal(&self, rules: Rules, author: Author, records: u8, distance: u16) -> Option<Sent> {
        let id = MessageId::new(author.id)?;
        let generation = self.tx.generation;
        let length = RECORD * u32::from(records);
        let layout = layout(length)?;
        let preamble =
            Preamble { length: length - PREAMBLE_LEN, floor_distance: distance, padding: 0 };
        let key = self.tx_key(rules, generation);
        let seal = |record: homa_core::layout::Record| {
            Term::new(Sealed {
                key,
                nonce: key.nonce(record_number(rules, id, record.index)),
                aad: record_aad(record.plaintext.len()),
                text: Text::Record {
                    author,
                    index: record.index,
                    preamble: (record.index == 0).then(|| preamble.emit()),
                },
            })
        };
        let records = layout.records_in(layout.stream()).map(seal).collect();
        Some(Sent { author, generation, length, records })
    }

    fn send(&mut self, sent: Sent, events: &mut Vec<Event>) {
        events.extend(sent.records.iter().cloned().map(Event::Sealed));
        self.sent.insert((sent.author.id, sent.author.run), Arc::new(sent));
    }

    /// The program sends a request of so many records.
    pub fn start(&mut self, rules: Rules, records: u8, events: &mut Vec<Event>) -> Option<()> {
        let id = self.ids.apply(IdsOp::Next).ok()?;
        let distance = self.ids.floor_distance(id);
        let author = Author { side: self.side, id: id.get(), run: self.runs(id.get()) };
        let sent = self.seal(rules, author, records, distance)?;
        let seed = RpcSeed::Client(layout(sent.length)?.stream_length());
        let call = Call { rpc: Live::new(seed), incoming: Incoming::default() };
        self.client.insert(id.get(), call);
        self.started += 1;
        self.send(sent, events);
        Some(())
    }

    /// How often something was sealed as this message before.
    fn runs(&self, id: u64) -> u8 {
        self.sent.range((id, 0)..=(id, u8::MAX)).count() as u8
    }

    /// The program answers a request with so many records.
    pub fn reply(
        &mut self,
        rules: Rules,
        local: u64,
        records: u8,
        events: &mut Vec<Event>,
    ) -> Option<()> {
        let author = Author { side: self.side, id: local, run: self.runs(local) };
        let sent = self.seal(rules, author, records, 0)?;
        let length = layout(sent.length)?.stream_length();
        let call = self.server.get_mut(&local)?;
        if call.rpc.apply(RpcOp::Reply(length)) != RpcOut::Worked(true) {
            return None;
        }
        self.send(sent, events);
        Some(())
    }

    /// Sends the message `id` again: the very same bytes.
    pub fn resend(&mut self, rules: Rules, id: u64, events: &mut Vec<Event>) -> Option<()> {
        if !rules.broken(Sabotage::SealAgain) {
            return None;
        }
        let sent = self.sent.get(&(id, 0))?;
        let distance = self.ids.floor_distance(MessageId::new(id)?);
        let sent = self.seal(rules, sent.author, sent.records.len() as u8, distance)?;
        self.send(sent, events);
        Some(())
    }

    /// The program gives up a request of its own.
    pub fn abort(&mut self, rules: Rules, id: u64, events: &mut Vec<Event>) -> Option<()> {
        let mut call = self.client.remove(&id)?;
        self.aborted += 1;
        let action = call.rpc.apply(RpcOp::Cancel);
        self.finish(id);
        if let RpcOut::Action(Action::Send(_)) = action {
            self.send_control(rules, id, &ack(id), events);
        }
        Some(())
    }

    /// Is what it sent as `id` kept, to be sent again?
    pub fn is_live(&self, id: u64) -> bool {
        let replying = |call: &Call| call.rpc.phase() == Phase::Replying;
        self.client.contains_key(&id) || self.server.get(&id).is_some_and(replying)
    }

    /// What is kept, to be sent again.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Sent>> {
        self.sent.values().filter(|sent| self.is_live(sent.author.id))
    }

    /// The server asks whether it may forget an RPC.
    pub fn need_ack(&mut self, rules: Rules, local: u64, events: &mut Vec<Event>) {
        self.asked += 1;
        self.send_control(rules, local, &Control::NeedAck, events);
    }

    fn send_control(&mut self, rules: Rules, id: u64, inner: &Control, events: &mut Vec<Event>) {
        let Some(counter) = self.control_tx.apply(()) else { return };
        let Some(number) = SequenceNumber::control(counter) else { return };
        let key = self.tx_key(rules, self.tx.generation);
        let header = ControlPacket::header(inner, id, self.tx.epoch(), counter);
        let clear = rules.broken(Sabotage::ClearControl);
        events.push(Event::Sealed(Term::new(Sealed {
            key,
            nonce: key.nonce(number),
            aad: if clear { Vec::new() } else { header.clone() },
            text: Text::Control(header),
        })));
    }

    /// Are messages under way that were sealed with an older key than the newest?
    pub fn has_previous_tx(&self) -> bool {
        self.live().any(|sent| sent.generation < self.tx.generation)
    }

    /// The next key to seal with; false if it is refused (EBUSY).
    pub fn rekey_tx(&mut self, rules: Rules) -> bool {
        let done = self.tx.install(rules, self.has_previous_tx());
        if done && rules.broken(Sabotage::KeyAgain) {
            self.control_tx = Live::new(());
        }
        if done && rules.broken(Sabotage::IdsAgain) {
            self.ids = Live::new(());
        }
        done
    }

    /// The next key to open with.
    pub fn rekey_rx(&mut self, rules: Rules) {
        self.rx.install(rules);
        if rules.broken(Sabotage::IdsAgain) {
            self.replay = Live::new(());
        }
    }

    /// Something of `epoch` authenticated, replayed or not: there may be a key that is not needed any more.
    fn used(&mut self, rules: Rules, epoch: Epoch, events: &mut Vec<Event>) {
        self.rx.used(rules, epoch);
        events.push(Event::Authenticated(epoch.number()));
    }

    /// Would a DATA packet with this id and epoch be looked at? (If not, it changes nothing.)
    pub fn admits(&self, rules: Rules, id: u64, epoch: u8) -> bool {
        let local = id ^ 1;
        let known = if local & 1 == 0 {
            self.client.contains_key(&local)
        } else {
            self.server.contains_key(&local) || self.may_be_new(rules, id)
        };
        known && self.rx_key(rules, epoch).is_some()
    }

    fn may_be_new(&self, rules: Rules, request: u64) -> bool {
        let Some(request) = MessageId::new(request) else { return false };
        rules.broken(Sabotage::NoReplayWindow)
            || matches!(self.replay.check(request), Verdict::Fresh | Verdict::Ahead)
    }

    /// A DATA packet comes.
    pub fn data(&mut self, rules: Rules, packet: &DataPacket, events: &mut Vec<Event>) {
        let Some((common, data)) = packet.parse() else { return };
        let local = common.local_id();
        if !self.admits(rules, common.sender_id, data.flags.epoch.number()) {
            return;
        }
        let Some(key) = self.rx_key(rules, data.flags.epoch.number()) else { return };
        let (Some(id), Some(layout)) = (MessageId::new(local ^ 1), data.layout()) else { return };
        let is_client = local & 1 == 0;
        if !is_client && !self.server.contains_key(&local) {
            if rules.broken(Sabotage::MarkEarly) {
                let _ = self.replay.apply(ReplayOp::Mark(id));
            }
            if rules.broken(Sabotage::FloorFromHeader) {
                let (dead, _) = self.replay.apply(ReplayOp::Floor(id, 0));
                self.acknowledge(dead, events);
            }
            let rpc = Live::new(RpcSeed::Server(layout.stream_length()));
            self.server.insert(local, Call { rpc, incoming: Incoming::default() });
        }
        let calls = if is_client { &mut self.client } else { &mut self.server };
        let Some(call) = calls.get_mut(&local) else { return };
        let before = call.incoming.opened().len();
        let outcome = call.incoming.add(rules, &mut call.rpc, packet, key, id);
        if call.incoming.opened().len() > before {
            self.used(rules, data.flags.epoch, events);
        }
        match outcome {
            Outcome::Nothing => {}
            Outcome::Proven(preamble) => {
                if !is_client && !self.mark(rules, id, &preamble, events) {
                    self.server.remove(&local);
                    return;
                }
                self.prove(rules, local);
            }
            Outcome::False if is_client => {}
            Outcome::False | Outcome::Forged => {
                self.forget(local);
                return;
            }
        }
        self.deliver(local, events);
    }

    /// A request authenticated: takes its floor over and marks it; false if it is a replay.
    fn mark(
        &mut self,
        rules: Rules,
        id: MessageId,
        preamble: &Preamble,
        events: &mut Vec<Event>,
    ) -> bool {
        if rules.broken(Sabotage::MarkEarly) {
            return true;
        }
        let (dead, marked) = self.replay.apply(ReplayOp::Take(id, preamble.floor_distance));
        if marked.is_ok() {
            self.acknowledge(dead, events);
        }
        marked.is_ok() || rules.broken(Sabotage::NoReplayWindow)
    }

    fn acknowledge(&mut self, dead: Option<std::ops::Range<u64>>, events: &mut Vec<Event>) {
        for request in dead.into_iter().flatten().step_by(2) {
            if self.server.remove(&(request | 1)).is_some() {
                events.push(Event::Acknowledged(request));
            }
        }
    }

    fn prove(&mut self, rules: Rules, local: u64) {
        let calls = if local & 1 == 0 { &mut self.client } else { &mut self.server };
        if let Some(call) = calls.get_mut(&local) {
            call.rpc.apply(RpcOp::Prove);
        }
        if local & 1 == 0 && rules.broken(Sabotage::FinishEarly) {
            self.finish(local);
        }
    }

    fn finish(&mut self, id: u64) {
        if let Some(id) = MessageId::new(id) {
            // One that was finished before stays so.
            let _ = self.ids.apply(IdsOp::Finish(id));
        }
    }

    /// Gives the message of this RPC to the program if it is whole.
    fn deliver(&mut self, local: u64, events: &mut Vec<Event>) {
        let is_client = local & 1 == 0;
        let calls = if is_client { &mut self.client } else { &mut self.server };
        let Some(call) = calls.get_mut(&local) else { return };
        if !call.rpc.is_deliverable() || !call.incoming.is_open() {
            return;
        }
        call.rpc.apply(RpcOp::Deliver);
        let message = local ^ 1;
        let (records, length) = (call.incoming.opened(), call.incoming.length());
        call.incoming = Incoming::default();
        if let Some(Text::Record { author, .. }) = records.first().map(|r| &r.sealed().text) {
            *self.delivered.entry(*author).or_default() += 1;
        }
        events.push(Event::Delivered(message, records, length));
        if is_client {
            self.client.remove(&local);
            self.finish(local);
        }
    }

    fn forget(&mut self, local: u64) {
        self.client.remove(&local);
        self.server.remove(&local);
    }

    /// The server gives up an RPC of which nothing came for long. One that it had marked will not run any more.
    pub fn time_out(&mut self, local: u64) {
        if let Some(call) = self.server.remove(&local) {
            if call.incoming.is_proven() || call.rpc.phase() != Phase::Receiving {
                self.given_up.insert(local ^ 1);
            }
        }
    }

    /// Is this control packet from the peer, and new?
    pub fn believes(&self, rules: Rules, packet: &ControlPacket) -> bool {
        let judge = || {
            let (_, control) = packet.parse()?;
            let key = self.rx_key(rules, control.flags.epoch.number())?;
            let new = self.control_rx.check(control.counter);
            let clear = rules.broken(Sabotage::ClearControl);
            let aad = if clear { &[] } else { packet.header.get(..control.aad_len)? };
            let nonce = key.nonce(SequenceNumber::control(control.counter)?);
            let tag = packet.tag.as_ref().is_some_and(|tag| tag.opens(rules, key, &nonce, aad));
            let new = new || rules.broken(Sabotage::NoControlWindow);
            Some(new && (tag || rules.broken(Sabotage::NoTag)))
        };
        judge().unwrap_or(false)
    }

    /// A control packet comes.
    pub fn control(&mut self, rules: Rules, packet: &ControlPacket, events: &mut Vec<Event>) {
        let Some((common, control)) = packet.parse() else { return };
        let believed = self.believes(rules, packet);
        let marked = (believed || rules.broken(Sabotage::CounterEarly))
            && self.control_rx.apply(control.counter);
        if !believed || !(marked || rules.broken(Sabotage::NoControlWindow)) {
            return;
        }
        self.used(rules, control.flags.epoch, events);
        events.push(Event::Believed(packet.clone()));
        let local = common.local_id();
        match control.inner {
            Control::Ack(acks) => {
                let named = acks.as_slice().iter().map(|ack| ack.client_id ^ 1);
                for local in named.chain([local]).filter(|id| id & 1 == 1) {
                    let Some(call) = self.server.get_mut(&local) else { continue };
                    if call.rpc.apply(RpcOp::Ack) == RpcOut::Action(Action::Free) {
                        self.server.remove(&local);
                        events.push(Event::Acknowledged(local ^ 1));
                    }
                }
            }
            // The client has forgotten it because it is done.
            Control::NeedAck if local & 1 == 0 && !self.client.contains_key(&local) => {
                self.send_control(rules, local, &ack(local), events);
            }
            _ => {}
        }
    }
}

fn ack(id: u64) -> Control {
    let mut acks = Acks::new();
    acks.push(Ack { client_id: id, server_port: 0x8002 });
    Control::Ack(acks)
}
