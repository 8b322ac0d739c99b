// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A session of two hosts: the core's bookkeeping for real, encryption as a model.
//!
//! Nothing is encrypted. A sealed payload carries a number that follows from key and message id
//! ([`seal`]), and a record opens if every byte of it has the number that the receiver expects and stands
//! where it was sealed; a control packet has a tag of its bytes and the key. Each record and each control
//! packet is entered in the [`Ledger`].

use homa_core::layout::Layout;
use homa_core::msgin::Range;
use homa_core::session::control::{ControlSender, ControlWindow};
use homa_core::session::epoch::Epoch;
use homa_core::session::ids::Ids;
use homa_core::session::preamble::Preamble;
use homa_core::session::replay::ReplayWindow;
use homa_core::session::seq::{MessageId, SequenceNumber};
use homa_core::session::TlsVersion;
use homa_core::window::ResponseLimit;
use homa_core::wire::{
    Common, Control, Header, SealFlags, SealedControl, SealedData, MAX_RECORDS, TAG_LEN,
};

use crate::ledger::Ledger;
use crate::packet::{mix, seal, Digest, Message, Payload};

/// One end of a session.
#[derive(Debug)]
pub struct Session {
    transmit_key: u64,
    receive_key: u64,
    ledger: Ledger,
    flags: SealFlags,
    /// Ids of this end's RPCs.
    pub ids: Ids,
    /// Requests of the other end that were seen.
    pub seen: ReplayWindow,
    control_tx: ControlSender,
    control_rx: ControlWindow,
}

/// A sealed message on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Sealed {
    /// How it is cut.
    pub layout: Layout,
    /// What its packets' headers have in common.
    pub template: SealedData,
    content: u64,
    seal: u64,
    preamble: [u8; 8],
}

impl Sealed {
    /// The header's fields and the payload of a packet with the bytes `range` of the stream; `None` if there
    /// are no such bytes.
    pub fn packet(
        &self,
        range: Range,
        incoming: u32,
        retransmit: bool,
    ) -> Option<(SealedData, Payload)> {
        let record = self.layout.record_at(range.start)?;
        let data = SealedData {
            incoming,
            retransmit,
            first_record: record.index,
            sequence: range.start - record.stream.start,
            payload: range.len(),
            ..self.template
        };
        let payload = Payload {
            content: self.content,
            start: range.start,
            len: range.len(),
            seal: self.seal,
            layout: Some(self.layout),
            preamble: self.preamble,
            noise: 0,
        };
        Some((data, payload))
    }
}

/// The plaintext bytes of records that are usual: one packet's, a page, the most; or small ones.
const RECORD_SIZES: [u32; 4] = [1418, 4096, 16_384, 256];

fn tag(key: u64, aad: &[u8]) -> [u8; TAG_LEN] {
    let sum = aad.iter().fold(key, |sum, byte| mix(sum ^ u64::from(*byte)).wrapping_add(1));
    let mut tag = [0; TAG_LEN];
    tag[..8].copy_from_slice(&sum.to_be_bytes());
    tag[8..].copy_from_slice(&mix(sum).to_be_bytes());
    tag
}

impl Session {
    /// A new session, which knows of nothing.
    pub fn new(transmit_key: u64, receive_key: u64, ledger: Ledger) -> Self {
        // Both directions of a session are of the same version: that is what TLS agrees on.
        let version = if (transmit_key ^ receive_key) & 1 == 0 {
            TlsVersion::Tls13
        } else {
            TlsVersion::Tls12
        };
        Self {
            transmit_key,
            receive_key,
            ledger,
            flags: SealFlags { epoch: Epoch::new(0), version },
            ids: Ids::new(),
            seen: ReplayWindow::new(),
            control_tx: ControlSender::new(),
            control_rx: ControlWindow::new(),
        }
    }

    /// How this session's packets are sealed.
    pub fn flags(&self) -> SealFlags {
        self.flags
    }

