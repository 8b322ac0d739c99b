// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sending: what may go, through the pacer to the device.

use homa_core::msgin::Range;
use homa_core::msgout::MsgOut;
use homa_core::priority::{of_control, HIGHEST};
use homa_core::rpc;
use homa_core::wire::{Ack, Acks, Control, Data, SealedData};

use super::{Full, Key, State, PORT};
use crate::host::Time;
use crate::packet::{HostId, Packet, Payload};

impl State {
    /// Bytes that could be sent now; 0: nothing.
    fn sendable(&self) -> u32 {
        let new = self.core.out().map_or(0, |out| out.granted().saturating_sub(out.sent()));
        let again: u32 = self.again.iter().map(Range::len).sum();
        if self.out.is_some() {
            new + again
        } else {
            0
        }
    }

    /// Bytes that are left of the message: what SRPT goes by.
    fn left(&self) -> u32 {
        let again: u32 = self.again.iter().map(Range::len).sum();
        self.core.out().map_or(0, MsgOut::unsent) + again
    }
}

impl Full {
    pub(super) fn send_control(&mut self, now: Time, (peer, id): Key, control: &Control) {
        let common = Self::common(id);
        let header = match &mut self.peer(peer).session {
            Some(session) => session.seal_control(control, &common),
            None => Some(control.emit(&common)),
        };
        let Some(header) = header else { return };
        let packet =
            Packet::new(self.setup.id, peer, of_control(control), header.as_slice(), Payload::NONE);
        self.hand_down(now, packet);
    }

    fn hand_down(&mut self, now: Time, packet: Packet) {
        self.pacer.sent(now, packet.wire_len());
        self.outbox.push_back(packet);
    }

    pub(super) fn send_core_control(&mut self, now: Time, key: Key, control: rpc::Control) {
        let resend = |offset, length| Control::Resend { offset, length, priority: HIGHEST };
        let control = match control {
            rpc::Control::Grant(offset) => Control::Grant { offset, priority: 0 },
            rpc::Control::Resend(range) => resend(range.start, Some(range.len())),
            rpc::Control::ResendAll => resend(0, None),
            rpc::Control::Busy => Control::Busy,
            rpc::Control::NeedAck => Control::NeedAck,
            rpc::Control::Ack => Self::ack(key.1),
        };
        self.send_control(now, key, &control);
    }

    pub(super) fn ack(id: u64) -> Control {
        let mut acks = Acks::new();
        acks.push(Ack { client_id: id, server_port: PORT });
        Control::Ack(acks)
    }

    /// The scheduler's decisions. The kernel takes them out under the scheduler's lock, then takes one RPC's lock
    /// after the other, and sends without any.
    pub(super) fn poll_grants(&mut self, now: Time) {
        let levels = self.learner.scheduled_levels();
        while let Some(grant) = self.grants.poll(levels) {
            let Some(rpc) = self.rpcs.get_mut(&grant.handle) else { continue };
            if rpc.core.grant(now, grant.offset) {
                let control = Control::Grant { offset: grant.offset, priority: grant.priority };
                self.send_control(now, grant.handle, &control);
                self.touch(grant.handle);
            }
        }
    }

    /// Sends what of the RPC's outgoing message may be sent, or has it wait for its turn.
    pub(super) fn push_out(&mut self, now: Time, key: Key) {
        loop {
            let Some(rpc) = self.rpcs.get_mut(&key) else { return };
            if rpc.sendable() == 0 || rpc.turn.is_some() {
                return;
            }
            let left = rpc.left();
            if !self.pacer.may_send(now, left) {
                // Without memory a queue that is too long is better than a message that hangs.
                if let Ok(turn) = self.pacer.wait(key, left) {
                    rpc.turn = Some(turn);
                    return;
                }
            }
            let Some(packet) = self.next_data(key) else { return };
            self.hand_down(now, packet);
        }
    }

