// SPDX-License-Identifier: GPL-2.0

//! An outgoing message: its bytes as packets that are kept until the peer has them.
//!
//! The message is cut into segments of up to 64 KiB when it is handed in; each is one skb, headers
//! and all, sealed already if there is a session. What is sent are *clones*, which share the
//! bytes: nobody changes those any more. The stack or the device cuts segments into packets.
//! Of a message that fits one packet the bytes are kept, and the packet itself is sent: that is
//! cheaper than a clone, of which somebody below may need a copy.
//!
//! A retransmission is the same bytes again, in packets made for it.

use kernel::prelude::*;

use super::pacing::Way;
use crate::protocol::layout::{Cut, Layout, Segment};
use crate::protocol::msgin::Range;
use crate::protocol::msgout::MsgOut;
use crate::protocol::session::preamble::Padding;
use crate::protocol::session::seq::MessageId;
use crate::protocol::window::ResponseLimit;
use crate::protocol::wire::{at, Common, Data, SealedData, DATA_LEN, SEALED_DATA_LEN};
use crate::sys::builder::SkbBuilder;
use crate::sys::inline::InlineBytes;
use crate::sys::pagebytes::PageBytes;
use crate::sys::route::Dst;
use crate::sys::skb::{Gso, SkBuff, Skb};
use crate::sys::skbq::SkbQueue;
use crate::sys::sock::{Sock, WmemCharge};
use crate::sys::uio::IovIter;
use crate::sys::user::plain;
use crate::tls::{self, HeldKeys, Session};

/// Largest IP packet, and so segment.
const MAX_IP: usize = 65_535;

