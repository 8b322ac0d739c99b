// SPDX-License-Identifier: GPL-2.0

//! An outgoing message: its bytes as packets that are kept until the peer has them.
//!
//! A message that fits a packet is [`Whole`]: the packet is sent, and its bytes are kept. All others are cut into [`Segments`] when they are handed
//! in. Either is sealed already if there is a session. A retransmission is the same bytes again, in packets made for it.

use kernel::prelude::*;

use super::pacing::Way;
use crate::protocol::layout::{Cut, Layout};
use crate::protocol::msgin::Range;
use crate::protocol::msgout::MsgOut;
use crate::protocol::session::preamble::{Padding, Preamble};
use crate::protocol::session::seq::MessageId;
use crate::protocol::window::ResponseLimit;
use crate::protocol::wire::{Common, Data, SealedData, DATA_LEN, SEALED_DATA_LEN};
use crate::sys::builder::SkbBuilder;
use crate::sys::route::Dst;
use crate::sys::skbq::SkbQueue;
use crate::sys::sock::Sock;
use crate::sys::uio::IovIter;
use crate::tls::{self, HeldKeys, Session};

mod segments;
mod whole;

use self::segments::{Segments, Template};
pub(crate) use self::whole::Short;
use self::whole::{Whole, MAX_WHOLE};

/// Largest IP packet, and so segment.
const MAX_IP: usize = 65_535;

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
    #[inline(always)]
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
    /// Bytes of it as it is sent.
    stream_length: u32,
    /// Records that were sealed for it.
    records: u32,
    /// Bytes of it that make sense alone.
    probe: u32,
    /// The priority of what goes without a grant.
    level: u8,
    store: Store,
    /// Its key, which is needed no more: but the session must not go on to the key after the next before this is done.
    _keys: Option<HeldKeys>,
}

/// What is kept of a message. (It is moved before it is where it stays: so what is large is not in it.)
enum Store {
    Whole(Whole),
    Segments(KBox<Segments>),
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

/// Is all of it in one packet, which is kept in memory in one piece?
#[inline]
fn is_whole(stream_length: u32, cut: &Cut) -> bool {
    stream_length <= cut.packet().min(MAX_WHOLE)
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
    #[inline(always)]
    fn new(
        layout: &Layout,
        cut: &Cut,
        terms: &Terms,
        store: Store,
        keys: Option<HeldKeys>,
    ) -> Self {
        let first = layout.record(0).map_or(0, |record| record.stream.end);
        Self {
            stream_length: layout.stream_length(),
            records: layout.records(),
            probe: first.max(cut.packet()),
            level: terms.level,
            store,
            _keys: keys,
        }
    }

    /// Takes a plain message of `length` bytes from a program. Sleeps.
    #[inline]
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
        let store = if is_whole(layout.stream_length(), &cut) {
            data.incoming = layout.stream_length();
            Store::Whole(Whole::plain(sk, way, &common, &data, from)?)
        } else {
            Store::Segments(plain_segments(sk, way, common, data, &layout, &cut, terms, from)?)
        };
        Ok(Self::new(&layout, &cut, terms, store, None))
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
        let mut sealer =
            Sealer { tx: &tx, layout: &layout, id, preamble: &preamble, left: length, from };
        let store = if is_whole(layout.stream_length(), &cut) {
            let mut builder =
                new_segment(way, &cut, SEALED_DATA_LEN, layout.stream_length() as usize)?;
            sealer.seal(&mut builder, layout.stream())?;
            data.incoming = layout.stream_length();
            builder.push(&data.emit(&common))?;
            Store::Whole(Whole::keep(builder, SEALED_DATA_LEN, None, sk)?)
        } else {
            let mut segments = Segments::new(common, Template::Sealed(data), cut)?;
            for segment in layout.segments(&cut, layout.stream()) {
                let mut builder =
                    new_segment(way, &cut, SEALED_DATA_LEN, segment.stream.len() as usize)?;
                sealer.seal(&mut builder, segment.stream)?;
                let first_record = segment.first_record;
                let incoming = data.incoming.max(segment.stream.end);
                let head = SealedData { first_record, incoming, ..data };
                builder.push(&head.emit(&common))?;
                segments.keep(builder, sk, &segment);
            }
            Store::Segments(segments)
        };
        Ok(Self::new(&layout, &cut, terms, store, Some(tx)))
    }

    /// Records that were sealed for it.
    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// Bytes of it that make sense alone, to be sent first when nothing was heard for long: a packet, or a record.
    pub(super) fn probe(&self) -> u32 {
        self.probe
    }

