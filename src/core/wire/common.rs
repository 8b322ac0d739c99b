// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The 28 bytes that every Homa packet begins with, and where each field stands.
//!
//! They overlay a TCP header, so that network cards built for TCP can cut and steer Homa's
//! packets:
//!
//! ```text
//!   0  source port      2   destination port  2   sequence  4
//!   8  (ack)            3   type              1   doff      1   flags  1   window  2
//!  16  (checksum)       2   (urgent)          2   sender id 8
//! ```
//!
//! Fields in brackets are TCP's; Homa sends zero and ignores them.

use super::bytes::{put, u16_at, u64_at, u8_at};
use super::{Malformed, PacketType};

/// Where fields stand, in bytes from the start of the Homa header.
///
/// For whoever patches packets in place, as a segmentation callback does: what it must change
/// from one packet of a segment to the next is [`SEQUENCE`](at::SEQUENCE) alone.
pub mod at {
    /// u16.
    pub const SOURCE_PORT: usize = 0;
    /// u16.
    pub const DESTINATION_PORT: usize = 2;
    /// u32. DATA: place of the payload; TCP segmentation advances it.
    pub const SEQUENCE: usize = 4;
    /// u8, the last byte of TCP's acknowledgment number.
    pub const TYPE: usize = 11;
    /// u8. High nibble: words of header that segmentation repeats.
    pub const DOFF: usize = 12;
    /// u8, TCP's flags: zero.
    pub const FLAGS: usize = 13;
    /// u16. Sealed DATA: payload bytes per packet.
    pub const WINDOW: usize = 14;
    /// u16, TCP's checksum: zero, or whatever a network card put there.
    pub const CHECKSUM: usize = 16;
    /// u16, TCP's urgent pointer: zero.
    pub const URGENT: usize = 18;
    /// u64.
    pub const SENDER_ID: usize = 20;

    /// DATA: u32.
    pub const MESSAGE_LENGTH: usize = 28;
    /// DATA: u32.
    pub const INCOMING: usize = 32;
    /// DATA: the id of the RPC that is acknowledged, u64; 0 for none.
    pub const ACK: usize = 36;
    /// DATA: the server's port of the RPC that is acknowledged, u16.
    pub const ACK_SERVER_PORT: usize = 44;
    /// DATA: u16.
    pub const CUTOFF_VERSION: usize = 46;
    /// DATA: u8, 1 if it was sent before.
    pub const RETRANSMIT: usize = 48;
    /// DATA: u8, the low four bits: how little of the response to send unasked.
    pub const RESPONSE_LIMIT: usize = 49;
    /// Sealed DATA: u16, index of the first record of the packet's segment.
    pub const FIRST_RECORD: usize = 50;
    /// DATA: u32.
    pub const SEGMENT_OFFSET: usize = 52;
    /// Sealed DATA: u16, plaintext bytes per record.
    pub const RECORD_SIZE: usize = 56;
    /// Sealed DATA: u8, see [`SealFlags`](super::super::SealFlags).
    pub const SEAL_FLAGS: usize = 58;
    /// Sealed DATA: u8, [`FORMAT`](super::super::FORMAT).
    pub const FORMAT: usize = 59;

    /// Sealed control packets, which have no sequence, keep the seal flags in its third byte: u8.
    pub const CONTROL_SEAL_FLAGS: usize = 6;
    /// And the format version in its last: u8.
    pub const CONTROL_FORMAT: usize = 7;
}

/// Length of the common header.
pub const COMMON_LEN: usize = 28;

/// What all packets tell: from which port to which, about which RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// Port of the sender; never 0.
    pub source_port: u16,
    /// Port of the receiver; never 0.
    pub destination_port: u16,
    /// The RPC's id as its sender knows it: even at the client, odd at the server. In a sealed
    /// packet it is the message's id ([`MessageId`](super::super::session::seq::MessageId)).
    pub sender_id: u64,
}

impl Common {
    /// The RPC's id as the receiver knows it.
    #[inline]
    pub fn local_id(&self) -> u64 {
        self.sender_id ^ 1
    }

    /// Reads the fields that all packets share.
    ///
    /// # Errors
    ///
    /// [`Malformed::Port`] if a port is 0.
    #[inline]
    pub(super) fn read<const N: usize>(head: &[u8; N]) -> Result<Self, Malformed> {
        let common = Self {
            source_port: u16_at::<{ at::SOURCE_PORT }, N>(head),
            destination_port: u16_at::<{ at::DESTINATION_PORT }, N>(head),
            sender_id: u64_at::<{ at::SENDER_ID }, N>(head),
        };
        if common.source_port == 0 || common.destination_port == 0 {
            return Err(Malformed::Port);
        }
        Ok(common)
    }

    /// Writes the fields that all packets share; `doff` is the header's length in words.
    #[inline]
    pub(super) fn write<const N: usize>(&self, head: &mut [u8; N], kind: PacketType, doff: u8) {
        put::<{ at::SOURCE_PORT }, 2, N>(head, self.source_port.to_be_bytes());
        put::<{ at::DESTINATION_PORT }, 2, N>(head, self.destination_port.to_be_bytes());
        put::<{ at::TYPE }, 1, N>(head, [kind.to_wire()]);
        put::<{ at::DOFF }, 1, N>(head, [doff << 4]);
        put::<{ at::SENDER_ID }, 8, N>(head, self.sender_id.to_be_bytes());
    }

    /// The type byte of a packet.
    #[inline]
    pub(super) fn kind(head: &[u8; COMMON_LEN]) -> Option<PacketType> {
        PacketType::from_wire(u8_at::<{ at::TYPE }, COMMON_LEN>(head))
    }
}
