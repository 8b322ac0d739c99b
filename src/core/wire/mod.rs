// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Every packet, as bytes and as values.
//!
//! A packet is the 28 bytes of [`common`], then either bytes of a message ([`data`]), or a few
//! fields of a [`control`] packet, or either of them [`sealed`] by a session. A sealed packet's
//! type is the plain one's plus 0x10, so that a peer without sessions drops it.
//!
//! Receiving starts at [`Packet::parse`], which checks whatever can be checked without knowing
//! the RPC: after it, lengths are lengths of messages, offsets lie inside them, and arithmetic on
//! them cannot overflow. Sending is [`Data::emit`], [`SealedData::emit`], [`Control::emit`] and
//! [`SealedControl::emit`], into arrays of fixed size. All numbers are big-endian.
//!
//! The plain formats are HomaModule's; see `docs/wire.md`.

mod bytes;
pub mod common;
pub mod control;
pub mod data;
mod join;
pub mod sealed;

pub use self::common::{at, Common, COMMON_LEN};
pub use self::control::{Ack, Acks, Control, Header, MAX_ACKS_PER_PACKET};
pub use self::data::{Data, DATA_LEN};
pub use self::join::{data_header_len, is_whole, join, Join};
pub use self::sealed::{
    SealFlags, SealedControl, SealedData, UntaggedControl, SEALED_CONTROL_EXTRA, SEALED_DATA_LEN,
    TAG_LEN,
};

use ::core::fmt;

/// IP's number for Homa.
pub const IPPROTO_HOMA: u8 = 146;

/// Ports from here on are given to clients; those below (but 0) are for servers to bind.
pub const FIRST_CLIENT_PORT: u16 = 0x8000;

/// Number of priorities; the highest is one less.
pub const PRIORITIES: usize = 8;

/// Bytes that an application can send in a message.
pub const MAX_MESSAGE: u32 = 1_000_000;

/// Bytes of a sealed message that come before the application's
/// ([`Preamble`](super::session::preamble::Preamble)).
pub const PREAMBLE_LEN: u32 = 8;

/// Plaintext bytes of the shortest sealed message: preamble and one byte.
pub const MIN_SEALED_MESSAGE: u32 = PREAMBLE_LEN + 1;

/// Plaintext bytes of the longest sealed message: preamble, [`MAX_MESSAGE`] bytes and padding up
/// to the next power of two.
pub const MAX_SEALED_MESSAGE: u32 = 1 << 20;

/// Plaintext bytes of the smallest records. (The last record of a message may be shorter.)
pub const MIN_RECORD: u16 = 64;

/// Plaintext bytes of the largest record (RFC 8446, section 5.1).
pub const MAX_RECORD: u16 = 1 << 14;

/// Records that a message has at most: what a receiver keeps for each is bounded by this before
/// anything authenticated.
pub const MAX_RECORDS: u32 = 1024;

/// Bytes of payload in a segment, headers not counted: what an IP packet can hold at most.
pub const MAX_SEGMENT: u32 = 65_535;

/// No position in a message, plain or sealed, is higher than this: the longest sealed message in
/// as many records of TLS 1.2 as it may have.
pub const MAX_STREAM: u32 = MAX_SEALED_MESSAGE + MAX_RECORDS * 29;

/// Version of the sealed formats.
pub const FORMAT: u8 = 1;

/// No packet's header is longer than this (a sealed ACK's is so long).
pub const MAX_HEADER: usize = 104;

/// The types of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Bytes of a message.
    Data = 0x10,
    /// More bytes may be sent.
    Grant = 0x11,
    /// Bytes shall be sent again.
    Resend = 0x12,
    /// The RPC is not known.
    Unknown = 0x13,
    /// Alive, and holding back.
    Busy = 0x14,
    /// Priorities of unscheduled bytes.
    Cutoffs = 0x15,
    /// Debugging.
    Freeze = 0x16,
    /// An acknowledgment is wanted.
    NeedAck = 0x17,
    /// RPCs are done.
    Ack = 0x18,
    /// Sealed bytes of a message.
    SealedData = 0x20,
    /// GRANT of a session.
    SealedGrant = 0x21,
    /// RESEND of a session.
    SealedResend = 0x22,
    /// UNKNOWN of a session.
    SealedUnknown = 0x23,
    /// BUSY of a session.
    SealedBusy = 0x24,
    /// CUTOFFS of a session.
    SealedCutoffs = 0x25,
    /// FREEZE of a session.
    SealedFreeze = 0x26,
    /// NEED_ACK of a session.
    SealedNeedAck = 0x27,
    /// ACK of a session.
    SealedAck = 0x28,
}

