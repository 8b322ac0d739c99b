// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The first host: Homa, plain or sealed, by the core's [`Rpc`] alone, without grant scheduler, priorities or
//! pacing.
//!
//! It exists so that the simulator could be built and tested; the composition of the whole core takes its
//! place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use homa_core::acks::PendingAcks;
use homa_core::layout::Cut;
use homa_core::msgin::{MsgIn, Range};
use homa_core::msgout::MsgOut;
use homa_core::recent::RecentIds;
use homa_core::rpc::{self, Action, Failure, Phase, Role, Rpc};
use homa_core::session::replay::Verdict;
use homa_core::session::seq::MessageId;
use homa_core::window::ResponseLimit;
use homa_core::wire::{
    Ack, Acks, Body, Common, Control, Data, Packet as Parsed, SealedData, DATA_LEN, SEALED_DATA_LEN,
};

use super::session::{Opened, Opening, Sealed, Session};
use super::{Counts, Event, Host, Received, Refused, Setup, Time};
use crate::packet::{Digest, HostId, Message, Packet, Payload, IP};

/// Everybody's port.
const PORT: u16 = 99;

/// Whom an RPC is with, and this host's id for it.
type Key = (HostId, u64);

/// A message on its way out.
enum Out {
    Plain(Message),
    Sealed(Box<Sealed>),
}

/// An RPC, and the model of its messages' bytes.
struct State {
    core: Rpc,
    out: Option<Out>,
    /// Parts to be sent again.
    again: VecDeque<Range>,
    /// It is in the queue of those that have something to send.
    ready: bool,
    /// Plain: of what came.
    digest: Digest,
    /// Sealed: what came.
    opening: Option<Opening>,
    /// The earliest timer that is set.
    timer: Option<Time>,
}

/// The first host.
pub struct Basic {
    setup: Setup,
    cut: Cut,
    sessions: BTreeMap<HostId, Session>,
    rpcs: BTreeMap<Key, State>,
    next_id: u64,
    acks: BTreeMap<HostId, PendingAcks>,
    recent: BTreeMap<HostId, RecentIds>,
    control: VecDeque<Packet>,
    ready: VecDeque<Key>,
    timers: BinaryHeap<Reverse<(Time, Key)>>,
    events: VecDeque<Event>,
    drops: u64,
}

impl Basic {
    fn common(id: u64) -> Common {
        Common { source_port: PORT, destination_port: PORT, sender_id: id }
    }

    fn send_control(&mut self, (peer, id): Key, control: &Control) {
        let common = Self::common(id);
        let header = match self.sessions.get_mut(&peer) {
            Some(session) => session.seal_control(control, &common),
            None => Some(control.emit(&common)),
        };
        let Some(header) = header else { return };
        let packet = Packet::new(self.setup.id, peer, 7, header.as_slice(), Payload::NONE);
        self.control.push_back(packet);
    }

    fn send_core_control(&mut self, key: Key, control: rpc::Control) {
        let control = match control {
            rpc::Control::Grant(offset) => Control::Grant { offset, priority: 0 },
            rpc::Control::Resend(range) => {
                Control::Resend { offset: range.start, length: Some(range.len()), priority: 7 }
            }
            rpc::Control::ResendAll => Control::Resend { offset: 0, length: None, priority: 7 },
            rpc::Control::Busy => Control::Busy,
            rpc::Control::NeedAck => Control::NeedAck,
            rpc::Control::Ack => Self::ack(key.1),
        };
        self.send_control(key, &control);
    }

    fn ack(id: u64) -> Control {
        let mut acks = Acks::new();
        acks.push(Ack { client_id: id, server_port: PORT });
        Control::Ack(acks)
    }

    /// After anything that may have changed an RPC: is there something to send, and when is its timer?
    fn touch(&mut self, key: Key) {
        let Some(rpc) = self.rpcs.get_mut(&key) else { return };
        let can_send = rpc.core.out().is_some_and(MsgOut::can_send) || !rpc.again.is_empty();
        if can_send && !std::mem::replace(&mut rpc.ready, true) {
            self.ready.push_back(key);
        }
        if let Some(at) = rpc.core.deadline() {
            if rpc.timer.is_none_or(|set| at < set) {
                rpc.timer = Some(at);
                self.timers.push(Reverse((at, key)));
            }
        }
    }

