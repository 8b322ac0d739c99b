// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Packets that arrive.

use homa_core::layout::Layout;
use homa_core::msgin::{MsgIn, Range};
use homa_core::rpc::{self, Action, Arrival, Role, Rpc};
use homa_core::session::replay::Verdict;
use homa_core::session::seq::MessageId;
use homa_core::window::ResponseLimit;
use homa_core::wire::{Ack, Body, Control, Packet as Parsed};

use super::super::session::{Opened, Opening};
use super::{Full, Key, PORT};
use crate::host::{Event, Received, Time};
use crate::packet::{Digest, HostId, Packet, Payload};

/// What is kept of an incoming message.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Plain: of all that is here.
    digest: Digest,
    /// Sealed: its records.
    opening: Option<Opening>,
}

impl Incoming {
    /// Is all that is here found good?
    fn is_open(&self) -> bool {
        self.opening.as_ref().is_none_or(Opening::is_open)
    }

    fn keep(&mut self, place: u32, kept: Range, payload: &Payload) {
        match &mut self.opening {
            Some(opening) => opening.keep(payload, place, kept),
            None => self.digest.add(payload.digest(place, kept)),
        }
    }
}

/// What a DATA packet says.
struct Said {
    layout: Layout,
    offset: u32,
    incoming: u32,
    again: bool,
    cutoff_version: u16,
    limit: ResponseLimit,
}

impl Full {
    pub(super) fn receive(&mut self, now: Time, packet: &Packet) {
        let Ok(parsed) = Parsed::parse(packet.head(), packet.len() as usize) else {
            self.drops += 1;
            return;
        };
        let key = (packet.source, parsed.common.local_id());
        match (parsed.body, self.setup.sealed.is_some()) {
            (Body::Data(data), false) => {
                self.peer(key.0).pulse.heard(now);
                if let Some(ack) = data.ack {
                    self.handle_ack(key.0, &ack);
                }
                let Some(layout) = Layout::plain(data.message_length) else { return };
                let said = Said {
                    layout,
                    offset: data.offset,
                    incoming: data.incoming,
                    again: data.retransmit,
                    cutoff_version: data.cutoff_version,
                    limit: data.response_limit,
                };
                self.data(now, key, &said, &packet.payload);
            }
            (Body::SealedData(data), true) => {
                let offset = data.stream_offset(Some(packet.ip_id));
                let (Ok(offset), Some(layout)) = (offset, data.layout()) else { return };
                let said = Said {
                    layout,
                    offset,
                    incoming: data.incoming,
                    again: data.retransmit,
                    cutoff_version: data.cutoff_version,
                    limit: data.response_limit,
                };
                self.data(now, key, &said, &packet.payload);
            }
            (Body::Control(control), false) => {
                self.peer(key.0).pulse.heard(now);
                self.control(now, key, &control);
            }
            (Body::SealedControl(control), true) => {
                let session = self.peer(key.0).session.as_mut();
                if session.is_some_and(|session| session.open_control(&control, packet.head())) {
                    self.peer(key.0).pulse.heard(now);
                    self.control(now, key, &control.inner);
                } else {
                    self.drops += 1;
                }
            }
            _ => self.drops += 1,
        }
    }

