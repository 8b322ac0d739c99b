// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Packets: headers as they lie on the wire, written and read by the core; payload as terms.
//!
//! A DATA packet carries one whole record. Every record of the model has [`RECORD`] bytes, so that each fits the place
//! of every other.

use std::fmt;

use homa_core::layout::Layout;
use homa_core::session::epoch::Epoch;
use homa_core::session::TlsVersion;
use homa_core::window::ResponseLimit;
use homa_core::wire::{
    at, Body, Common, Control, Packet, SealFlags, SealedControl, SealedData, SEALED_DATA_LEN,
    TAG_LEN,
};

use crate::crypto::Term;

/// Bytes of plaintext in every record.
pub const RECORD: u32 = 64;

const VERSION: TlsVersion = TlsVersion::Tls13;

/// How a message of `length` bytes is cut; `None` if there is none so long.
pub fn layout(length: u32) -> Option<Layout> {
    Layout::sealed(length, RECORD, VERSION.record_overhead())
}

fn flags(epoch: u8) -> SealFlags {
    SealFlags { epoch: Epoch::new(epoch), version: VERSION }
}

fn common(sender_id: u64) -> Common {
    Common { source_port: 0x8001, destination_port: 0x8002, sender_id }
}

/// A DATA packet: what its header says in clear, and the record in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DataPacket {
    /// The message's id.
    pub id: u64,
    /// The key's epoch.
    pub epoch: u8,
    /// Bytes of the message.
    pub length: u32,
    /// Which of its records.
    pub index: u16,
    /// The record; `None` for bytes that open nowhere.
    pub record: Option<Term>,
}

impl DataPacket {
    /// What a receiver reads in its header, if it reads it at all.
    pub fn parse(&self) -> Option<(Common, SealedData)> {
        let layout = layout(self.length)?;
        let payload = layout.record(self.index.into())?.stream.len();
        let data = SealedData {
            message_length: self.length,
            incoming: layout.stream_length(),
            cutoff_version: 0,
            retransmit: false,
            response_limit: ResponseLimit::NONE,
            flags: flags(self.epoch),
            record_size: RECORD as u16,
            first_record: self.index,
            sequence: 0,
            window: 0,
            place_from_ip_id: false,
            payload,
        };
        let bytes = data.emit(&common(self.id));
        let packet = Packet::parse(&bytes, SEALED_DATA_LEN + payload as usize).ok()?;
        match packet.body {
            Body::SealedData(data) => Some((packet.common, data)),
            _ => None,
        }
    }
}

impl fmt::Debug for DataPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, epoch, length, index, record } = self;
        write!(f, "DATA(id {id}, epoch {epoch}, length {length}, record {index}: ")?;
        match record {
            Some(record) => write!(f, "{record:?})"),
            None => f.write_str("garbage)"),
        }
    }
}

/// A control packet: its header, counter included, and its tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ControlPacket {
    /// All but the tag.
    pub header: Vec<u8>,
    /// The tag; `None` for bytes that are the tag of nothing.
    pub tag: Option<Term>,
}

impl ControlPacket {
    /// The header of such a packet.
    pub fn header(inner: &Control, id: u64, epoch: u8, counter: u64) -> Vec<u8> {
        SealedControl::emit(inner, &common(id), flags(epoch), counter).aad().to_vec()
    }

    /// What a receiver reads in it, if it reads it at all.
    pub fn parse(&self) -> Option<(Common, SealedControl)> {
        let mut bytes = self.header.clone();
        bytes.extend([0; TAG_LEN]);
        let packet = Packet::parse(&bytes, bytes.len()).ok()?;
        match packet.body {
            Body::SealedControl(control) => Some((packet.common, control)),
            _ => None,
        }
    }

    /// The same with one field of the header changed, for each field that matters.
    pub fn changed(&self) -> Vec<Self> {
        let last = self.header.len() - 1;
        let acked = at::MESSAGE_LENGTH + 2 + 7;
        let mut changes = vec![
            (at::SENDER_ID + 7, 1),
            (at::SENDER_ID + 7, 2),
            (at::CONTROL_SEAL_FLAGS, 1),
            (last, 1),
            (last, 64),
            (last - 5, 1),
        ];
        if acked < last - 7 {
            changes.push((acked, 2));
        }
        let change = |(place, bits): (usize, u8)| {
            let mut packet = self.clone();
            packet.header[place] ^= bits;
            packet
        };
        changes.into_iter().map(change).collect()
    }
}