    /// The next packet of an RPC's outgoing message.
    fn next_data(&mut self, key: Key) -> Option<Packet> {
        let (peer, id) = key;
        let rpc = self.rpcs.get_mut(&key)?;
        let out = rpc.out.as_ref()?;
        let (range, retransmit) = match rpc.again.front_mut() {
            Some(range) => {
                let end = range.end.min(range.start + self.cut.packet());
                let part = Range { start: std::mem::replace(&mut range.start, end), end };
                if range.len() == 0 {
                    rpc.again.pop_front();
                }
                (part, true)
            }
            None => {
                let progress = rpc.core.out_mut().filter(|out| out.can_send())?;
                let start = progress.sent();
                let end = progress.length().min(start + self.cut.packet());
                progress.advance(end);
                (Range { start, end }, false)
            }
        };
        let granted = rpc.core.out().map_or(0, MsgOut::granted);
        let incoming = granted.max(range.end);
        let common = Self::common(id);
        let source = self.setup.id;
        match out {
            Out::Plain(message) => {
                let ack = self.acks.entry(peer).or_default().pop();
                let data = Data {
                    message_length: message.length,
                    incoming,
                    ack: ack.map(|client_id| Ack { client_id, server_port: PORT }),
                    cutoff_version: 0,
                    retransmit,
                    response_limit: ResponseLimit::NONE,
                    offset: range.start,
                    payload: range.len(),
                };
                let (content, start, len) = (message.content, range.start, range.len());
                let payload = Payload { content, start, len, ..Payload::NONE };
                Some(Packet::new(source, peer, 0, &data.emit(&common), payload))
            }
            Out::Sealed(sealed) => {
                let (data, payload) = sealed.packet(range, incoming, retransmit)?;
                Some(Packet::new(source, peer, 0, &data.emit(&common), payload))
            }
        }
    }

    /// Makes a message ready to be sent. `None` without a session.
    fn outgoing(
        &self,
        peer: HostId,
        id: u64,
        message: Message,
        distance: u16,
    ) -> Option<(Out, MsgOut)> {
        let unscheduled = self.setup.config.unscheduled;
        if self.setup.sealed.is_none() {
            return Some((Out::Plain(message), MsgOut::new(message.length, unscheduled)));
        }
        let sealed = self.sessions.get(&peer)?.seal(MessageId::new(id)?, message, distance)?;
        let progress = MsgOut::new(sealed.layout.stream_length(), unscheduled);
        Some((Out::Sealed(Box::new(sealed)), progress))
    }

    fn data(&mut self, now: Time, key: Key, data: &Data, payload: &Payload) {
        let config = self.setup.config;
        if !self.rpcs.contains_key(&key) {
            let known = self.recent.get(&key.0).is_some_and(|recent| recent.contains(key.1));
            if key.1 & 1 == 0 || known {
                self.drops += 1;
                return;
            }
            let msgin = MsgIn::new(data.message_length, data.incoming);
            self.insert(key, Rpc::server(now, &config, msgin), None);
        }
        let Some(rpc) = self.rpcs.get_mut(&key) else { return };
        let range = Range { start: data.offset, end: data.offset + data.payload };
        match rpc.core.handle_data(now, &config, data.message_length, data.incoming, range, false) {
            rpc::Data::Keep(kept) => rpc.digest.add(payload.digest(data.offset, kept)),
            rpc::Data::Duplicate | rpc::Data::Refused => {
                self.drops += 1;
                return;
            }
        }
        let length = data.message_length;
        let message = Received { length, stream_length: length, digest: rpc.digest };
        self.deliver(key, message);
    }

    /// Gives an incoming message to the program, if it is whole; else grants more of it, if that is due.
    fn deliver(&mut self, key: Key, message: Received) {
        let Some(rpc) = self.rpcs.get_mut(&key) else { return };
        if rpc.core.is_deliverable() && rpc.opening.as_ref().is_none_or(Opening::is_open) {
            rpc.core.deliver();
            let (peer, id) = (key.0, key.1 & !1);
            if rpc.core.role() == Role::Client {
                self.free(key);
                if self.setup.sealed.is_none() {
                    self.add_ack(key);
                }
                self.events.push_back(Event::Response { peer, id, message });
            } else {
                self.events.push_back(Event::Request { peer, id, message });
            }
        } else if let Some(grant) = rpc.core.poll_grant(&self.setup.config) {
            self.send_core_control(key, grant);
        }
    }

