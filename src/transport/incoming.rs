// SPDX-License-Identifier: GPL-2.0

//! An incoming message: the packets that hold its bytes, and the records opened from them.

use kernel::prelude::*;

use crate::observe::counters::{Counter, Stats};
use crate::protocol::layout::{Layout, Record};
use crate::protocol::msgin::Range;
use crate::protocol::rpc as core;
use crate::protocol::session::preamble::Preamble;
use crate::protocol::session::seq::MessageId;
use crate::protocol::wire::SealFlags;
use crate::sys::secret::{SecretBuf, SecretBytes, SecretSkb};
use crate::sys::skb::{SkBuff, Skb};
use crate::sys::skbq::SkbQueue;
use crate::sys::uio::IovIter;
use crate::sys::user::plain;
use crate::tls::{Keys, OpenError, OpenedRecord};

plain! {
    /// Which bytes of the stream a kept packet has, and where in it (in its control block).
    struct Part {
        start: u32,
        end: u32,
        skip: u32,
    }
}

impl Part {
    /// Its bytes in the stream.
    fn range(&self) -> Range {
        Range { start: self.start, end: self.end }
    }

    /// Where in the packet byte `at` of the stream is.
    fn place_of(&self, at: u32) -> u32 {
        self.skip.saturating_add(at.saturating_sub(self.start))
    }
}

/// The received part of one message.
pub(crate) struct Incoming {
    /// Packets with bytes that are still needed, in the order of the stream, disjoint.
    parts: SkbQueue,
    /// Memory (truesize) that they take, and those that became plaintext where they are.
    held: usize,
    sealed: Option<Sealed>,
}

/// How a message is sealed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    /// Its records.
    pub(super) layout: Layout,
    /// Their key.
    pub(super) flags: SealFlags,
}

/// What a sealed message adds.
struct Sealed {
    seal: Seal,
    /// The records that opened: the first, which most messages have alone, and those after it.
    first: Option<OpenedRecord>,
    others: Option<KVec<Option<OpenedRecord>>>,
    opened: u32,
    /// What record 0 said; nothing else is opened before it.
    preamble: Option<Preamble>,
}

/// A sealed message of one record, of which the packet that has all of it was opened at once.
pub(super) struct Whole {
    record: OpenedRecord,
    /// What it says.
    pub(super) preamble: Preamble,
    /// Memory of the packet, if it became plaintext where it is.
    held: usize,
}

impl Whole {
    /// Opens message `id`, all of which `skb` has from byte `skip` on.
    pub(super) fn open(
        skb: SkBuff,
        skip: usize,
        seal: &Seal,
        keys: &Keys,
        id: MessageId,
    ) -> Result<Self, OpenError> {
        let len = seal.layout.stream_length() as usize;
        let buf = match SecretSkb::new(skb, skip, len) {
            Ok(packet) => SecretBytes::Packet(packet),
            Err(skb) => copied(skb.runs(skip, len), seal.layout.stream_length())?,
        };
        let held = buf.packet_size();
        let record = keys.open_record(buf, seal.layout.length() as u16, id, 0)?;
        let preamble = believed(&record, seal).ok_or(OpenError::BadRecord)?;
        Ok(Self { record, preamble, held })
    }
}

/// What came of trying to open records.
pub(crate) enum Opened {
    /// Nothing opened.
    Nothing,
    /// Some records opened; if record 0 was among them, here is what it said.
    Some(Option<Preamble>),
    /// The first record did not authenticate, or contradicts the headers: nothing here is true.
    False,
}

impl Incoming {
    /// Nothing is here.
    pub(super) fn new() -> Self {
        Self { parts: SkbQueue::new(), held: 0, sealed: None }
    }

    /// Did an earlier packet say that the message is sealed in another way?
    pub(super) fn is_sealed_otherwise(&self, seal: &Seal) -> bool {
        self.sealed.as_ref().is_some_and(|sealed| sealed.seal != *seal)
    }

    /// How the message is sealed, as far as is known.
    pub(super) fn seal(&self) -> Option<Seal> {
        self.sealed.as_ref().map(|sealed| sealed.seal)
    }

