// SPDX-License-Identifier: GPL-2.0

//! A message of more than a packet.

use kernel::prelude::*;

use crate::protocol::layout::{Cut, Segment};
use crate::protocol::msgin::Range;
use crate::protocol::msgout::MsgOut;
use crate::protocol::wire::{Common, Data, SealedData, DATA_LEN, SEALED_DATA_LEN};
use crate::sys::builder::SkbBuilder;
use crate::sys::route::Dst;
use crate::sys::skb::{Gso, SkBuff, Skb};
use crate::sys::skbq::SkbQueue;
use crate::sys::sock::Sock;
use crate::sys::user::plain;
use crate::transport::pacing::Way;

/// The header that all packets of a message share but for their place.
#[derive(Clone, Copy)]
pub(super) enum Template {
    Plain(Data),
    Sealed(SealedData),
}

plain! {
    /// Which bytes of the stream a kept segment has (in its control block).
    struct Kept {
        start: u32,
        end: u32,
        first_record: u32,
    }
}

/// Each segment of up to 64 KiB is one skb, headers and all. What are sent are *clones*, which share the
/// bytes: nobody changes those any more. The stack or the device cuts segments into packets.
pub(super) struct Segments {
    common: Common,
    template: Template,
    cut: Cut,
    kept: SkbQueue,
}

impl Segments {
    /// None yet. Sleeps. ENOMEM.
    pub(super) fn new(common: Common, template: Template, cut: Cut) -> Result<KBox<Self>> {
        Ok(KBox::new(Self { common, template, cut, kept: SkbQueue::new() }, GFP_KERNEL)?)
    }

    /// Keeps a filled segment, whose header is there too.
    pub(super) fn keep(&mut self, mut builder: SkbBuilder, sk: &Sock, segment: &Segment) {
        let skb = builder.as_skb();
        skb.set_transport_header_here();
        skb.set_checksum_unnecessary();
        skb.set_owner_w(sk);
        let len = segment.stream.len();
        if len > self.cut.packet() {
            // SCTP's kind: only software devices claim to cut that, so that whoever cuts ours
            // calls our own callback.
            skb.set_gso(Gso {
                size: self.cut.packet() as u16,
                segs: self.cut.packets_for(len) as u16,
                kind: Gso::SCTP,
            });
        }
        skb.set_cb(&Kept {
            start: segment.stream.start,
            end: segment.stream.end,
            first_record: u32::from(segment.first_record),
        });
        self.kept.push_back(builder.finish_kept());
    }

    /// As [`Outgoing::transmit`](super::Outgoing::transmit).
    pub(super) fn transmit(
        &mut self,
        way: &Way,
        progress: &mut MsgOut,
        queue: &mut SkbQueue,
        may: &mut impl FnMut(u32, u32, u32) -> bool,
    ) -> bool {
        for skb in self.kept.iter() {
            if !progress.can_send() {
                break;
            }
            let kept: Kept = skb.cb();
            if kept.end <= progress.sent() {
                continue;
            }
            let bytes = kept.end.saturating_sub(kept.start);
            if !may(progress.unsent(), bytes, self.cut.packets_for(bytes)) {
                return false;
            }
            // Without memory it counts as sent all the same: lost, and asked for again.
            if let Ok(copy) = again(skb, way) {
                queue.push_back(copy);
            }
            progress.advance(kept.end);
        }
        true
    }

    /// As [`Outgoing::retransmit`](super::Outgoing::retransmit).
    ///
    /// Packet by packet, each of which says that it comes again. (And HomaModule reads the sequence of a packet in its GRO
    /// callback alone, so plain ones tell their offset to those that the callback never saw.)
    pub(super) fn retransmit(
        &self,
        sk: &Sock,
        way: &Way,
        range: Range,
        progress: &MsgOut,
        queue: &mut SkbQueue,
    ) {
        for skb in self.kept.iter() {
            let kept: Kept = skb.cb();
            let whole = Range { start: kept.start, end: kept.end };
            if let Some(part) = range.intersect(&whole) {
                self.retransmit_part(sk, way, skb, &kept, part, progress, queue);
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn retransmit_part(
        &self,
        sk: &Sock,
        way: &Way,
        skb: &Skb,
        kept: &Kept,
        part: Range,
        progress: &MsgOut,
        queue: &mut SkbQueue,
    ) {
        let segment = Segment { stream: part, plaintext: part, first_record: 0, records: 0 };
        for packet in segment.packets(&self.cut) {
            let incoming = progress.incoming(packet.end);
            way.passes(packet.len(), 1);
            if let Ok(skb) = self.one_packet(sk, way, skb, kept, packet, incoming) {
                queue.push_back(skb);
            }
        }
    }

    /// A packet with the bytes `packet` of the stream, which are in `skb`. It says that bytes up to `incoming` come unasked: after
    /// a restart that is less than what the message began with, and the rest needs grants.
    fn one_packet(
        &self,
        sk: &Sock,
        dst: &Dst,
        skb: &Skb,
        kept: &Kept,
        packet: Range,
        incoming: u32,
    ) -> Result<SkBuff> {
        let len = packet.len() as usize;
        let place = packet.start.saturating_sub(kept.start);
        let mut builder =
            SkbBuilder::new(dst.headroom() + SEALED_DATA_LEN, len, false, GFP_ATOMIC)?;
        let header = match &self.template {
            Template::Plain(_) => DATA_LEN,
            Template::Sealed(_) => SEALED_DATA_LEN,
        };
        for run in skb.runs(header + place as usize, len) {
            builder.append(run)?;
        }
        match self.template {
            Template::Plain(mut data) => {
                data.retransmit = true;
                data.incoming = incoming;
                data.offset = packet.start;
                builder.push(&data.emit_packet(&self.common))?;
            }
            Template::Sealed(mut data) => {
                data.retransmit = true;
                data.incoming = incoming;
                data.first_record = kept.first_record as u16;
                data.sequence = place;
                builder.push(&data.emit(&self.common))?;
            }
        }
        let skb = builder.as_skb();
        skb.set_transport_header_here();
        skb.set_checksum_unnecessary();
        skb.set_owner_w(sk);
        Ok(builder.finish())
    }
}

/// What to send of a segment that is kept.
fn again(skb: &Skb, dst: &Dst) -> Result<SkBuff> {
    if skb.is_cloned() {
        // The one sent before is still under way, with its IP header in the headroom.
        skb.copy_linear(dst.headroom(), GFP_ATOMIC)
    } else {
        skb.try_clone(GFP_ATOMIC)
    }
}