impl PacketType {
    /// The type that `byte` stands for.
    #[inline]
    pub fn from_wire(byte: u8) -> Option<Self> {
        Some(match byte {
            0x10 => Self::Data,
            0x11 => Self::Grant,
            0x12 => Self::Resend,
            0x13 => Self::Unknown,
            0x14 => Self::Busy,
            0x15 => Self::Cutoffs,
            0x16 => Self::Freeze,
            0x17 => Self::NeedAck,
            0x18 => Self::Ack,
            0x20 => Self::SealedData,
            0x21 => Self::SealedGrant,
            0x22 => Self::SealedResend,
            0x23 => Self::SealedUnknown,
            0x24 => Self::SealedBusy,
            0x25 => Self::SealedCutoffs,
            0x26 => Self::SealedFreeze,
            0x27 => Self::SealedNeedAck,
            0x28 => Self::SealedAck,
            _ => return None,
        })
    }

    /// The type's byte.
    #[inline]
    pub fn to_wire(self) -> u8 {
        self as u8
    }

    /// Does it belong to a session?
    #[inline]
    pub fn is_sealed(self) -> bool {
        self.to_wire() >= Self::SealedData.to_wire()
    }

    /// The same outside a session.
    pub fn plain(self) -> Self {
        match self {
            Self::SealedData => Self::Data,
            Self::SealedGrant => Self::Grant,
            Self::SealedResend => Self::Resend,
            Self::SealedUnknown => Self::Unknown,
            Self::SealedBusy => Self::Busy,
            Self::SealedCutoffs => Self::Cutoffs,
            Self::SealedFreeze => Self::Freeze,
            Self::SealedNeedAck => Self::NeedAck,
            Self::SealedAck => Self::Ack,
            plain => plain,
        }
    }

    /// The same in a session.
    pub fn sealed(self) -> Self {
        match self {
            Self::Data => Self::SealedData,
            Self::Grant => Self::SealedGrant,
            Self::Resend => Self::SealedResend,
            Self::Unknown => Self::SealedUnknown,
            Self::Busy => Self::SealedBusy,
            Self::Cutoffs => Self::SealedCutoffs,
            Self::Freeze => Self::SealedFreeze,
            Self::NeedAck => Self::SealedNeedAck,
            Self::Ack => Self::SealedAck,
            sealed => sealed,
        }
    }

    /// Its name in the protocol, as for a log or a counter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "DATA",
            Self::Grant => "GRANT",
            Self::Resend => "RESEND",
            Self::Unknown => "UNKNOWN",
            Self::Busy => "BUSY",
            Self::Cutoffs => "CUTOFFS",
            Self::Freeze => "FREEZE",
            Self::NeedAck => "NEED_ACK",
            Self::Ack => "ACK",
            Self::SealedData => "SEALED_DATA",
            Self::SealedGrant => "SEALED_GRANT",
            Self::SealedResend => "SEALED_RESEND",
            Self::SealedUnknown => "SEALED_UNKNOWN",
            Self::SealedBusy => "SEALED_BUSY",
            Self::SealedCutoffs => "SEALED_CUTOFFS",
            Self::SealedFreeze => "SEALED_FREEZE",
            Self::SealedNeedAck => "SEALED_NEED_ACK",
            Self::SealedAck => "SEALED_ACK",
        }
    }
}

/// Why bytes are not a packet. The number of each is its place among counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Malformed {
    /// It ends before its header does, or before its payload begins.
    Short = 0,
    /// No such type.
    Type = 1,
    /// A port is 0.
    Port = 2,
    /// The message's length is none that a message can have.
    Length = 3,
    /// An offset or a range outside the message, or any message.
    Place = 4,
    /// Sealed: record size, first record and segment offset contradict each other.
    Record = 5,
    /// ACK: more than [`MAX_ACKS_PER_PACKET`].
    Acks = 6,
    /// Sealed: the sender id is not a message id.
    Id = 7,
    /// Sealed: another format version.
    Format = 8,
    /// Sealed: a reserved bit is set.
    Reserved = 9,
    /// Sealed control: bytes after the tag.
    Trailing = 10,
}

impl Malformed {
    /// How many reasons there are; `self as usize` is below.
    pub const COUNT: usize = 11;

    /// A word for it, as for a log or a counter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Type => "type",
            Self::Port => "port",
            Self::Length => "length",
            Self::Place => "place",
            Self::Record => "record",
            Self::Acks => "acks",
            Self::Id => "id",
            Self::Format => "format",
            Self::Reserved => "reserved",
            Self::Trailing => "trailing",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A packet's header, read and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What all packets tell.
    pub common: Common,
    /// What this one tells.
    pub body: Body,
    /// Bytes of header; for DATA and sealed DATA the payload begins there.
    pub header_len: usize,
}

/// What kind of packet it is, with its own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Plain DATA.
    Data(Data),
    /// A plain control packet.
    Control(Control),
    /// Sealed DATA, of which nothing is authenticated yet.
    SealedData(SealedData),
    /// A sealed control packet, of which nothing is authenticated yet.
    SealedControl(SealedControl),
}