    fn data(&mut self, now: Time, key: Key, said: &Said, payload: &Payload) {
        if !self.rpcs.contains_key(&key) && !self.admit(now, key, said) {
            self.drops += 1;
            return;
        }
        self.tell_cutoffs(now, key.0, key.1, said.cutoff_version);
        let config = self.setup.config;
        let sealed = said.layout.is_sealed();
        let Some(rpc) = self.rpcs.get_mut(&key) else { return };
        if sealed && rpc.core.is_receiving() {
            match &rpc.incoming.opening {
                Some(opening) if opening.layout == said.layout => {}
                Some(Opening { preamble: Some(_), .. }) => {
                    self.drops += 1;
                    return;
                }
                before => {
                    // Until something authenticated, the last packet is as good as the first.
                    if before.is_some() {
                        rpc.core.forget_message();
                    }
                    rpc.incoming.opening = Some(Opening::new(said.layout));
                }
            }
        }
        if rpc.core.msgin().is_none() && rpc.core.is_receiving() {
            self.learner.message(said.layout.stream_length(), said.incoming);
        }
        let range = Range { start: said.offset, end: said.offset + payload.len };
        let arrival = Arrival {
            length: said.layout.stream_length(),
            incoming: said.incoming,
            payload: range,
            sealed,
            again: said.again,
        };
        let rpc::Data::Keep(kept) = rpc.core.handle_arrival(now, &config, &arrival) else {
            self.drops += 1;
            return;
        };
        rpc.incoming.keep(said.offset, kept, payload);
        if rpc.core.role() == Role::Server {
            rpc.core.set_response_limit(said.limit);
        }
        if sealed && !self.open(now, key) {
            return;
        }
        let Some(rpc) = self.rpcs.get_mut(&key) else { return };
        let (round_trip, news) = (rpc.core.take_round_trip(), rpc.core.take_news());
        let due = rpc.core.is_report_due();
        let pace = due.then(|| rpc.core.pace_in(now)).flatten();
        if rpc.core.role() == Role::Client && rpc.core.phase() != rpc::Phase::Sending {
            // The response began: the request is not needed any more.
            rpc.out = None;
            rpc.again.clear();
            if let Some(turn) = rpc.turn.take() {
                self.pacer.remove(turn);
            }
        }
        let (speed, usual) = (self.setup.link_bps, self.usual());
        let peer = self.peer(key.0);
        peer.path.set_usual(usual);
        let window = peer.path.window(speed, &config);
        peer.path.arrived(kept.len(), speed, &config);
        if let Some(news) = news {
            peer.path.learn(now, news);
        }
        if let Some(speed) = pace {
            peer.path.carried_in(now, speed);
        }
        if let Some(ns) = round_trip {
            peer.path.sample(now, ns);
            self.typical.sample(now, ns);
        }
        let Some(rpc) = self.rpcs.get_mut(&key) else { return };
        if rpc.core.is_report_due() {
            // Without memory: with the next packet or timer.
            let _ = rpc.core.report(&mut self.grants, || key, u64::from(key.0), window);
        }
        if rpc.core.is_deliverable() && rpc.incoming.is_open() {
            self.deliver(now, key, said);
        } else {
            self.ask(now, key);
            self.touch(key);
        }
    }

    /// Makes an RPC for a new request; false if it is none.
    fn admit(&mut self, now: Time, key: Key, said: &Said) -> bool {
        if key.1 & 1 == 0 {
            return false;
        }
        let config = self.setup.config;
        let sealed = said.layout.is_sealed();
        let peer = self.peer(key.0);
        if sealed {
            let (Some(session), Some(id)) = (&peer.session, MessageId::new(key.1 ^ 1)) else {
                return false;
            };
            if matches!(session.seen.check(id), Verdict::Seen | Verdict::Dead) {
                return false;
            }
        } else if peer.recent.contains(key.1) {
            return false;
        }
        let path = peer.path;
        let msgin = MsgIn::new(said.layout.stream_length(), said.incoming);
        let mut core = Rpc::server(now, &config, msgin);
        core.set_rto(now, path.rto(&config), path.reordering(&config));
        self.insert(key, core, None);
        self.touch(key);
        self.learner.message(said.layout.stream_length(), said.incoming);
        true
    }

    /// Opens what is complete; false if the RPC has nothing any more, or is gone.
    fn open(&mut self, now: Time, key: Key) -> bool {
        let Some(id) = MessageId::new(key.1 ^ 1) else { return false };
        let mut any = false;
        loop {
            let session = self.peers.get_mut(&key.0).and_then(|peer| peer.session.as_mut());
            let (Some(session), Some(rpc)) = (session, self.rpcs.get_mut(&key)) else {
                return false;
            };
            let is_client = rpc.core.role() == Role::Client;
            let core = &mut rpc.core;
            let Some(opening) = rpc.incoming.opening.as_mut() else { return false };
            let was_proven = opening.preamble.is_some();
            match opening.open_next(session, id, |range| core.has(range)) {
                None => break,
                Some(Opened::Nothing) => {
                    self.drops += 1;
                    core.forget_message();
                    rpc.incoming = Incoming::default();
                    if !is_client {
                        self.free(key);
                    }
                    return false;
                }
                Some(Opened::False(range)) => {
                    self.drops += 1;
                    if !core.forget(range) {
                        self.free_broken(key);
                        return false;
                    }
                }
                Some(Opened::True(_)) => {
                    let preamble = opening.preamble.filter(|_| !was_proven && !is_client);
                    core.prove(now);
                    any = true;
                    let Some(preamble) = preamble else { continue };
                    let dead = session.seen.advance_floor(id, preamble.floor_distance);
                    if session.seen.mark(id).is_err() {
                        self.drops += 1;
                        self.free(key);
                        return false;
                    }
                    for dead in dead.into_iter().flatten().step_by(2) {
                        self.free((key.0, dead | 1));
                    }
                }
            }
        }
        if any {
            self.peer(key.0).pulse.heard(now);
        }
        true
    }

