// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An incoming message, as `src/transport/incoming.rs` and `receive.rs` take it.

use homa_core::layout::Layout;
use homa_core::rpc::{Data, Rpc};
use homa_core::session::preamble::Preamble;
use homa_core::session::seq::MessageId;

use crate::crypto::{record_aad, record_number, Key, Term, Text};
use crate::live::{Live, RpcOp, RpcOut};
use crate::packet::{layout, DataPacket};
use crate::sabotage::{Rules, Sabotage};

/// A place for a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Piece {
    Missing,
    Held(Option<Term>),
    Open(Term),
}

/// What packets say about the whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Described {
    length: u32,
    epoch: u8,
}

/// The received part of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Incoming {
    described: Option<Described>,
    pieces: Vec<Piece>,
    proven: bool,
}

/// What a packet did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, or too little to tell.
    Nothing,
    /// Record 0 opened: this is what it says.
    Proven(Preamble),
    /// Nothing of the message was true.
    False,
    /// A record did not open.
    Forged,
}

impl Incoming {
    /// Did anything authenticate?
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Are all records open?
    pub fn is_open(&self) -> bool {
        self.proven && self.pieces.iter().all(|piece| matches!(piece, Piece::Open(_)))
    }

    /// The records that opened, in their order.
    pub fn opened(&self) -> Vec<Term> {
        let open = |piece: &Piece| match piece {
            Piece::Open(term) => Some(term.clone()),
            _ => None,
        };
        self.pieces.iter().filter_map(open).collect()
    }

    /// The length that record 0 says.
    pub fn length(&self) -> Option<u32> {
        match self.pieces.first()? {
            Piece::Open(term) => read_preamble(term).map(|preamble| preamble.message_length()),
            _ => None,
        }
    }

    fn clear(&mut self, rpc: &mut Live<Rpc>) {
        *self = Self::default();
        rpc.apply(RpcOp::ForgetMessage);
    }

    /// Adds a packet to the message `id`, which `key` opens.
    pub fn add(
        &mut self,
        rules: Rules,
        rpc: &mut Live<Rpc>,
        packet: &DataPacket,
        key: Key,
        id: MessageId,
    ) -> Outcome {
        let described = Described { length: packet.length, epoch: packet.epoch };
        let Some(layout) = layout(packet.length) else { return Outcome::Nothing };
        if rpc.is_receiving() && !self.expect(rules, rpc, described, &layout) {
            return Outcome::Nothing;
        }
        let Some(record) = layout.record(packet.index.into()) else { return Outcome::Nothing };
        let (length, range) = (layout.stream_length(), record.stream);
        let arrival = RpcOp::Arrival { length, start: range.start, end: range.end };
        match rpc.apply(arrival) {
            RpcOut::Data(Data::Keep(kept)) => assert_eq!(kept, range, "records are whole"),
            _ => return Outcome::Nothing,
        }
        self.pieces[usize::from(packet.index)] = Piece::Held(packet.record.clone());
        self.open(rules, rpc, &layout, key, id)
    }

    /// Prepares for such a message; false if the packet that says so is to be dropped.
    fn expect(
        &mut self,
        rules: Rules,
        rpc: &mut Live<Rpc>,
        described: Described,
        layout: &Layout,
    ) -> bool {
        if self.described.is_some_and(|before| before != described) {
            if self.proven || rules.broken(Sabotage::FirstPacketDecides) {
                return false;
            }
            self.clear(rpc);
        }
        if self.described.is_none() {
            self.described = Some(described);
            self.pieces = vec![Piece::Missing; layout.records() as usize];
        }
        true
    }

    /// Opens what can be opened.
    fn open(
        &mut self,
        rules: Rules,
        rpc: &mut Live<Rpc>,
        layout: &Layout,
        key: Key,
        id: MessageId,
    ) -> Outcome {
        let mut outcome = Outcome::Nothing;
        if !self.proven {
            if !layout.record(0).is_some_and(|record| rpc.has(record.stream)) {
                return Outcome::Nothing;
            }
            let preamble = self.open_piece(rules, layout, 0, key, id).and_then(|term| {
                let preamble = read_preamble(&term)?;
                let agrees = preamble.agrees_with(layout.length());
                (agrees || rules.broken(Sabotage::ClearLength)).then_some(preamble)
            });
            let Some(preamble) = preamble else {
                self.clear(rpc);
                return Outcome::False;
            };
            self.proven = true;
            outcome = Outcome::Proven(preamble);
        }
        for index in 1..layout.records() as u16 {
            let held = matches!(self.pieces[usize::from(index)], Piece::Held(_));
            if held && self.open_piece(rules, layout, index, key, id).is_none() {
                let Some(record) = layout.record(index.into()) else { continue };
                self.pieces[usize::from(index)] = Piece::Missing;
                rpc.apply(RpcOp::Forget(record.stream.start, record.stream.end));
                if rules.broken(Sabotage::ForgedEnds) {
                    return Outcome::Forged;
                }
            }
        }
        outcome
    }

    fn open_piece(
        &mut self,
        rules: Rules,
        layout: &Layout,
        index: u16,
        key: Key,
        id: MessageId,
    ) -> Option<Term> {
        let piece = &mut self.pieces[usize::from(index)];
        let Piece::Held(Some(term)) = piece else { return None };
        let nonce = key.nonce(record_number(rules, id, index));
        let aad = record_aad(layout.record(index.into())?.plaintext.len());
        if !term.opens(rules, key, &nonce, &aad) {
            return None;
        }
        let term = term.clone();
        *piece = Piece::Open(term.clone());
        Some(term)
    }
}

/// Reads what record 0 begins with. (Another record's first bytes are the program's: in the model, none that make a
/// preamble.)
fn read_preamble(term: &Term) -> Option<Preamble> {
    match &term.sealed().text {
        Text::Record { preamble: Some(bytes), .. } => Preamble::parse(bytes).ok(),
        _ => None,
    }
}