    /// Lets those that wait go, as far as the device has room.
    pub(super) fn run_pacer(&mut self, now: Time) {
        while let Some(turn) = self.pacer.poll(now) {
            let key = turn.handle;
            let packet = self.next_data(key);
            let Some(rpc) = self.rpcs.get_mut(&key) else {
                self.pacer.remove(turn.token);
                continue;
            };
            let left = if rpc.sendable() == 0 { 0 } else { rpc.left() };
            if left == 0 {
                rpc.turn = None;
            }
            self.pacer.left(turn.token, packet.map_or(0, |p| p.payload.len), left);
            if let Some(packet) = packet {
                self.hand_down(now, packet);
            }
        }
    }

    /// The next packet of an RPC's outgoing message.
    fn next_data(&mut self, key: Key) -> Option<Packet> {
        let (peer, id) = key;
        let rpc = self.rpcs.get_mut(&key)?;
        let out = rpc.out.as_ref()?;
        let sealed = out.layout.is_sealed();
        let cut = if sealed { self.sealed_cut } else { self.cut };
        let (range, retransmit) = match rpc.again.front_mut() {
            Some(range) => {
                let end = range.end.min(range.start + cut.packet());
                let part = Range { start: std::mem::replace(&mut range.start, end), end };
                if range.len() == 0 {
                    rpc.again.pop_front();
                }
                (part, true)
            }
            None => {
                let progress = rpc.core.out_mut().filter(|out| out.can_send())?;
                let start = progress.sent();
                let end = (start + cut.packet()).min(progress.length());
                progress.advance(end);
                (Range { start, end }, false)
            }
        };
        let progress = rpc.core.out()?;
        let incoming = progress.incoming(range.end);
        let granted = progress.priority();
        let response_limit = out.limit;
        let length = out.layout.length();
        let plain = Payload {
            content: out.message.content,
            start: range.start,
            len: range.len(),
            ..Payload::NONE
        };
        let sealed = match &out.sealed {
            Some(sealed) => Some(sealed.packet(range, incoming, retransmit)?),
            None => None,
        };
        let common = Self::common(id);
        let host = self.setup.id;
        let peer_state = self.peer(peer);
        let theirs = *peer_state.cutoffs.theirs();
        // What was granted goes as the newest grant says; the rest by its length.
        let priority = granted.unwrap_or_else(|| theirs.level(length));
        if let Some((data, payload)) = sealed {
            let window = cut.packet() as u16;
            let cutoff_version = theirs.version;
            let data = SealedData { cutoff_version, response_limit, window, ..data };
            return Some(Packet::new(host, peer, priority, &data.emit(&common), payload));
        }
        let ack = peer_state.acks.pop();
        let data = Data {
            message_length: length,
            incoming,
            ack: ack.map(|client_id| Ack { client_id, server_port: PORT }),
            cutoff_version: theirs.version,
            retransmit,
            response_limit,
            offset: range.start,
            payload: range.len(),
        };
        Some(Packet::new(host, peer, priority, &data.emit(&common), plain))
    }

    pub(super) fn add_ack(&mut self, now: Time, (peer, id): Key) {
        if let Some(ids) = self.peer(peer).acks.push(id) {
            let mut acks = Acks::new();
            for client_id in ids {
                acks.push(Ack { client_id, server_port: PORT });
            }
            self.send_control(now, (peer, id), &Control::Ack(acks));
        }
    }

    /// Tells a peer how to set priorities, if it does not know.
    pub(super) fn tell_cutoffs(&mut self, now: Time, peer: HostId, id: u64, version: u16) {
        let ours = *self.learner.cutoffs();
        let pause = self.setup.config.resend_first;
        if self.peer(peer).cutoffs.is_due(now, version, &ours, pause) {
            let control = Control::Cutoffs { cutoffs: ours.longest, version: ours.version };
            self.send_control(now, (peer, id), &control);
        }
    }
}
