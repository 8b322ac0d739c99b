// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Plain DATA: 56 bytes of header, then bytes of a message.
//!
//! ```text
//!  28  message length 4   incoming 4   acknowledged RPC: client id 8, server port 2
//!  46  cutoff version 2   retransmit 1   pad 3   segment offset 4
//! ```
//!
//! The place of the payload is the segment offset, or, where that is -1, the sequence. We always
//! send the latter: then a packet differs from the next of its segment in the sequence only,
//! which both TCP segmentation in a network card and our own segmentation callback advance.

use super::bytes::{put, u16_at, u32_at, u64_at, u8_at};
use super::common::{at, Common};
use super::{Ack, Malformed, PacketType, MAX_MESSAGE};

/// Length of the DATA header.
pub const DATA_LEN: usize = 56;

/// The segment offset of a packet whose offset is in the sequence.
const IN_SEQUENCE: u32 = u32::MAX;

/// A plain DATA packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// Bytes in the whole message: 1 to [`MAX_MESSAGE`].
    pub message_length: u32,
    /// The sender sends everything below this offset without further grants; at most
    /// `message_length`.
    pub incoming: u32,
    /// An RPC (of any socket of the sending host with the receiving one) whose response arrived.
    pub ack: Option<Ack>,
    /// Version of the newest CUTOFFS that the sender has from the receiver; 0 for none.
    pub cutoff_version: u16,
    /// Was it sent before?
    pub retransmit: bool,
    /// Offset in the message of the first byte of the payload.
    pub offset: u32,
    /// Bytes of payload, at least 1: what follows the header.
    pub payload: u32,
}

impl Data {
    /// Reads the header of a packet of `len` bytes.
    ///
    /// # Errors
    ///
    /// - [`Malformed::Short`]: there is no payload;
    /// - [`Malformed::Length`]: the message's length is none that a message can have;
    /// - [`Malformed::Place`]: the payload is not inside the message.
    #[inline]
    pub fn parse(head: &[u8; DATA_LEN], len: usize) -> Result<Self, Malformed> {
        const N: usize = DATA_LEN;
        let payload = len.checked_sub(DATA_LEN).filter(|payload| *payload != 0);
        let payload = payload.ok_or(Malformed::Short)?;
        let payload = u32::try_from(payload).map_err(|_| Malformed::Place)?;

        let message_length = u32_at::<{ at::MESSAGE_LENGTH }, N>(head);
        if !(1..=MAX_MESSAGE).contains(&message_length) {
            return Err(Malformed::Length);
        }
        let offset = match u32_at::<{ at::SEGMENT_OFFSET }, N>(head) {
            IN_SEQUENCE => u32_at::<{ at::SEQUENCE }, N>(head),
            offset => offset,
        };
        match offset.checked_add(payload) {
            Some(end) if end <= message_length => {}
            _ => return Err(Malformed::Place),
        }
        let client_id = u64_at::<{ at::ACK }, N>(head);
        Ok(Self {
            message_length,
            incoming: u32_at::<{ at::INCOMING }, N>(head).min(message_length),
            ack: (client_id != 0).then(|| Ack {
                client_id,
                server_port: u16_at::<{ at::ACK_SERVER_PORT }, N>(head),
            }),
            cutoff_version: u16_at::<{ at::CUTOFF_VERSION }, N>(head),
            retransmit: u8_at::<{ at::RETRANSMIT }, N>(head) != 0,
            offset,
            payload,
        })
    }

    /// Writes the header; `payload` is not part of it.
    #[inline]
    pub fn emit(&self, common: &Common) -> [u8; DATA_LEN] {
        const N: usize = DATA_LEN;
        let mut head = [0; N];
        common.write(&mut head, PacketType::Data, (DATA_LEN / 4) as u8);
        put::<{ at::SEQUENCE }, 4, N>(&mut head, self.offset.to_be_bytes());
        put::<{ at::MESSAGE_LENGTH }, 4, N>(&mut head, self.message_length.to_be_bytes());
        put::<{ at::INCOMING }, 4, N>(&mut head, self.incoming.to_be_bytes());
        if let Some(ack) = self.ack {
            put::<{ at::ACK }, 8, N>(&mut head, ack.client_id.to_be_bytes());
            put::<{ at::ACK_SERVER_PORT }, 2, N>(&mut head, ack.server_port.to_be_bytes());
        }
        put::<{ at::CUTOFF_VERSION }, 2, N>(&mut head, self.cutoff_version.to_be_bytes());
        put::<{ at::RETRANSMIT }, 1, N>(&mut head, [u8::from(self.retransmit)]);
        put::<{ at::SEGMENT_OFFSET }, 4, N>(&mut head, IN_SEQUENCE.to_be_bytes());
        head
    }
}