/// DATA, plain or sealed: most packets, and much smaller than [`Body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyData {
    /// Plain DATA.
    Plain(Data),
    /// Sealed DATA, of which nothing is authenticated yet.
    Sealed(SealedData),
}

impl AnyData {
    /// Reads a packet of `len` bytes, of which `head` is the beginning, as [`Packet::parse`] does; None if it is a control packet, or
    /// its header goes on behind `head`.
    #[inline(always)]
    pub fn parse(head: &[u8], len: usize) -> Result<Option<(Common, Self)>, Malformed> {
        // What is missing here is missing in the packet, or elsewhere.
        let missing = if head.len() < len { Ok(None) } else { Err(Malformed::Short) };
        let Some(start) = head.first_chunk::<COMMON_LEN>() else {
            return missing;
        };
        match Common::kind(start).ok_or(Malformed::Type)? {
            PacketType::Data => {
                let Some(head) = head.first_chunk::<DATA_LEN>() else {
                    return missing;
                };
                Ok(Some((Common::read(head)?, Self::Plain(Data::parse(head, len)?))))
            }
            PacketType::SealedData => {
                let Some(head) = head.first_chunk::<SEALED_DATA_LEN>() else {
                    return missing;
                };
                let common = Common::read(head)?;
                let data = SealedData::parse(head, common.sender_id, len)?;
                Ok(Some((common, Self::Sealed(data))))
            }
            _ => Ok(None),
        }
    }

    /// The packet's type.
    #[inline]
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Plain(_) => PacketType::Data,
            Self::Sealed(_) => PacketType::SealedData,
        }
    }
}

impl Packet {
    /// Reads a packet of `len` bytes (the whole IP payload), of which `head` has the first
    /// `min(len, MAX_HEADER)`.
    ///
    /// # Errors
    ///
    /// A [`Malformed`] packet is to be dropped and counted.
    #[inline]
    pub fn parse(head: &[u8], len: usize) -> Result<Self, Malformed> {
        match AnyData::parse(head, len)? {
            Some((common, AnyData::Plain(data))) => {
                Ok(Self { common, body: Body::Data(data), header_len: DATA_LEN })
            }
            Some((common, AnyData::Sealed(data))) => {
                Ok(Self { common, body: Body::SealedData(data), header_len: SEALED_DATA_LEN })
            }
            None => Self::parse_control(head, len),
        }
    }

    #[inline(never)]
    fn parse_control(head: &[u8], len: usize) -> Result<Self, Malformed> {
        let start: &[u8; COMMON_LEN] = head.first_chunk().ok_or(Malformed::Short)?;
        let kind = Common::kind(start).ok_or(Malformed::Type)?;
        let common = Common::read(start)?;
        if kind.is_sealed() {
            let control = SealedControl::parse(head, common.sender_id, kind.plain(), len)?;
            let header_len = control.inner.header_len().saturating_add(SEALED_CONTROL_EXTRA);
            Ok(Self { common, body: Body::SealedControl(control), header_len })
        } else {
            let control = Control::parse(head, kind)?;
            Ok(Self { common, body: Body::Control(control), header_len: control.header_len() })
        }
    }

    /// The packet's type.
    pub fn packet_type(&self) -> PacketType {
        match &self.body {
            Body::Data(_) => PacketType::Data,
            Body::Control(control) => control.packet_type(),
            Body::SealedData(_) => PacketType::SealedData,
            Body::SealedControl(control) => control.inner.packet_type().sealed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_their_bytes() {
        let mut known = 0;
        for byte in 0..=255 {
            let Some(kind) = PacketType::from_wire(byte) else { continue };
            known += 1;
            assert_eq!(kind.to_wire(), byte);
            assert_eq!(kind.sealed().plain(), kind.plain());
            assert_eq!(kind.sealed().to_wire(), kind.plain().to_wire() + 0x10);
            assert_eq!(kind.is_sealed(), kind == kind.sealed());
            assert_eq!(kind.sealed().name().strip_prefix("SEALED_"), Some(kind.plain().name()));
        }
        assert_eq!(known, 18);
    }

    #[test]
    fn unknown_types_and_stumps() {
        let mut head = [1; MAX_HEADER];
        for kind in [0, 0x0f, 0x19, 0x1f, 0x29, 0xff] {
            head[at::TYPE] = kind;
            assert_eq!(Packet::parse(&head, MAX_HEADER), Err(Malformed::Type));
        }
        head[at::TYPE] = 0x13;
        assert!(Packet::parse(&head[..COMMON_LEN], COMMON_LEN).is_ok());
        for len in 0..COMMON_LEN {
            assert_eq!(Packet::parse(&head[..len], len), Err(Malformed::Short));
        }
    }

    #[test]
    fn the_receiver_knows_the_rpc_by_the_other_id() {
        let common = Common { source_port: 1, destination_port: 2, sender_id: 40 };
        assert_eq!(common.local_id(), 41);
        assert_eq!(Common { sender_id: 41, ..common }.local_id(), 40);
    }
}