    fn sealed_data(
        &mut self,
        now: Time,
        key: Key,
        data: &SealedData,
        packet: &Packet,
    ) -> Option<()> {
        let config = self.setup.config;
        let session = self.sessions.get(&key.0).filter(|session| session.flags() == data.flags)?;
        let start = data.stream_offset(Some(packet.ip_id)).ok()?;
        let layout = data.layout()?;
        let id = MessageId::new(key.1 ^ 1)?;
        if !self.rpcs.contains_key(&key) {
            let old = matches!(session.seen.check(id), Verdict::Seen | Verdict::Dead);
            if key.1 & 1 == 0 || old {
                return None;
            }
            let msgin = MsgIn::new(layout.stream_length(), data.incoming);
            self.insert(key, Rpc::server(now, &config, msgin), None);
        }
        let rpc = self.rpcs.get_mut(&key)?;
        if rpc.core.is_receiving() && rpc.opening.as_ref().is_none_or(|o| o.layout != layout) {
            // Until something authenticated, the last packet is as good as the first.
            if rpc.opening.as_ref().is_some_and(|opening| opening.preamble.is_some()) {
                return None;
            }
            rpc.opening = Some(Opening::new(layout));
            rpc.core.forget_message();
        }
        let range = Range { start, end: start + data.payload };
        let length = layout.stream_length();
        match rpc.core.handle_data(now, &config, length, data.incoming, range, true) {
            rpc::Data::Keep(kept) => rpc.opening.as_mut()?.keep(&packet.payload, start, kept),
            rpc::Data::Duplicate | rpc::Data::Refused => return None,
        }
        if self.open(now, key)? {
            let opening = self.rpcs.get(&key)?.opening.as_ref()?;
            let length = opening.preamble.map_or(0, |preamble| preamble.length);
            let stream_length = opening.layout.stream_length();
            self.deliver(key, Received { length, stream_length, digest: opening.digest() });
        }
        Some(())
    }

    /// Opens what is complete; false if nothing is proven, or the RPC is gone.
    fn open(&mut self, now: Time, key: Key) -> Option<bool> {
        let id = MessageId::new(key.1 ^ 1)?;
        loop {
            let session = self.sessions.get_mut(&key.0)?;
            let rpc = self.rpcs.get_mut(&key)?;
            let opening = rpc.opening.as_mut()?;
            let core = &rpc.core;
            let proven = opening.preamble;
            let Some(opened) = opening.open_next(session, id, |range| core.has(range)) else {
                return Some(proven.is_some());
            };
            let is_client = core.role() == Role::Client;
            match opened {
                Opened::True(_) => {
                    rpc.core.prove(now);
                    let (None, false, Some(preamble)) = (proven, is_client, opening.preamble)
                    else {
                        continue;
                    };
                    let dead = session.seen.advance_floor(id, preamble.floor_distance);
                    let new = session.seen.mark(id).is_ok();
                    let dead = dead.into_iter().flatten().step_by(2);
                    dead.for_each(|request| self.free((key.0, request | 1)));
                    if !new {
                        self.free(key);
                        return None;
                    }
                }
                Opened::False(range) => {
                    self.drops += 1;
                    if !rpc.core.forget(range) {
                        self.drops += 1;
                    }
                }
                Opened::Nothing => {
                    self.drops += 1;
                    rpc.opening = None;
                    rpc.core.forget_message();
                    if !is_client {
                        self.free(key);
                    }
                    return None;
                }
            }
        }
    }

    fn insert(&mut self, key: Key, core: Rpc, out: Option<Out>) {
        let (again, digest) = (VecDeque::new(), Digest::default());
        let state = State { core, out, again, ready: false, digest, opening: None, timer: None };
        self.rpcs.insert(key, state);
    }