    /// The message is sealed in this way. ENOMEM.
    pub(super) fn expect_sealed(&mut self, seal: Seal) -> Result {
        if self.sealed.is_some() {
            return Ok(());
        }
        let others = match seal.layout.records().saturating_sub(1) {
            0 => None,
            count => Some(nothing_yet(count as usize)?),
        };
        self.sealed = Some(Sealed { seal, first: None, others, opened: 0, preamble: None });
        Ok(())
    }

    /// Is nothing here, and nothing known?
    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_none() && self.parts.len() == 0
    }

    /// Has `whole`, which was sealed so, and nothing else.
    #[inline]
    pub(super) fn hold(&mut self, whole: Whole, seal: Seal) {
        let Whole { record, preamble, held } = whole;
        let (first, preamble) = (Some(record), Some(preamble));
        self.held = held;
        self.sealed = Some(Sealed { seal, first, others: None, opened: 1, preamble });
    }

    /// Keeps `skb`, which has the bytes `range` of the stream from byte `skip` on.
    pub(super) fn keep(&mut self, mut skb: SkBuff, range: Range, skip: u32) {
        skb.set_cb(&Part { start: range.start, end: range.end, skip });
        self.held = self.held.saturating_add(skb.truesize());
        self.parts.insert_by(skb, |skb| skb.cb::<Part>().start);
    }

    /// May a packet that takes `truesize` bytes of memory be kept for a message of `length` bytes?
    ///
    /// Honest senders send packets of hundreds of bytes; the limits are for others.
    pub(super) fn has_room(&self, length: u32, truesize: usize) -> bool {
        let length = length as usize;
        self.parts.len() < 64 + length / 256
            && self.held.saturating_add(truesize) <= (256 << 10) + length.saturating_mul(8)
    }

    /// A packet brings all of a record that is not open, `whole`. What came of that record before is forgotten, in `core` too: it may be
    /// forged, and this packet needs none of it.
    pub(super) fn make_way(&mut self, core: &mut core::Rpc, whole: Range) {
        if self.parts.len() == 0 {
            return;
        }
        let overlaps = |skb: &Skb| skb.cb::<Part>().range().intersect(&whole).is_some();
        let mut others = self.parts.extract_if(overlaps);
        self.forget(core, &mut others);
        while let Some(skb) = others.pop_back() {
            self.parts.insert_by(skb, |skb| skb.cb::<Part>().start);
        }
    }

    /// There is no room for a packet: of a sealed message all that is not open is forgotten, in `core` too. It may be thousands of forged
    /// crumbs; the true bytes are asked for again.
    #[cold]
    pub(super) fn make_room(&mut self, core: &mut core::Rpc) {
        let mut parts = ::core::mem::replace(&mut self.parts, SkbQueue::new());
        self.forget(core, &mut parts);
        self.parts = parts;
    }

    /// Forgets the packets of `parts` and what they brought. Those that `core` cannot forget stay there.
    fn forget(&mut self, core: &mut core::Rpc, parts: &mut SkbQueue) {
        // From the end, where gaps are closed without moving others.
        while let Some(skb) = parts.pop_back() {
            if !core.forget(skb.cb::<Part>().range()) {
                parts.push_back(skb);
                return;
            }
            self.held = self.held.saturating_sub(skb.truesize());
            skb.consume();
        }
    }

    /// Has anything of a sealed message been authenticated?
    pub(super) fn is_proven(&self) -> bool {
        self.sealed.as_ref().is_some_and(|s| s.preamble.is_some())
    }

    /// Are all records open? True for a plain message.
    pub(super) fn is_open(&self) -> bool {
        self.sealed.as_ref().is_none_or(|s| s.opened == s.seal.layout.records())
    }

    /// Opens the records that are complete now that `range` has arrived. `id` is the message's.
    ///
    /// A record that does not open is forgotten, in `core` too, and so asked for again.
    pub(super) fn open(
        &mut self,
        core: &mut core::Rpc,
        range: Range,
        keys: &Keys,
        id: MessageId,
        stats: &Stats,
    ) -> Opened {
        let Some(sealed) = self.sealed.as_mut() else {
            return Opened::Nothing;
        };
        let layout = sealed.seal.layout;
        let mut range = range;
        let mut preamble = None;
        if sealed.preamble.is_none() {
            let Some(record) = layout.record(0).filter(|r| core.has(r.stream)) else {
                return Opened::Nothing;
            };
            if let Err(e) = sealed.open_record(&mut self.parts, &mut self.held, &record, keys, id) {
                stats.inc(e.counter());
                return Opened::False;
            }
            preamble = sealed.read_preamble();
            if preamble.is_none() {
                stats.inc(Counter::TlsDecryptError);
                return Opened::False;
            }
            stats.inc(Counter::TlsRecordsOpened);
            cut_out(&mut self.parts, &mut self.held, record.stream);
            if layout.records() == 1 {
                return Opened::Some(preamble);
            }
            // Others may have waited for this one.
            range = layout.stream();
        }
        let mut any = preamble.is_some();
        for record in layout.records_in(range) {
            if sealed.get(record.index).is_some() || !core.has(record.stream) {
                continue;
            }
            match sealed.open_record(&mut self.parts, &mut self.held, &record, keys, id) {
                Ok(()) => {
                    stats.inc(Counter::TlsRecordsOpened);
                    any = true;
                }
                Err(e) => {
                    stats.inc(e.counter());
                    if !core.forget(record.stream) {
                        return Opened::False;
                    }
                }
            }
            cut_out(&mut self.parts, &mut self.held, record.stream);
        }
        if any {
            Opened::Some(preamble)
        } else {
            Opened::Nothing
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Takes it out, to be copied without a lock.
    pub(crate) fn take(&mut self) -> Self {
        ::core::mem::replace(self, Self::new())
    }

    /// Bytes that the program gets, if the stream has `stream` bytes.
    pub(crate) fn length(&self, stream: u32) -> u32 {
        match &self.sealed {
            Some(sealed) => sealed.preamble.map_or(0, |p| p.length),
            None => stream,
        }
    }

    /// Copies the program's bytes `from .. from + len` out. Process context.
    pub(crate) fn copy_out(&self, from: u32, len: u32, to: &mut IovIter) -> Result {
        let wanted = Range { start: from, end: from.saturating_add(len) };
        match &self.sealed {
            Some(sealed) => sealed.copy_out(wanted, to),
            None => {
                for skb in self.parts.iter() {
                    let part: Part = skb.cb();
                    if let Some(bytes) = part.range().intersect(&wanted) {
                        let at = part.place_of(bytes.start) as usize;
                        skb.copy_to_iter(at, to, bytes.len() as usize)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Places for `count` records.
fn nothing_yet(count: usize) -> Result<KVec<Option<OpenedRecord>>> {
    let mut places = KVec::with_capacity(count, GFP_ATOMIC)?;
    for _ in 0..count {
        places.push(None, GFP_ATOMIC)?;
    }
    Ok(places)
}

impl Sealed {
    fn slot(&mut self, index: u16) -> Option<&mut Option<OpenedRecord>> {
        match usize::from(index).checked_sub(1) {
            None => Some(&mut self.first),
            Some(index) => self.others.as_mut()?.get_mut(index),
        }
    }

    fn get(&self, index: u16) -> Option<&OpenedRecord> {
        match usize::from(index).checked_sub(1) {
            None => self.first.as_ref(),
            Some(index) => self.others.as_ref()?.get(index)?.as_ref(),
        }
    }

    fn open_record(
        &mut self,
        parts: &mut SkbQueue,
        held: &mut usize,
        record: &Record,
        keys: &Keys,
        id: MessageId,
    ) -> Result<(), OpenError> {
        let buf = match whole_packet(parts, record) {
            Some(packet) => SecretBytes::Packet(packet),
            None => copied(runs_of(parts, record.stream), record.stream.len())?,
        };
        let packet_size = buf.packet_size();
        let plaintext = keys
            .open_record(buf, record.plaintext.len() as u16, id, record.index)
            .inspect_err(|_| *held = held.saturating_sub(packet_size))?;
        *self.slot(record.index).ok_or(OpenError::BadRecord)? = Some(plaintext);
        self.opened = self.opened.saturating_add(1);
        Ok(())
    }

    /// Reads record 0's preamble, if it can be believed.
    fn read_preamble(&mut self) -> Option<Preamble> {
        self.preamble = believed(self.first.as_ref()?, &self.seal);
        self.preamble
    }

    fn copy_out(&self, wanted: Range, to: &mut IovIter) -> Result {
        let skip = Preamble::LEN as u32;
        // In the message, the program's bytes follow the preamble.
        let wanted = Range {
            start: wanted.start.saturating_add(skip),
            end: wanted.end.saturating_add(skip),
        };
        if self.seal.layout.records() == 1 {
            let text = self.first.as_ref().ok_or(EBADMSG)?.text();
            let bytes = text.get(wanted.start as usize..wanted.end as usize);
            return to.copy_to(bytes.ok_or(EBADMSG)?);
        }
        for index in 0..self.seal.layout.records() {
            let record = self.seal.layout.record(index).ok_or(EBADMSG)?;
            if let Some(bytes) = record.plaintext.intersect(&wanted) {
                let plaintext = self.get(record.index).ok_or(EBADMSG)?;
                let at = bytes.start.saturating_sub(record.plaintext.start) as usize;
                let text = plaintext.text().get(at..).ok_or(EBADMSG)?;
                to.copy_to(text.get(..bytes.len() as usize).ok_or(EBADMSG)?)?;
            }
        }
        Ok(())
    }
}

/// The preamble that record 0 begins with, if it says the same as the headers.
fn believed(first: &OpenedRecord, seal: &Seal) -> Option<Preamble> {
    let preamble = Preamble::parse(first.text()).ok()?;
    preamble.agrees_with(seal.layout.length()).then_some(preamble)
}

/// The packet at the front of `parts`, if it has `record` and nothing else, and is nobody else's: to be opened where it is.
fn whole_packet(parts: &mut SkbQueue, record: &Record) -> Option<SecretSkb> {
    let part: Part = parts.iter().next()?.cb();
    if part.range() != record.stream {
        return None;
    }
    let packet =
        SecretSkb::new(parts.pop_front()?, part.skip as usize, record.stream.len() as usize);
    packet.map_err(|skb| parts.insert_by(skb, |skb| skb.cb::<Part>().start)).ok()
}

/// The bytes `range` of the stream, as they lie in `parts`.
fn runs_of(parts: &SkbQueue, range: Range) -> impl Iterator<Item = &[u8]> {
    parts.iter().flat_map(move |skb| {
        let part: Part = skb.cb();
        let bytes = part.range().intersect(&range).unwrap_or(Range { start: 0, end: 0 });
        skb.runs(part.place_of(bytes.start) as usize, bytes.len() as usize)
    })
}

/// Copies a record of `len` bytes. Packets are of odd lengths, and the cipher does long runs best. And pages may be shared with who sent them (a packet
/// socket's ring, over veth), who could change them between the cipher's two looks: one that authenticates, and one that decrypts.
fn copied<'a>(runs: impl Iterator<Item = &'a [u8]>, len: u32) -> Result<SecretBytes, OpenError> {
    let room = SecretBuf::with_capacity(len as usize, GFP_ATOMIC);
    let mut buf = room.map_err(|_| OpenError::NoMemory)?;
    for run in runs {
        if !buf.append(run) {
            return Err(OpenError::BadRecord);
        }
    }
    Ok(SecretBytes::Buf(buf))
}

/// Takes the bytes `range` out of `parts`: packets that hold nothing else are freed, others are
/// marked as holding less.
fn cut_out(parts: &mut SkbQueue, held: &mut usize, range: Range) {
    if parts.len() == 0 {
        return;
    }
    let mut right = None;
    parts.for_each_mut(|skb| {
        let mut part: Part = skb.cb();
        let Some(hit) = part.range().intersect(&range) else {
            return;
        };
        if part.start < hit.start && hit.end < part.end {
            // A piece on either side: the right one gets a packet of its own.
            if let Ok(mut clone) = skb.try_clone(GFP_ATOMIC) {
                let skip = part.place_of(hit.end);
                clone.set_cb(&Part { start: hit.end, end: part.end, skip });
                *held = held.saturating_add(clone.truesize());
                right = Some(clone);
            }
            part.end = hit.start;
        } else if part.start < hit.start {
            part.end = hit.start;
        } else {
            part.skip = part.place_of(hit.end);
            part.start = hit.end;
        }
        skb.set_cb(&part);
    });
    drop(parts.extract_if(|skb| {
        let part: Part = skb.cb();
        let used_up = part.start >= part.end;
        if used_up {
            *held = held.saturating_sub(skb.truesize());
        }
        used_up
    }));
    if let Some(skb) = right {
        parts.insert_by(skb, |skb| skb.cb::<Part>().start);
    }
}
