// SPDX-License-Identifier: GPL-2.0

//! Handing packets to IP. No lock is held here.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::endpoint::Endpoint;
use super::pacing::Way;
use super::peer::Peer;
use super::rpc::Rpc;
use crate::observe::counters::Counter;
use crate::observe::trace;
use crate::protocol::msgin::Range;
use crate::protocol::wire::{Acks, Control, Header, PacketType};
use crate::protocol::{priority, rpc as core, wire};
use crate::sys::builder::SkbBuilder;
use crate::sys::lock::NoBottomHalves;
use crate::sys::skbq::SkbQueue;
use crate::tls::Session;

impl Endpoint {
    /// Sends what was collected for `rpc`, with the priority `level`.
    pub(super) fn send_all(&self, rpc: &Rpc, way: &Way, level: u8, mut queue: SkbQueue) {
        if rpc.session.is_none() && rpc.peer.is_sealed() {
            // A session began meanwhile: nothing leaves in clear any more.
            return;
        }
        self.ns.stats.sent(PacketType::Data, queue.len() as u64);
        let tos = self.tos(level);
        // Nothing comes between them: what the first ones let in may be a GRANT, whose bytes would overtake the rest.
        let _together = (queue.len() > 1).then(NoBottomHalves::begin);
        while let Some(skb) = queue.pop_front() {
            if way.xmit(&self.sk, skb, tos).is_err() {
                self.ns.stats.inc(Counter::SendErrors);
            }
        }
    }

    /// Sends what of the outgoing message may be sent and was not yet.
    pub(super) fn push_out(self: &Arc<Self>, rpc: &Arc<Rpc>) {
        let Ok(way) = rpc.peer.route(self) else {
            return;
        };
        let mut queue = SkbQueue::new();
        let level = rpc.transmit(self, &way, &mut queue);
        self.send_all(rpc, &way, level, queue);
    }

    /// Sends part of the outgoing message again.
    pub(super) fn send_again(&self, rpc: &Rpc, range: Range) {
        let Ok(way) = rpc.peer.route(self) else {
            return;
        };
        trace::retransmit(rpc, rpc.message_name(true), range.start, range.len());
        let mut queue = SkbQueue::new();
        let state = rpc.state.lock();
        if let (Some(out), Some(progress)) = (&state.out, state.core.out()) {
            let packets = out.retransmit(&state.short, &self.sk, &way, range, progress, &mut queue);
            self.ns.stats.add(Counter::Retransmits, packets);
        }
        drop(state);
        // What somebody waits for already goes first.
        self.send_all(rpc, &way, priority::HIGHEST, queue);
    }

    /// Sends what the core decided.
    pub(super) fn send_core_control(&self, rpc: &Rpc, control: core::Control) {
        let control = match control {
            core::Control::Grant(offset) => Control::Grant { offset, priority: 0 },
            core::Control::Resend(range) => {
                trace::resend(rpc, "sent", range.start, range.len());
                Control::Resend {
                    offset: range.start,
                    length: Some(range.len()),
                    priority: priority::HIGHEST,
                }
            }
            core::Control::ResendAll => {
                trace::resend(rpc, "sent", 0, u32::MAX);
                Control::Resend { offset: 0, length: None, priority: priority::HIGHEST }
            }
            core::Control::Busy => Control::Busy,
            core::Control::NeedAck => Control::NeedAck,
            core::Control::Ack => {
                let mut acks = Acks::new();
                acks.push(wire::Ack { client_id: rpc.id, server_port: rpc.peer.name.port });
                Control::Ack(acks)
            }
        };
        self.send_control(&rpc.peer, rpc.session.as_deref(), rpc.id, &control);
    }

    /// Sends a control packet about the RPC that this end knows as `id`.
    pub(super) fn send_control(
        &self,
        peer: &Peer,
        session: Option<&Session>,
        id: u64,
        control: &Control,
    ) {
        let common = self.common(peer, id);
        let header = match session {
            Some(session) => {
                let Ok(header) = session.seal_control(control, &common) else {
                    return;
                };
                self.tell_usage(peer.name, session);
                header
            }
            None if peer.is_sealed() => return,
            None => control.emit(&common),
        };
        self.ns.stats.sent(control.packet_type(), 1);
        let level = priority::of_control(control);
        if self.send_header(peer, &header, level).is_err() {
            self.ns.stats.inc(Counter::SendErrors);
        }
    }

    fn send_header(&self, peer: &Peer, header: &Header, level: u8) -> Result {
        let way = peer.route(self)?;
        let bytes = header.as_slice();
        way.passes(bytes.len() as u32, 1);
        let mut builder = SkbBuilder::new(way.headroom(), bytes.len(), false, GFP_ATOMIC)?;
        builder.append(bytes)?;
        let skb = builder.as_skb();
        skb.set_transport_header_here();
        skb.set_checksum_unnecessary();
        skb.set_owner_w(&self.sk);
        way.xmit(&self.sk, builder.finish(), self.tos(level))
    }

    /// DSCP (or the traffic class) of packets with the priority `level`: the class selectors, as in HomaModule, unless the
    /// program chose one.
    fn tos(&self, level: u8) -> u8 {
        match self.sk.tos() {
            0 => level << 5,
            chosen => chosen,
        }
    }
}