/// The header that all packets of a message share but for their place.
#[derive(Clone, Copy)]
enum Template {
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

/// How a message is sent.
pub(crate) struct Terms {
    /// So many bytes without a grant.
    pub(super) unscheduled: u32,
    /// The priority of those.
    pub(super) level: u8,
    /// The version of the peer's cutoffs that this follows.
    pub(super) cutoff_version: u16,
    /// What is wanted of the response at a time.
    pub(super) response_limit: ResponseLimit,
    /// How its length is hidden, if it is sealed.
    pub(super) padding: Padding,
}

/// With what a message is going to be sealed. Nothing of it is sealed yet.
pub(crate) struct Sealing {
    tx: HeldKeys,
    /// Bytes of the program.
    length: u32,
    layout: Layout,
    cut: Cut,
}

impl Sealing {
    /// For a message of `length` bytes to `dst`. ENOKEY; EKEYEXPIRED if the key is used up; EMSGSIZE.
    pub(crate) fn new(way: &Way, session: &Session, length: u32, terms: &Terms) -> Result<Self> {
        let tx = session.hold_tx().ok_or(ENOKEY)?;
        let plaintext = terms.padding.preamble(length, 0).message_length();
        let cut = cut_for(way, SEALED_DATA_LEN, plaintext, terms)?;
        let layout = tls::layout(tx.version(), plaintext, cut.segment()).ok_or(EMSGSIZE)?;
        session.take(&tx, &layout)?;
        Ok(Self { tx, length, layout, cut })
    }
}

/// A message on its way out.
pub(crate) struct Outgoing {
    common: Common,
    template: Template,
    layout: Layout,
    cut: Cut,
    /// The priority of what goes without a grant.
    level: u8,
    store: Store,
    /// Its key, which is needed no more: but the session must not go on to the key after the next before this is done.
    _keys: Option<HeldKeys>,
}

/// The bytes of a message that is one short packet, from the transport header on. They are not part of [`Outgoing`], which is moved
/// before it is where it stays.
pub(crate) type Short = InlineBytes<MAX_SHORT>;

/// What fits into the allocation of an RPC anyway.
const MAX_SHORT: usize = 256;

/// Messages of one packet that are longer (on the loopback device) are kept as segments are: they need no memory in one piece.
const MAX_WHOLE: u32 = 16 << 10;

/// What is kept of a message.
enum Store {
    /// All of it, in one packet of [`MAX_WHOLE`] bytes at most.
    Packet {
        /// That packet, until it is sent.
        fresh: Option<SkBuff>,
        /// So many of its linear bytes, from the transport header on, are [`Short`] once it is sent.
        head: u16,
        /// Those behind them.
        rest: Option<PageBytes>,
        _charge: WmemCharge,
    },
    /// Its segments.
    Segments(SkbQueue),
}

/// More than a record adds to its plaintext.
const RECORD_OVERHEAD: usize = 64;

/// How packets of a message of `length` bytes are cut if the transport header has `header` bytes. Segments, which are sent whole, are no longer
/// than what may be sent at a time, and take a slow device no longer than its queue.
fn cut_for(way: &Way, header: usize, length: u32, terms: &Terms) -> Result<Cut> {
    let headers = way.ip_header_len() + header;
    let packet = way.mtu().min(MAX_IP).checked_sub(headers).ok_or(EMSGSIZE)?;
    if (length as usize).saturating_add(RECORD_OVERHEAD) <= packet {
        return Cut::new(packet as u32, packet as u32).ok_or(EMSGSIZE);
    }
    let segment = way.gso_max_size().min(MAX_IP).saturating_sub(headers);
    let most = terms.unscheduled.min(way.longest_segment()) as usize;
    let segment = segment.min(most.max(packet));
    Cut::new(packet as u32, segment as u32).ok_or(EMSGSIZE)
}

/// Everything below the returned offset is sent without a grant: `unscheduled` bytes, in whole
/// segments.
fn unasked(layout: &Layout, cut: &Cut, unscheduled: u32) -> u32 {
    if layout.stream_length() <= cut.packet() && unscheduled != 0 {
        return layout.stream_length();
    }
    let range = Range { start: 0, end: unscheduled.min(layout.stream_length()) };
    layout.segments(cut, range).last().map_or(0, |s| s.stream.end)
}

impl Outgoing {
    /// Takes a plain message of `length` bytes from a program. Sleeps.
    pub(crate) fn plain(
        sk: &Sock,
        way: &Way,
        common: Common,
        mut data: Data,
        terms: &Terms,
        from: &mut IovIter,
    ) -> Result<Self> {
        let layout = Layout::plain(data.message_length).ok_or(EINVAL)?;
        let cut = cut_for(way, DATA_LEN, data.message_length, terms)?;
        data.incoming = unasked(&layout, &cut, terms.unscheduled);
        let mut store = Store::Segments(SkbQueue::new());
        let ack = data.ack.take();
        for segment in layout.segments(&cut, layout.stream()) {
            let len = segment.stream.len() as usize;
            let alone = segment.stream == layout.stream() && segment.stream.len() <= cut.packet();
            let mut rest = None;
            let mut builder = if alone
                && DATA_LEN.saturating_add(len) > MAX_SHORT
                && segment.stream.len() <= MAX_WHOLE
            {
                let mut builder = SkbBuilder::new(way.headroom() + DATA_LEN, 0, false, GFP_KERNEL)?;
                builder.append_page(rest.insert(PageBytes::from_iter(from, len)?))?;
                builder
            } else {
                let mut builder = new_segment(way, &cut, DATA_LEN, len)?;
                builder.append_iter(from, len)?;
                builder
            };
            let mut head = at_place(&data, &segment);
            if segment.stream.start == 0 {
                head.ack = ack;
            }
            let head = if alone { head.emit_packet(&common) } else { head.emit(&common) };
            builder.push(&head)?;
            store.keep(builder, head.len(), rest, sk, &layout, &cut, &segment)?;
        }
        let template = Template::Plain(data);
        Ok(Self { common, template, layout, cut, level: terms.level, store, _keys: None })
    }