    /// Bytes of the message as it is sent.
    pub(crate) fn stream_length(&self) -> u32 {
        self.stream_length
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
        match &mut self.store {
            Store::Segments(segments) => segments.transmit(way, progress, queue, may),
            Store::Whole(whole) => {
                if progress.can_send() {
                    // Without memory it counts as sent all the same: lost, and asked for again.
                    if let Some(skb) = whole.packet(short, sk, way) {
                        queue.push_back(skb);
                    }
                    way.passes(self.stream_length, 1);
                    progress.advance(self.stream_length);
                }
                true
            }
        }
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
        match &self.store {
            Store::Segments(segments) => segments.retransmit(sk, way, range, progress, queue),
            Store::Whole(whole) => {
                way.passes(self.stream_length, 1);
                if let Some(skb) = whole.packet_again(short, sk, way) {
                    queue.push_back(skb);
                }
            }
        }
        queue.len().saturating_sub(before) as u64
    }
}

/// A plain message of more than a packet.
#[allow(clippy::too_many_arguments)]
#[inline(never)]
fn plain_segments(
    sk: &Sock,
    way: &Way,
    common: Common,
    mut data: Data,
    layout: &Layout,
    cut: &Cut,
    terms: &Terms,
    from: &mut IovIter,
) -> Result<KBox<Segments>> {
    data.incoming = unasked(layout, cut, terms.unscheduled);
    // Once is enough.
    let mut ack = data.ack.take();
    let mut segments = Segments::new(common, Template::Plain(data), *cut)?;
    for segment in layout.segments(cut, layout.stream()) {
        let len = segment.stream.len() as usize;
        let mut builder = new_segment(way, cut, DATA_LEN, len)?;
        builder.append_iter(from, len)?;
        let offset = segment.stream.start;
        let incoming = data.incoming.max(segment.stream.end);
        let head = Data { offset, incoming, ack: ack.take(), ..data };
        builder.push(&head.emit(&common))?;
        segments.keep(builder, sk, &segment);
    }
    Ok(segments)
}

/// Seals a message's records, in their order.
struct Sealer<'a> {
    tx: &'a HeldKeys,
    layout: &'a Layout,
    id: MessageId,
    preamble: &'a [u8; Preamble::LEN],
    /// Bytes of the program that are not sealed yet; what comes after them is padding.
    left: u32,
    from: &'a mut IovIter,
}

impl Sealer<'_> {
    /// Those of the next segment, `stream`, into it. If this fails, there is nothing in it that should be secret.
    #[inline]
    fn seal(&mut self, builder: &mut SkbBuilder, stream: Range) -> Result {
        if self.layout.records() == 1 {
            return self.record(builder, 0, 0, self.layout.length());
        }
        for record in self.layout.records_in(stream) {
            let at = record.stream.start.saturating_sub(stream.start) as usize;
            self.record(builder, at, record.index, record.plaintext.len())?;
        }
        Ok(())
    }

    /// Record `index`, of `plaintext` bytes, which begins at byte `at` of `builder`.
    #[inline]
    fn record(
        &mut self,
        builder: &mut SkbBuilder,
        at: usize,
        index: u16,
        plaintext: u32,
    ) -> Result {
        let preamble = (index == 0).then_some(self.preamble);
        let bytes = plaintext.saturating_sub(preamble.map_or(0, |p| p.len() as u32));
        let text = bytes.min(self.left);
        self.left = self.left.saturating_sub(text);
        let Self { tx, id, ref mut from, .. } = *self;
        let mut seal = || {
            if text == bytes && tx.append_record(builder, preamble, from, text, id, index)? {
                return Ok(());
            }
            tx.begin_record(builder)?;
            if let Some(preamble) = preamble {
                builder.append(preamble)?;
            }
            builder.append_iter(from, text as usize)?;
            builder.append_zeros(bytes.saturating_sub(text) as usize)?;
            tx.seal_record(builder, at, plaintext as u16, id, index)
        };
        seal().inspect_err(|_: &Error| builder.wipe(at))
    }
}

/// An empty segment for `len` bytes of payload.
fn new_segment(dst: &Dst, cut: &Cut, header: usize, len: usize) -> Result<SkbBuilder> {
    // What fits a packet is cheapest in the linear part; what is to be cut, in fragments.
    let short = len <= cut.packet().min(MAX_WHOLE) as usize;
    let (linear, fclone) = if short { (len, false) } else { (0, true) };
    SkbBuilder::new(dst.headroom() + header, linear, fclone, GFP_KERNEL)
}