    fn add_ack(&mut self, key: Key) {
        if let Some(ids) = self.acks.entry(key.0).or_default().push(key.1) {
            let mut acks = Acks::new();
            for client_id in ids {
                acks.push(Ack { client_id, server_port: PORT });
            }
            self.send_control(key, &Control::Ack(acks));
        }
    }

    fn handle_ack(&mut self, peer: HostId, ack: &Ack) {
        let key = (peer, ack.client_id ^ 1);
        if self.rpcs.get_mut(&key).is_some_and(|rpc| rpc.core.handle_ack() == Action::Free) {
            self.free(key);
        }
    }

    fn handle_control(&mut self, now: Time, key: Key, control: &Control) {
        if let Control::Ack(acks) = control {
            acks.as_slice().iter().for_each(|ack| self.handle_ack(key.0, ack));
            return;
        }
        let Some(rpc) = self.rpcs.get_mut(&key) else {
            match control {
                Control::NeedAck if key.1 & 1 == 0 => self.send_control(key, &Self::ack(key.1)),
                Control::Resend { .. } => self.send_control(key, &Control::Unknown),
                _ => self.drops += 1,
            }
            return;
        };
        let action = match control {
            Control::Grant { offset, .. } => rpc.core.handle_grant(now, *offset),
            Control::Resend { offset, length, .. } => {
                rpc.core.handle_resend(now, *offset, length.unwrap_or(u32::MAX))
            }
            Control::Unknown => rpc.core.handle_unknown(now, &self.setup.config),
            Control::Busy => rpc.core.handle_busy(now, &self.setup.config),
            Control::NeedAck => rpc.core.handle_need_ack(now),
            Control::Ack(_) | Control::Cutoffs { .. } | Control::Freeze => Action::None,
        };
        self.perform(key, action);
    }

    fn perform(&mut self, key: Key, action: Action) {
        match action {
            Action::None => {}
            Action::Send(control) => self.send_core_control(key, control),
            Action::Retransmit(range) => {
                if let Some(rpc) = self.rpcs.get_mut(&key) {
                    if !rpc.again.contains(&range) {
                        rpc.again.push_back(range);
                    }
                }
            }
            Action::Free => self.free(key),
            Action::Fail(why) => {
                self.free(key);
                self.events.push_back(Event::Failed { peer: key.0, id: key.1, why });
            }
        }
        self.touch(key);
    }

    fn free(&mut self, key: Key) {
        let Some(rpc) = self.rpcs.remove(&key) else { return };
        if rpc.core.role() == Role::Server {
            self.recent.entry(key.0).or_default().add(key.1);
        } else if let Some(session) = self.sessions.get_mut(&key.0) {
            let ended = MessageId::new(key.1).is_some_and(|id| session.ids.finish(id));
            assert!(ended, "an id ends once");
        }
    }
}

impl Host for Basic {
    fn new(setup: Setup) -> Self {
        let header = if setup.sealed.is_some() { SEALED_DATA_LEN } else { DATA_LEN };
        let packet = setup.mtu - IP - header as u32;
        let cut = Cut::new(packet, packet).unwrap_or_else(|| panic!("an MTU of {}", setup.mtu));
        Self {
            cut,
            sessions: BTreeMap::new(),
            rpcs: BTreeMap::new(),
            // A host that booted again must not begin below the ids that others remember of it.
            next_id: (setup.booted >> 10) & !1,
            acks: BTreeMap::new(),
            recent: BTreeMap::new(),
            control: VecDeque::new(),
            ready: VecDeque::new(),
            timers: BinaryHeap::new(),
            events: VecDeque::new(),
            drops: 0,
            setup,
        }
    }

    fn start(&mut self, now: Time, peer: HostId, request: Message) -> Result<u64, Refused> {
        let (id, distance) = match self.sessions.get_mut(&peer) {
            Some(session) => {
                let id = session.ids.next().map_err(|_| Refused::Session)?;
                (id.get(), session.ids.floor_distance(id))
            }
            None if self.setup.sealed.is_some() => return Err(Refused::Session),
            None => {
                self.next_id += 2;
                (self.next_id, 0)
            }
        };
        let Some((out, progress)) = self.outgoing(peer, id, request, distance) else {
            return Err(Refused::Session);
        };
        let core = Rpc::client(now, &self.setup.config, progress);
        self.insert((peer, id), core, Some(out));
        self.touch((peer, id));
        Ok(id)
    }