    /// There is no memory to remember what is missing of a message: as if its bytes had never come.
    fn free_broken(&mut self, key: Key) {
        if let Some(rpc) = self.rpcs.get_mut(&key) {
            if rpc.core.role() == Role::Client {
                rpc.core.forget_message();
                rpc.incoming = Incoming::default();
                return;
            }
        }
        self.free(key);
    }

    fn deliver(&mut self, now: Time, key: Key, said: &Said) {
        let Some(rpc) = self.rpcs.get_mut(&key) else { return };
        rpc.core.deliver();
        rpc.delivered = true;
        let stream_length = said.layout.stream_length();
        let (length, digest) = match &rpc.incoming.opening {
            Some(opening) => (opening.preamble.map_or(0, |p| p.length), opening.digest()),
            None => (stream_length, rpc.incoming.digest),
        };
        let message = Received { length, stream_length, digest };
        let (peer, id) = (key.0, key.1 & !1);
        if rpc.core.role() == Role::Server {
            self.events.push_back(Event::Request { peer, id, message });
            return;
        }
        let sample = rpc.core.rtt_sample(now);
        // Both of a packet: hardly more than a round trip of the network.
        let packet = self.cut.packet();
        let short = said.layout.stream_length() <= packet
            && rpc.core.out().is_some_and(|out| out.length() <= packet);
        let request = rpc.core.out().map_or(0, |out| out.length());
        let (speed, config) = (self.setup.link_bps, self.setup.config);
        if let Some(ns) = sample {
            let peer = self.peer(key.0);
            peer.rtt.sample(ns);
            peer.path.departed(request, speed, &config);
            if short {
                peer.path.sample(now, ns);
                self.typical.sample(now, ns);
            }
        }
        self.free(key);
        if self.setup.sealed.is_none() {
            self.add_ack(now, key);
        }
        self.events.push_back(Event::Response { peer, id, message });
    }

    fn handle_ack(&mut self, peer: HostId, ack: &Ack) {
        let key = (peer, ack.client_id ^ 1);
        if ack.server_port != PORT {
            return;
        }
        let Some(rpc) = self.rpcs.get_mut(&key) else { return };
        let sent = rpc.core.out().map_or(0, |out| out.length());
        if rpc.core.handle_ack() == Action::Free {
            self.free(key);
            let (speed, config) = (self.setup.link_bps, self.setup.config);
            self.peer(peer).path.departed(sent, speed, &config);
        }
    }

    fn control(&mut self, now: Time, key: Key, control: &Control) {
        match control {
            Control::Ack(acks) => {
                return acks.as_slice().iter().for_each(|ack| self.handle_ack(key.0, ack));
            }
            Control::Cutoffs { cutoffs, version } => {
                return self.peer(key.0).cutoffs.learn(*cutoffs, *version);
            }
            _ => {}
        }
        let config = self.setup.config;
        let Some(rpc) = self.rpcs.get_mut(&key) else {
            match control {
                Control::NeedAck if key.1 & 1 == 0 => {
                    self.send_control(now, key, &Self::ack(key.1));
                }
                Control::Resend { .. } => self.send_control(now, key, &Control::Unknown),
                _ => self.drops += 1,
            }
            return;
        };
        let action = match control {
            Control::Grant { offset, priority } => {
                let action = rpc.core.handle_grant_at(now, *offset, *priority);
                if let Some(speed) = rpc.core.pace_out(now) {
                    self.peer(key.0).path.carried_out(now, speed);
                }
                action
            }
            Control::Resend { offset, length, .. } => {
                rpc.core.handle_resend(now, *offset, length.unwrap_or(u32::MAX))
            }
            Control::Unknown => rpc.core.handle_unknown(now, &config),
            Control::Busy => rpc.core.handle_busy(now, &config),
            Control::NeedAck => rpc.core.handle_need_ack(now),
            Control::Ack(_) | Control::Cutoffs { .. } | Control::Freeze => Action::None,
        };
        self.perform(now, key, action);
        self.push_out(now, key);
        self.touch(key);
    }
}