    /// Takes a message from a program and seals it as message `id`: no other may be sealed as that one, whatever comes of this.
    /// Sleeps.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn sealed(
        sk: &Sock,
        way: &Way,
        common: Common,
        sealing: Sealing,
        id: MessageId,
        floor_distance: u16,
        terms: &Terms,
        from: &mut IovIter,
    ) -> Result<Self> {
        let Sealing { tx, length, layout, cut } = sealing;
        let mut data = SealedData {
            message_length: layout.length(),
            incoming: unasked(&layout, &cut, terms.unscheduled),
            cutoff_version: terms.cutoff_version,
            retransmit: false,
            response_limit: terms.response_limit,
            flags: tx.flags(),
            record_size: layout.record_size() as u16,
            first_record: 0,
            sequence: 0,
            window: cut.packet() as u16,
            place_from_ip_id: false,
            payload: 0,
        };
        let preamble = terms.padding.preamble(length, floor_distance).emit();
        let mut left = length;
        let mut store = Store::Segments(SkbQueue::new());
        for segment in layout.segments(&cut, layout.stream()) {
            let len = segment.stream.len() as usize;
            let mut builder = new_segment(way, &cut, SEALED_DATA_LEN, len)?;
            for record in layout.records_in(segment.stream) {
                let preamble: &[u8] = if record.index == 0 { &preamble } else { &[] };
                let bytes = record.plaintext.len().saturating_sub(preamble.len() as u32);
                let text = bytes.min(left);
                left = left.saturating_sub(text);
                let at = record.stream.start.saturating_sub(segment.stream.start) as usize;
                let builder = &mut builder;
                let mut seal = || {
                    if text == bytes
                        && tx.append_record(builder, preamble, from, text, id, record.index)?
                    {
                        return Ok(());
                    }
                    tx.begin_record(builder)?;
                    builder.append(preamble)?;
                    builder.append_iter(from, text as usize)?;
                    builder.append_zeros(bytes.saturating_sub(text) as usize)?;
                    let plaintext = record.plaintext.len() as u16;
                    tx.seal_record(builder, at, plaintext, id, record.index)
                };
                seal().inspect_err(|_: &Error| builder.wipe(at))?;
            }
            data.first_record = segment.first_record;
            let incoming = data.incoming;
            data.incoming = incoming.max(segment.stream.end);
            builder.push(&data.emit(&common))?;
            data.incoming = incoming;
            store.keep(builder, SEALED_DATA_LEN, None, sk, &layout, &cut, &segment)?;
        }
        let template = Template::Sealed(data);
        Ok(Self { common, template, layout, cut, level: terms.level, store, _keys: Some(tx) })
    }

    /// Records that were sealed for it.
    pub(crate) fn records(&self) -> u32 {
        self.layout.records()
    }

    /// Bytes of it that make sense alone, to be sent first when nothing was heard for long: a packet, or a record.
    pub(super) fn probe(&self) -> u32 {
        let first = self.layout.record(0).map_or(0, |record| record.stream.end);
        first.max(self.cut.packet())
    }

    /// Bytes of the message as it is sent.
    pub(crate) fn stream_length(&self) -> u32 {
        self.layout.stream_length()
    }

    /// The priority of what is sent now.
    pub(super) fn level(&self, progress: &MsgOut) -> u8 {
        progress.priority().unwrap_or(self.level)
    }

