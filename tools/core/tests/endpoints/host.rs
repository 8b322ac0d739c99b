// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A host: the core's types put together as the kernel layer does it, with vectors for packets.

use std::collections::{btree_map::Entry, BTreeMap};
use std::fmt::Write;

use homa_core::acks::PendingAcks;
use homa_core::config::Config;
use homa_core::layout::{Cut, Layout};
use homa_core::msgin::{MsgIn, Range};
use homa_core::msgout::MsgOut;
use homa_core::recent::RecentIds;
use homa_core::rpc::{self, Action, Failure, Phase, Rpc};
use homa_core::session::preamble::Preamble;
use homa_core::session::replay::Verdict;
use homa_core::session::seq::MessageId;
use homa_core::window::ResponseLimit;
use homa_core::wire::*;

use crate::link::IpPacket;
use crate::random::Random;
use crate::seal::Session;

/// What a host tells the world.
#[derive(Debug)]
pub enum Event {
    /// A request is whole: serve it. The id is the server's.
    Request { id: u64, bytes: Vec<u8> },
    /// An RPC of this client has its response.
    Response { id: u64, bytes: Vec<u8> },
    /// An RPC of this client failed.
    Failed { id: u64, why: Failure },
}

/// A message on its way out: the bytes to send, and what their headers have in common.
struct Outgoing {
    stream: Vec<u8>,
    layout: Layout,
    cut: Cut,
    /// Sealed: record size and the clear length.
    sealed: Option<SealedData>,
}

/// A message on its way in.
#[derive(Default)]
struct Incoming {
    stream: Vec<u8>,
    layout: Option<Layout>,
    records: Vec<Option<Vec<u8>>>,
    preamble: Option<Preamble>,
}

impl Incoming {
    fn is_open(&self) -> bool {
        self.layout.is_none() || self.records.iter().all(Option::is_some)
    }

    fn take(&mut self) -> Vec<u8> {
        let this = std::mem::take(self);
        let Some(preamble) = this.preamble else {
            return this.stream;
        };
        let plaintext: Vec<u8> = this.records.into_iter().flatten().flatten().collect();
        plaintext[Preamble::LEN..][..preamble.length as usize].to_vec()
    }
}

struct State {
    core: Rpc,
    out: Option<Outgoing>,
    incoming: Incoming,
}

pub struct Host {
    pub port: u16,
    peer_port: u16,
    pub config: Config,
    random: Random,
    rpcs: BTreeMap<u64, State>,
    next_id: u64,
    acks: PendingAcks,
    recent: RecentIds,
    pub session: Option<Session>,
    pub outbox: Vec<IpPacket>,
    pub events: Vec<Event>,
    pub drops: BTreeMap<&'static str, u64>,
}

impl Host {
    pub fn new(
        port: u16,
        peer_port: u16,
        config: Config,
        session: Option<Session>,
        random: Random,
    ) -> Self {
        Self {
            port,
            peer_port,
            config,
            random,
            rpcs: BTreeMap::new(),
            next_id: 2 * u64::from(port),
            acks: PendingAcks::new(),
            recent: RecentIds::new(),
            session,
            outbox: vec![],
            events: vec![],
            drops: BTreeMap::new(),
        }
    }