    fn reply(&mut self, now: Time, peer: HostId, id: u64, response: Message) -> bool {
        let key = (peer, id | 1);
        if self.rpcs.get(&key).is_none_or(|rpc| rpc.core.phase() != Phase::InService) {
            return false;
        }
        let Some((out, progress)) = self.outgoing(peer, key.1, response, 0) else { return false };
        let Some(rpc) = self.rpcs.get_mut(&key) else { return false };
        if !rpc.core.reply(now, &self.setup.config, progress) {
            return false;
        }
        rpc.out = Some(out);
        self.touch(key);
        true
    }

    fn abort(&mut self, _now: Time, peer: HostId, id: u64) -> bool {
        let running = self.rpcs.contains_key(&(peer, id));
        self.free((peer, id));
        running
    }

    fn new_session(&mut self, _now: Time, peer: HostId, transmit_key: u64, receive_key: u64) {
        let old: Vec<_> =
            self.rpcs.range((peer, 0)..=(peer, u64::MAX)).map(|(key, _)| *key).collect();
        for key in old {
            self.free(key);
            if key.1 & 1 == 0 {
                self.events.push_back(Event::Failed { peer, id: key.1, why: Failure::Reset });
            }
        }
        if let Some(ledger) = &self.setup.sealed {
            self.sessions.insert(peer, Session::new(transmit_key, receive_key, ledger.clone()));
        }
    }

    fn handle(&mut self, now: Time, packet: &Packet) {
        let Ok(parsed) = Parsed::parse(packet.head(), packet.len() as usize) else {
            self.drops += 1;
            return;
        };
        let key = (packet.source, parsed.common.local_id());
        let sealed = self.setup.sealed.is_some();
        match parsed.body {
            Body::Data(data) if !sealed => {
                if let Some(ack) = data.ack {
                    self.handle_ack(key.0, &ack);
                }
                self.data(now, key, &data, &packet.payload);
                self.touch(key);
            }
            Body::Control(control) if !sealed => self.handle_control(now, key, &control),
            Body::SealedData(data) if sealed => {
                if self.sealed_data(now, key, &data, packet).is_none() {
                    self.drops += 1;
                }
                self.touch(key);
            }
            Body::SealedControl(control) if sealed => {
                let session = self.sessions.get_mut(&key.0);
                if session.is_some_and(|session| session.open_control(&control, packet.head())) {
                    self.handle_control(now, key, &control.inner);
                } else {
                    self.drops += 1;
                }
            }
            _ => self.drops += 1,
        }
    }

    fn poll_transmit(&mut self, _now: Time) -> Option<Packet> {
        if let Some(packet) = self.control.pop_front() {
            return Some(packet);
        }
        while let Some(key) = self.ready.pop_front() {
            if let Some(rpc) = self.rpcs.get_mut(&key) {
                rpc.ready = false;
                let packet = self.next_data(key);
                self.touch(key);
                if packet.is_some() {
                    return packet;
                }
            }
        }
        None
    }

    fn next_timer(&self) -> Option<Time> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    fn on_timer(&mut self, now: Time) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(rpc) = self.rpcs.get_mut(&key).filter(|rpc| rpc.timer == Some(at)) else {
                continue;
            };
            rpc.timer = None;
            let action = rpc.core.poll_timer(now, &self.setup.config);
            self.perform(key, action);
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn counts(&self) -> Counts {
        let servers = self.rpcs.values().filter(|rpc| rpc.core.role() == Role::Server).count();
        Counts {
            client_rpcs: self.rpcs.len() - servers,
            server_rpcs: servers,
            queued: self.control.len(),
            open_ids: self.sessions.values().map(|session| session.ids.in_window()).sum(),
            drops: self.drops,
        }
    }

    fn grant_bound(&self) -> Option<u64> {
        None
    }

    fn describe(&self, peer: HostId, id: u64) -> String {
        let end = |id| match self.rpcs.get(&(peer, id)) {
            Some(rpc) if rpc.core.phase() != Phase::Done => format!("{:?}", rpc.core),
            _ => "nothing".into(),
        };
        format!("as client: {}; as server: {}", end(id), end(id | 1))
    }
}