    /// Seals a message: its records are encrypted, once. `None` if it cannot be cut so.
    pub fn seal(&self, id: MessageId, message: Message, floor_distance: u16) -> Option<Sealed> {
        let preamble = Preamble { length: message.length, floor_distance, padding: 0 };
        let length = preamble.message_length();
        let wanted = RECORD_SIZES[(mix(message.content) % 4) as usize];
        let record_size = wanted.max(length.div_ceil(MAX_RECORDS));
        let overhead = self.flags.version.record_overhead();
        let layout = Layout::sealed(length, record_size, overhead)?;
        for record in layout.records_in(layout.stream()) {
            self.ledger.encrypt(self.transmit_key, SequenceNumber::record(id, record.index).get());
        }
        let template = SealedData {
            message_length: length,
            incoming: 0,
            cutoff_version: 0,
            retransmit: false,
            response_limit: ResponseLimit::NONE,
            flags: self.flags,
            record_size: record_size as u16,
            first_record: 0,
            sequence: 0,
            window: 0,
            place_from_ip_id: false,
            payload: 0,
        };
        let seal = seal(self.transmit_key, id.get());
        Some(Sealed { layout, template, content: message.content, seal, preamble: preamble.emit() })
    }

    /// A sealed control packet's header; `None` when all counters are used up.
    pub fn seal_control(&mut self, control: &Control, common: &Common) -> Option<Header> {
        let counter = self.control_tx.next()?;
        self.ledger.encrypt(self.transmit_key, SequenceNumber::control(counter)?.get());
        let untagged = SealedControl::emit(control, common, self.flags, counter);
        let tag = tag(self.transmit_key, untagged.aad());
        Some(untagged.finish(&tag))
    }

    /// Is this control packet true, and new? Its header is `head`.
    pub fn open_control(&mut self, control: &SealedControl, head: &[u8]) -> bool {
        let Some(aad) = head.get(..control.aad_len) else { return false };
        control.flags == self.flags
            && self.control_rx.check(control.counter)
            && tag(self.receive_key, aad) == control.tag
            && self.control_rx.mark(control.counter)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    seal: Digest,
    content: Digest,
    open: bool,
}

/// A sealed message on its way in.
#[derive(Debug)]
pub struct Opening {
    /// How it is cut, as its packets say.
    pub layout: Layout,
    records: Vec<Record>,
    first_bytes: [u8; 8],
    /// What record 0 says, once it is open.
    pub preamble: Option<Preamble>,
}

/// What became of records that are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// This one is true.
    True(Range),
    /// This one is not: its bytes are wanted again.
    False(Range),
    /// The first one is not, or says something else than the headers: nothing is worth anything.
    Nothing,
}

impl Opening {
    /// Nothing is here.
    pub fn new(layout: Layout) -> Self {
        let records = vec![Record::default(); layout.records() as usize];
        Self { layout, records, first_bytes: [0; 8], preamble: None }
    }

    /// The bytes `kept` of the stream came with a payload that begins at `place`.
    pub fn keep(&mut self, payload: &Payload, place: u32, kept: Range) {
        for record in self.layout.records_in(kept) {
            let Some(part) = record.stream.intersect(&kept) else { continue };
            let state = &mut self.records[usize::from(record.index)];
            state.seal.add(payload.seal_digest(place, part, &record));
            state.content.add(payload.digest(place, part));
            if record.index == 0 {
                self.first_bytes = payload.preamble;
            }
        }
    }

    /// Opens the next record of message `id` that is complete, as `has` says, and was not opened. The
    /// first must be the first.
    pub fn open_next(
        &mut self,
        session: &Session,
        id: MessageId,
        has: impl Fn(Range) -> bool,
    ) -> Option<Opened> {
        let expected = seal(session.receive_key, id.get());
        for record in self.layout.records_in(self.layout.stream()) {
            let first = record.index == 0;
            let state = &mut self.records[usize::from(record.index)];
            if state.open {
                continue;
            }
            if !has(record.stream) {
                if first {
                    return None;
                }
                continue;
            }
            let good = state.seal == Digest::of(expected, record.stream);
            if first {
                let preamble = Preamble::parse(&self.first_bytes).ok().filter(|_| good);
                self.preamble = preamble.filter(|p| p.agrees_with(self.layout.length()));
                if self.preamble.is_none() {
                    return Some(Opened::Nothing);
                }
            }
            if good {
                state.open = true;
                return Some(Opened::True(record.stream));
            }
            *state = Record::default();
            return Some(Opened::False(record.stream));
        }
        None
    }

    /// Is every record open?
    pub fn is_open(&self) -> bool {
        self.records.iter().all(|record| record.open)
    }

    /// The digest of all that is told.
    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.records.iter().for_each(|record| digest.add(record.content));
        digest
    }
}