    pub fn rpc_count(&self) -> usize {
        self.rpcs.len()
    }

    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (id, rpc) in &self.rpcs {
            writeln!(text, "  {id}: {:?}", rpc.core).unwrap();
        }
        text
    }

    fn common(&self, id: u64) -> Common {
        Common { source_port: self.port, destination_port: self.peer_port, sender_id: id }
    }

    fn drop_packet(&mut self, why: &'static str) {
        *self.drops.entry(why).or_default() += 1;
    }

    // Sending.

    /// Starts an RPC; `None` if the window of ids is full.
    pub fn request(&mut self, now: u64, bytes: &[u8]) -> Option<u64> {
        let (id, distance) = match &mut self.session {
            Some(session) => {
                let id = session.ids.next().ok()?;
                (id.get(), session.ids.floor_distance(id))
            }
            None => {
                self.next_id += 2;
                (self.next_id, 0)
            }
        };
        let out = self.outgoing(id, bytes, distance);
        let progress = MsgOut::new(out.layout.stream_length(), self.config.unscheduled);
        let core = Rpc::client(now, &self.config, progress);
        self.rpcs.insert(id, State { core, out: Some(out), incoming: Incoming::default() });
        self.push_out(id);
        Some(id)
    }

    /// The server's program replies; false if the RPC is gone.
    pub fn reply(&mut self, now: u64, id: u64, bytes: &[u8]) -> bool {
        if !self.rpcs.contains_key(&id) {
            return false;
        }
        let out = self.outgoing(id, bytes, 0);
        let Some(rpc) = self.rpcs.get_mut(&id) else { return false };
        let progress = MsgOut::new(out.layout.stream_length(), self.config.unscheduled);
        if !rpc.core.reply(now, &self.config, progress) {
            return false;
        }
        rpc.out = Some(out);
        self.push_out(id);
        true
    }

    /// The client's program gives the RPC up.
    pub fn abort(&mut self, id: u64) -> bool {
        let is_running = self.rpcs.get(&id).is_some_and(|rpc| rpc.core.role() == rpc::Role::Client);
        if is_running {
            self.free(id);
        }
        is_running
    }

    fn outgoing(&mut self, id: u64, bytes: &[u8], floor_distance: u16) -> Outgoing {
        let packet = [1440, 1440, 1440, 300, 8900][self.random.below(5) as usize];
        let segment = [65_000, 65_000, 20_000, 0][self.random.below(4) as usize];
        let Some(session) = &self.session else {
            let layout = Layout::plain(bytes.len() as u32).unwrap();
            let cut = Cut::new(packet, segment).unwrap();
            return Outgoing { stream: bytes.to_vec(), layout, cut, sealed: None };
        };
        let padding = if self.random.chance(300) { self.random.below(13) as u8 } else { 0 };
        let preamble = Preamble { length: bytes.len() as u32, floor_distance, padding };
        let mut plaintext = preamble.emit().to_vec();
        plaintext.extend(bytes);
        plaintext.resize(preamble.message_length() as usize, 0);
        let least = plaintext.len().div_ceil(MAX_RECORDS as usize).max(64) as u64;
        let record_size = match self.random.below(4) {
            0 => least + self.random.below(16_385 - least),
            1 => 1418,
            2 => 4096,
            _ => 16_384,
        } as u32;
        let version = session.tx.version;
        let overhead = version.record_overhead();
        let layout = Layout::sealed(plaintext.len() as u32, record_size, overhead).unwrap();
        // Segments hold whole records.
        let cut = Cut::new(packet, segment.max(record_size + overhead)).unwrap();
        let place_from_ip_id = self.random.chance(300);
        let sealed = SealedData {
            message_length: plaintext.len() as u32,
            incoming: 0,
            cutoff_version: 0,
            retransmit: false,
            response_limit: ResponseLimit::NONE,
            flags: session.tx.flags(),
            record_size: record_size as u16,
            first_record: 0,
            sequence: 0,
            window: packet as u16,
            place_from_ip_id,
            payload: 0,
        };
        let id = MessageId::new(id).unwrap();
        let stream = session.tx.seal(&layout, id, &plaintext);
        Outgoing { stream, layout, cut, sealed: Some(sealed) }
    }

    /// Sends what the RPC's outgoing message permits.
    fn push_out(&mut self, id: u64) {
        let common = self.common(id);
        let Some(State { core, out: Some(out), .. }) = self.rpcs.get_mut(&id) else { return };
        let server_port = self.peer_port;
        let Some(progress) = core.out_mut() else { return };
        while progress.can_send() {
            let segment = out.layout.segment(&out.cut, progress.sent(), progress.granted());
            let segment = segment.expect("what may be sent can be cut");
            progress.advance(segment.stream.end);
            let incoming = progress.granted().max(segment.stream.end);
            match out.sealed {
                None => {
                    let ack = self.acks.pop().map(|client_id| Ack { client_id, server_port });
                    let data = Data {
                        message_length: out.layout.length(),
                        incoming,
                        ack,
                        cutoff_version: 0,
                        retransmit: false,
                        response_limit: ResponseLimit::NONE,
                        offset: segment.stream.start,
                        payload: segment.stream.len(),
                    };
                    let head = data.emit(&common);
                    cut_up(&mut self.outbox, &head, out, segment.stream, &out.cut, 0);
                }
                Some(data) => {
                    let data = SealedData { incoming, first_record: segment.first_record, ..data };
                    // A card that does not advance the sequence, or software that does.
                    let head = data.emit(&common);
                    cut_up(&mut self.outbox, &head, out, segment.stream, &out.cut, 0);
                }
            }
        }
    }

    /// Sends a range again, cut in another way.
    fn send_again(&mut self, id: u64, range: Range) {
        let common = self.common(id);
        let Some(State { out: Some(out), .. }) = self.rpcs.get(&id) else { return };
        let packet = 200 + self.random.below(1300) as u32;
        let cut = Cut::new(packet, 65_000).unwrap();
        let mut at = range.start;
        while at < range.end {
            let end = (at + packet).min(range.end);
            let part = Range { start: at, end };
            match out.sealed {
                None => {
                    let data = Data {
                        message_length: out.layout.length(),
                        incoming: 0,
                        ack: None,
                        cutoff_version: 0,
                        retransmit: true,
                        response_limit: ResponseLimit::NONE,
                        offset: at,
                        payload: part.len(),
                    };
                    cut_up(&mut self.outbox, &data.emit(&common), out, part, &cut, 0);
                }
                Some(data) => {
                    let record = out.layout.record_at(at).unwrap();
                    let sequence = at - record.stream.start;
                    let data = SealedData {
                        retransmit: true,
                        response_limit: ResponseLimit::NONE,
                        first_record: record.index,
                        sequence,
                        place_from_ip_id: false,
                        ..data
                    };
                    let head = data.emit(&common);
                    cut_up(&mut self.outbox, &head, out, part, &cut, sequence);
                }
            }
            at = end;
        }
    }

    fn send_control(&mut self, id: u64, control: &Control) {
        let common = self.common(id);
        let header = match &mut self.session {
            None => control.emit(&common),
            Some(session) => {
                let counter = session.control_tx.next().unwrap();
                let untagged = SealedControl::emit(control, &common, session.tx.flags(), counter);
                let tag = session.tx.tag(counter, untagged.aad());
                untagged.finish(&tag)
            }
        };
        self.outbox.push(IpPacket { ip_id: 0, bytes: header.as_slice().to_vec() });
    }

    fn send_core_control(&mut self, id: u64, control: rpc::Control) {
        let control = match control {
            rpc::Control::Grant(offset) => Control::Grant { offset, priority: 0 },
            rpc::Control::Resend(range) => {
                Control::Resend { offset: range.start, length: Some(range.len()), priority: 7 }
            }
            rpc::Control::ResendAll => Control::Resend { offset: 0, length: None, priority: 7 },
            rpc::Control::Busy => Control::Busy,
            rpc::Control::NeedAck => Control::NeedAck,
            rpc::Control::Ack => self.ack(id),
        };
        self.send_control(id, &control);
    }

    fn ack(&self, id: u64) -> Control {
        let mut acks = Acks::new();
        acks.push(Ack { client_id: id, server_port: self.peer_port });
        Control::Ack(acks)
    }

    // Receiving.

    pub fn receive(&mut self, now: u64, packet: &IpPacket) {
        let len = packet.bytes.len();
        let head = &packet.bytes[..len.min(MAX_HEADER)];
        let parsed = match Packet::parse(head, len) {
            Ok(parsed) => parsed,
            Err(why) => return self.drop_packet(why.name()),
        };
        let ports = (parsed.common.source_port, parsed.common.destination_port);
        if ports != (self.peer_port, self.port) {
            return self.drop_packet("other ports");
        }
        let id = parsed.common.local_id();
        let payload = packet.bytes.get(parsed.header_len..).unwrap_or(&[]);
        match (parsed.body, self.session.is_some()) {
            (Body::Data(data), false) => {
                if let Some(ack) = data.ack {
                    self.handle_ack(&ack);
                }
                let layout = Layout::plain(data.message_length).unwrap();
                self.data(now, id, layout, data.offset, data.incoming, payload);
            }
            (Body::Control(control), false) => self.control(now, id, &control),
            (Body::SealedData(data), true) => {
                let layout = data.layout().unwrap();
                match data.stream_offset(Some(packet.ip_id)) {
                    Ok(offset) => self.data(now, id, layout, offset, data.incoming, payload),
                    Err(why) => self.drop_packet(why.name()),
                }
            }
            (Body::SealedControl(control), true) => {
                let session = self.session.as_mut().unwrap();
                let aad = &packet.bytes[..control.aad_len];
                if !session.control_rx.check(control.counter) {
                    return self.drop_packet("replayed control");
                }
                if !session.rx.verify(control.counter, aad, &control.tag) {
                    return self.drop_packet("false control");
                }
                assert!(session.control_rx.mark(control.counter));
                self.control(now, id, &control.inner);
            }
            _ => self.drop_packet("clear and sealed"),
        }
    }

    fn data(
        &mut self,
        now: u64,
        id: u64,
        layout: Layout,
        offset: u32,
        incoming: u32,
        bytes: &[u8],
    ) {
        let range = Range { start: offset, end: offset + bytes.len() as u32 };
        let sealed = layout.is_sealed();
        if let Entry::Vacant(entry) = self.rpcs.entry(id) {
            if id & 1 == 0 {
                return self.drop_packet("unknown");
            }
            if let Some(session) = &self.session {
                let request = MessageId::new(id ^ 1).unwrap();
                if matches!(session.seen.check(request), Verdict::Seen | Verdict::Dead) {
                    return self.drop_packet("replay");
                }
            }
            if !sealed && self.recent.contains(id) {
                return self.drop_packet("recent");
            }
            let msgin = MsgIn::new(layout.stream_length(), incoming);
            let core = Rpc::server(now, &self.config, msgin);
            entry.insert(State { core, out: None, incoming: Incoming::default() });
        }
        let config = self.config;
        let rpc = self.rpcs.get_mut(&id).unwrap();
        if rpc.core.is_receiving() {
            // Until something authenticated, the last packet is as good as the first.
            if sealed && rpc.incoming.layout != Some(layout) && rpc.incoming.preamble.is_none() {
                rpc.incoming = Incoming {
                    layout: Some(layout),
                    records: vec![None; layout.records() as usize],
                    ..Incoming::default()
                };
                rpc.core.forget_message();
            }
            if sealed && rpc.incoming.layout != Some(layout) {
                return self.drop_packet("other layout");
            }
        }
        let length = layout.stream_length();
        match rpc.core.handle_data(now, &config, length, incoming, range, sealed) {
            rpc::Data::Duplicate => return self.drop_packet("duplicate"),
            rpc::Data::Refused => return self.drop_packet("refused"),
            rpc::Data::Keep(kept) => {
                assert!(range.start <= kept.start && kept.end <= range.end);
                let stream = &mut rpc.incoming.stream;
                stream.resize(length as usize, 0);
                let from = (kept.start - range.start) as usize;
                stream[kept.start as usize..kept.end as usize]
                    .copy_from_slice(&bytes[from..][..kept.len() as usize]);
                if sealed && !self.open(now, id) {
                    return;
                }
            }
        }
        let rpc = self.rpcs.get_mut(&id).unwrap();
        let is_client = rpc.core.role() == rpc::Role::Client;
        if is_client && rpc.core.phase() != Phase::Sending {
            rpc.out = None;
        }
        if rpc.core.is_deliverable() && rpc.incoming.is_open() {
            rpc.core.deliver();
            let bytes = rpc.incoming.take();
            if is_client {
                self.free(id);
                if self.session.is_none() {
                    self.add_ack(id);
                }
                self.events.push(Event::Response { id, bytes });
            } else {
                self.events.push(Event::Request { id, bytes });
            }
        } else if let Some(grant) = rpc.core.poll_grant(&config) {
            self.send_core_control(id, grant);
        }
    }

    /// Opens what is complete; false if the RPC has nothing any more, or is gone.
    fn open(&mut self, now: u64, id: u64) -> bool {
        let session = self.session.as_mut().unwrap();
        let State { core, incoming, .. } = self.rpcs.get_mut(&id).unwrap();
        let is_client = core.role() == rpc::Role::Client;
        let message = MessageId::new(id ^ 1).unwrap();
        let layout = incoming.layout.unwrap();
        for record in layout.records_in(layout.stream()) {
            let index = usize::from(record.index);
            if incoming.records[index].is_some() || !core.has(record.stream) {
                if index == 0 && incoming.records[0].is_none() {
                    return true;
                }
                continue;
            }
            let bytes = &incoming.stream[record.stream.start as usize..record.stream.end as usize];
            let opened = session.rx.open(&record, message, bytes);
            if index == 0 {
                let preamble = opened.as_ref().and_then(|p| Preamble::parse(p).ok());
                let Some(preamble) = preamble.filter(|p| p.agrees_with(layout.length())) else {
                    *incoming = Incoming::default();
                    core.forget_message();
                    if !is_client {
                        self.free(id);
                    }
                    self.drop_packet("first record false");
                    return false;
                };
                incoming.preamble = Some(preamble);
                if !is_client {
                    let dead = session.seen.advance_floor(message, preamble.floor_distance);
                    if let Err(why) = session.seen.mark(message) {
                        let _ = why;
                        self.free(id);
                        self.drop_packet("replay");
                        return false;
                    }
                    let incoming = &mut self.rpcs.get_mut(&id).unwrap().incoming;
                    incoming.records[0] = opened;
                    for dead in dead.into_iter().flatten().step_by(2) {
                        self.free(dead | 1);
                    }
                    self.rpcs.get_mut(&id).unwrap().core.prove(now);
                    return self.open(now, id);
                }
            }
            match opened {
                Some(plaintext) => {
                    incoming.records[index] = Some(plaintext);
                    core.prove(now);
                }
                None => {
                    assert!(core.forget(record.stream));
                    *self.drops.entry("record false").or_default() += 1;
                }
            }
        }
        true
    }

    fn add_ack(&mut self, id: u64) {
        if let Some(ids) = self.acks.push(id) {
            let mut acks = Acks::new();
            for client_id in ids {
                acks.push(Ack { client_id, server_port: self.peer_port });
            }
            self.send_control(id, &Control::Ack(acks));
        }
    }

    fn handle_ack(&mut self, ack: &Ack) {
        let id = ack.client_id ^ 1;
        if ack.server_port != self.port {
            return;
        }
        let Some(rpc) = self.rpcs.get_mut(&id) else { return };
        if rpc.core.handle_ack() == Action::Free {
            self.free(id);
        }
    }

    fn control(&mut self, now: u64, id: u64, control: &Control) {
        if let Control::Ack(acks) = control {
            for ack in acks.as_slice() {
                self.handle_ack(ack);
            }
            return;
        }
        let config = self.config;
        let Some(rpc) = self.rpcs.get_mut(&id) else {
            match control {
                Control::NeedAck if id & 1 == 0 => {
                    let ack = self.ack(id);
                    self.send_control(id, &ack);
                }
                Control::Resend { .. } => self.send_control(id, &Control::Unknown),
                _ => self.drop_packet("unknown"),
            }
            return;
        };
        let action = match control {
            Control::Grant { offset, .. } => rpc.core.handle_grant(now, *offset),
            Control::Resend { offset, length, .. } => {
                rpc.core.handle_resend(now, *offset, length.unwrap_or(u32::MAX))
            }
            Control::Unknown => rpc.core.handle_unknown(now, &config),
            Control::Busy => rpc.core.handle_busy(now, &config),
            Control::NeedAck => rpc.core.handle_need_ack(now),
            Control::Ack(_) | Control::Cutoffs { .. } | Control::Freeze => Action::None,
        };
        self.perform(id, action);
        self.push_out(id);
    }

    fn perform(&mut self, id: u64, action: Action) {
        match action {
            Action::None => {}
            Action::Send(control) => self.send_core_control(id, control),
            Action::Retransmit(range) => self.send_again(id, range),
            Action::Free => self.free(id),
            Action::Fail(why) => {
                self.free(id);
                self.events.push(Event::Failed { id, why });
            }
        }
    }

    fn free(&mut self, id: u64) {
        let Some(rpc) = self.rpcs.remove(&id) else { return };
        if rpc.core.role() == rpc::Role::Server {
            self.recent.add(id);
        } else if let Some(session) = &mut self.session {
            assert!(session.ids.finish(MessageId::new(id).unwrap()), "an id ends once");
        }
    }

    // Time.

    pub fn deadline(&self) -> Option<u64> {
        self.rpcs.values().filter_map(|rpc| rpc.core.deadline()).min()
    }

    pub fn tick(&mut self, now: u64) {
        let config = self.config;
        let due: Vec<_> = self
            .rpcs
            .iter()
            .filter(|(_, rpc)| rpc.core.deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(rpc) = self.rpcs.get_mut(&id) else { continue };
            let action = rpc.core.poll_timer(now, &config);
            self.perform(id, action);
        }
    }
}

/// What segmentation does: the header again before each packet, with another sequence, or, if the
/// place comes from it, only another IP identification.
fn cut_up(to: &mut Vec<IpPacket>, head: &[u8], out: &Outgoing, range: Range, cut: &Cut, base: u32) {
    let from_ip_id =
        out.sealed.is_some_and(|data| data.place_from_ip_id && head[at::SEAL_FLAGS] & 8 != 0);
    let mut start = range.start;
    let mut ip_id = 0;
    while start < range.end {
        let end = (start + cut.packet()).min(range.end);
        let mut bytes = head.to_vec();
        if !from_ip_id {
            let sequence = match out.sealed {
                Some(_) => base + (start - range.start),
                None => start,
            };
            bytes[at::SEQUENCE..at::SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
        }
        bytes.extend(&out.stream[start as usize..end as usize]);
        to.push(IpPacket { ip_id, bytes });
        ip_id += 1;
        start = end;
    }
}