    /// Adds to `queue` what `progress` permits to be sent now, and marks it as sent. Of a message of more than a packet `may` is asked about each segment,
    /// with the bytes of the message that are not sent, those of the segment, and its packets; false (and what comes from there on is not sent) if it
    /// refuses. `short` is for this message alone.
    pub(crate) fn transmit(
        &mut self,
        short: &mut Short,
        sk: &Sock,
        way: &Way,
        progress: &mut MsgOut,
        queue: &mut SkbQueue,
        may: &mut impl FnMut(u32, u32, u32) -> bool,
    ) -> bool {
        let segments = match &mut self.store {
            Store::Segments(segments) => segments,
            Store::Packet { fresh, head, rest, .. } => {
                if progress.can_send() {
                    let packet = match fresh.take() {
                        Some(skb) => {
                            short.set(skb.head().get(..usize::from(*head)).unwrap_or_default());
                            Some(skb)
                        }
                        None => copy_of(short, rest.as_ref(), sk, way, false),
                    };
                    if let Some(skb) = packet {
                        queue.push_back(skb);
                    }
                    way.passes(self.layout.stream_length(), 1);
                    progress.advance(self.layout.stream_length());
                }
                return true;
            }
        };
        for skb in segments.iter() {
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

    /// Adds to `queue` the bytes of `range` once more. Returns the number of packets.
    pub(crate) fn retransmit(
        &self,
        short: &Short,
        sk: &Sock,
        way: &Way,
        range: Range,
        progress: &MsgOut,
        queue: &mut SkbQueue,
    ) -> u64 {
        let before = queue.len();
        let segments = match &self.store {
            Store::Segments(segments) => segments,
            Store::Packet { fresh, head, rest, .. } => {
                let bytes = match fresh {
                    Some(skb) => skb.head().get(..usize::from(*head)).unwrap_or_default(),
                    None => short,
                };
                let copy = copy_of(bytes, rest.as_ref(), sk, way, true);
                way.passes(self.layout.stream_length(), 1);
                let sent = u64::from(copy.is_some());
                if let Some(skb) = copy {
                    queue.push_back(skb);
                }
                return sent;
            }
        };
        // Packet by packet, each of which says that it comes again. (And HomaModule reads the sequence of a packet in its GRO
        // callback alone, so plain ones tell their offset to those that the callback never saw.)
        for skb in segments.iter() {
            let kept: Kept = skb.cb();
            let whole = Range { start: kept.start, end: kept.end };
            if let Some(part) = range.intersect(&whole) {
                self.retransmit_part(sk, way, skb, &kept, part, progress, queue);
            }
        }
        queue.len().saturating_sub(before) as u64
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

impl Store {
    /// Keeps a filled segment, whose header of `header` bytes is there too. `rest`: where what follows it is kept already, if it is a packet
    /// with all of the message.
    #[allow(clippy::too_many_arguments)]
    fn keep(
        &mut self,
        mut builder: SkbBuilder,
        header: usize,
        mut rest: Option<PageBytes>,
        sk: &Sock,
        layout: &Layout,
        cut: &Cut,
        segment: &Segment,
    ) -> Result {
        let skb = builder.as_skb();
        skb.set_transport_header_here();
        skb.set_checksum_unnecessary();
        skb.set_owner_w(sk);
        let len = segment.stream.len();
        if segment.stream == layout.stream() && len <= cut.packet().min(MAX_WHOLE) {
            let mut head = skb.head().len();
            if head > MAX_SHORT {
                head = header;
                rest = Some(PageBytes::copy_of(skb.head().get(header..).unwrap_or_default())?);
            }
            let kept = head.saturating_add(rest.as_ref().map_or(0, |rest| rest.len()));
            let _charge = WmemCharge::new(sk, kept as u32);
            // (A short one, or a header.)
            let head = head as u16;
            *self = Self::Packet { fresh: Some(builder.finish()), head, rest, _charge };
            return Ok(());
        }
        if len > cut.packet() {
            // SCTP's kind: only software devices claim to cut that, so that whoever cuts ours
            // calls our own callback.
            skb.set_gso(Gso {
                size: cut.packet() as u16,
                segs: cut.packets_for(len) as u16,
                kind: Gso::SCTP,
            });
        }
        skb.set_cb(&Kept {
            start: segment.stream.start,
            end: segment.stream.end,
            first_record: u32::from(segment.first_record),
        });
        if let Self::Segments(segments) = self {
            segments.push_back(builder.finish_kept());
        }
        Ok(())
    }
}

/// A packet with these bytes from its transport header on, and `rest` behind them. None without memory.
fn copy_of(
    head: &[u8],
    rest: Option<&PageBytes>,
    sk: &Sock,
    dst: &Dst,
    retransmit: bool,
) -> Option<SkBuff> {
    let mut builder = SkbBuilder::new(dst.headroom(), head.len(), false, GFP_ATOMIC).ok()?;
    builder.append(head).ok()?;
    if let Some(rest) = rest {
        builder.append_page(rest).ok()?;
    }
    if retransmit && !builder.write_at(at::RETRANSMIT, &[1]) {
        return None;
    }
    let skb = builder.as_skb();
    skb.set_transport_header_here();
    skb.set_checksum_unnecessary();
    skb.set_owner_w(sk);
    Some(builder.finish())
}

/// The header of a plain segment.
fn at_place(data: &Data, segment: &Segment) -> Data {
    Data { offset: segment.stream.start, incoming: data.incoming.max(segment.stream.end), ..*data }
}

/// An empty segment for `len` bytes of payload.
fn new_segment(dst: &Dst, cut: &Cut, header: usize, len: usize) -> Result<SkbBuilder> {
    // What fits a packet is cheapest in the linear part; what is to be cut, in fragments.
    let short = len <= cut.packet().min(MAX_WHOLE) as usize;
    let (linear, fclone) = if short { (len, false) } else { (0, true) };
    SkbBuilder::new(dst.headroom() + header, linear, fclone, GFP_KERNEL)
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
