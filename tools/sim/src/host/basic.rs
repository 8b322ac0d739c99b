// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The first host: plain Homa by the core's [`Rpc`] alone, without grant scheduler, priorities or pacing.
//!
//! It exists so that the simulator could be built and tested; the composition of the whole core takes its
//! place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use homa_core::acks::PendingAcks;
use homa_core::layout::{Cut, Layout};
use homa_core::msgin::{MsgIn, Range};
use homa_core::msgout::MsgOut;
use homa_core::recent::RecentIds;
use homa_core::rpc::{self, Action, Phase, Role, Rpc};
use homa_core::window::ResponseLimit;
use homa_core::wire::{Ack, Acks, Body, Common, Control, Data, Packet as Parsed, DATA_LEN};

use super::{Counts, Event, Host, Received, Refused, Setup, Time};
use crate::packet::{mix, Digest, HostId, Message, Packet, Payload, IP};

/// Everybody's port.
const PORT: u16 = 99;

/// Whom an RPC is with, and this host's id for it.
type Key = (HostId, u64);

/// An RPC, and the model of its messages' bytes.
struct State {
    core: Rpc,
    out: Option<Message>,
    /// Parts to be sent again.
    again: VecDeque<Range>,
    /// It is in the queue of those that have something to send.
    ready: bool,
    digest: Digest,
    /// The earliest timer that is set.
    timer: Option<Time>,
}

/// The first host.
pub struct Basic {
    setup: Setup,
    cut: Cut,
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
        let header = control.emit(&Self::common(id));
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
        let message = rpc.out?;
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
                let layout = Layout::plain(message.length)?;
                let segment = layout.segment(&self.cut, progress.sent(), progress.granted())?;
                progress.advance(segment.stream.end);
                (segment.stream, false)
            }
        };
        let granted = rpc.core.out().map_or(0, MsgOut::granted);
        let ack = self.acks.entry(peer).or_default().pop();
        let data = Data {
            message_length: message.length,
            incoming: granted.max(range.end),
            ack: ack.map(|client_id| Ack { client_id, server_port: PORT }),
            cutoff_version: 0,
            retransmit,
            response_limit: ResponseLimit::NONE,
            offset: range.start,
            payload: range.len(),
        };
        let payload = Payload {
            content: message.content,
            start: range.start,
            len: range.len(),
            ..Payload::NONE
        };
        Some(Packet::new(self.setup.id, peer, 0, &data.emit(&Self::common(id)), payload))
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
        if rpc.core.is_deliverable() {
            rpc.core.deliver();
            let length = data.message_length;
            let message = Received { length, stream_length: length, digest: rpc.digest };
            let (peer, id) = (key.0, key.1 & !1);
            if rpc.core.role() == Role::Client {
                self.free(key);
                self.add_ack(key);
                self.events.push_back(Event::Response { peer, id, message });
            } else {
                self.events.push_back(Event::Request { peer, id, message });
            }
        } else if let Some(grant) = rpc.core.poll_grant(&config) {
            self.send_core_control(key, grant);
        }
    }

    fn insert(&mut self, key: Key, core: Rpc, out: Option<Message>) {
        let again = VecDeque::new();
        let digest = Digest::default();
        self.rpcs.insert(key, State { core, out, again, ready: false, digest, timer: None });
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
            Control::Busy => rpc.core.handle_busy(now),
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
        }
    }
}

impl Host for Basic {
    fn new(setup: Setup) -> Self {
        let packet = setup.mtu - IP - DATA_LEN as u32;
        let cut = Cut::new(packet, packet).unwrap_or_else(|| panic!("an MTU of {}", setup.mtu));
        Self {
            cut,
            rpcs: BTreeMap::new(),
            next_id: (mix(setup.seed) >> 24) & !1,
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
        let id = self.next_id;
        self.next_id += 2;
        let config = self.setup.config;
        let core = Rpc::client(now, &config, MsgOut::new(request.length, config.unscheduled));
        self.insert((peer, id), core, Some(request));
        self.touch((peer, id));
        Ok(id)
    }

    fn reply(&mut self, now: Time, peer: HostId, id: u64, response: Message) -> bool {
        let key = (peer, id | 1);
        let config = self.setup.config;
        let Some(rpc) = self.rpcs.get_mut(&key) else { return false };
        if !rpc.core.reply(now, &config, MsgOut::new(response.length, config.unscheduled)) {
            return false;
        }
        rpc.out = Some(response);
        self.touch(key);
        true
    }

    fn abort(&mut self, _now: Time, peer: HostId, id: u64) -> bool {
        let running = self.rpcs.contains_key(&(peer, id));
        self.free((peer, id));
        running
    }

    fn new_session(&mut self, _now: Time, _peer: HostId, _transmit: u64, _receive: u64) {}

    fn handle(&mut self, now: Time, packet: &Packet) {
        let Ok(parsed) = Parsed::parse(packet.head(), packet.len() as usize) else {
            self.drops += 1;
            return;
        };
        let key = (packet.source, parsed.common.local_id());
        match parsed.body {
            Body::Data(data) => {
                if let Some(ack) = data.ack {
                    self.handle_ack(key.0, &ack);
                }
                self.data(now, key, &data, &packet.payload);
                self.touch(key);
            }
            Body::Control(control) => self.handle_control(now, key, &control),
            Body::SealedData(_) | Body::SealedControl(_) => self.drops += 1,
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
            open_ids: 0,
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
