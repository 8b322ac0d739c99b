// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Plain DATA: 56 bytes of header, then bytes of a message.
//!
//! ```text
//!  28  message length 4   incoming 4   acknowledged RPC: client id 8, server port 2
//!  46  cutoff version 2   retransmit 1   response limit 1   pad 2   segment offset 4
//! ```
//!
//! The place of the payload is the segment offset, or, where that is -1, the sequence. What may be cut says
//! the latter: then a packet differs from the next of its segment in the sequence only, which both TCP
//! segmentation in a network card and our own segmentation callback advance. Packets that are sent as they
//! are ([`Data::emit_packet`]) say both: HomaModule reads the sequence in its GRO callback alone, which not every device
//! calls.

use super::super::window::ResponseLimit;
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
    /// Of a request: how little of the response shall be sent unasked.
    pub response_limit: ResponseLimit,
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
            response_limit: ResponseLimit::from_wire(u8_at::<{ at::RESPONSE_LIMIT }, N>(head)),
            offset,
            payload,
        })
    }

    /// Writes the header of a packet that nobody will cut; `payload` is not part of it.
    #[inline]
    pub fn emit_packet(&self, common: &Common) -> [u8; DATA_LEN] {
        let mut head = self.emit(common);
        put::<{ at::SEGMENT_OFFSET }, 4, DATA_LEN>(&mut head, self.offset.to_be_bytes());
        head
    }

    /// Writes the header of what may be cut; `payload` is not part of it.
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
        put::<{ at::RESPONSE_LIMIT }, 1, N>(&mut head, [self.response_limit.to_wire()]);
        put::<{ at::SEGMENT_OFFSET }, 4, N>(&mut head, IN_SEQUENCE.to_be_bytes());
        head
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Packet};
    use super::*;

    const COMMON: Common =
        Common { source_port: 0x8001, destination_port: 99, sender_id: 0x0102_0304_0506_0708 };

    fn data() -> Data {
        Data {
            message_length: 100_000,
            incoming: 72_000,
            ack: Some(Ack { client_id: 0x1112_1314_1516_1718, server_port: 99 }),
            cutoff_version: 7,
            retransmit: true,
            response_limit: ResponseLimit::from_wire(3),
            offset: 1400,
            payload: 1400,
        }
    }

    #[test]
    fn header_is_homa_modules() {
        #[rustfmt::skip]
        let bytes = [
            0x80, 0x01, 0, 99,                      // ports
            0, 0, 0x05, 0x78,                       // sequence
            0, 0, 0, 0x10,                          // (ack), type
            0xe0, 0, 0, 0,                          // 14 words, flags, window
            0, 0, 0, 0,                             // (checksum), (urgent)
            1, 2, 3, 4, 5, 6, 7, 8,                 // sender id
            0, 1, 0x86, 0xa0, 0, 1, 0x19, 0x40,     // message length, incoming
            0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0, 99, // ack
            0, 7, 1, 3, 0, 0,                       // cutoff version, retransmit, response limit, pad
            0xff, 0xff, 0xff, 0xff,                 // segment offset: see the sequence
        ];
        assert_eq!(data().emit(&COMMON), bytes);
        assert_eq!(
            Packet::parse(&bytes, 56 + 1400),
            Ok(Packet { common: COMMON, body: Body::Data(data()), header_len: 56 })
        );
    }

    #[test]
    fn a_packet_tells_its_offset_twice() {
        let head = data().emit_packet(&COMMON);
        assert_eq!(head[..52], data().emit(&COMMON)[..52]);
        assert_eq!(head[52..], 1400u32.to_be_bytes());
        assert_eq!(Data::parse(&head, 56 + 1400), Ok(data()));
    }

    #[test]
    fn segment_offset_wins_over_the_sequence() {
        let mut head = data().emit(&COMMON);
        head[52..].copy_from_slice(&2800u32.to_be_bytes());
        assert_eq!(Data::parse(&head, 57).map(|data| data.offset), Ok(2800));
        head[4..8].copy_from_slice(&[0xff; 4]);
        assert_eq!(Data::parse(&head, 57).map(|data| data.offset), Ok(2800));
    }

    #[test]
    fn segmentation_advances_the_sequence_only() {
        let mut head = data().emit(&COMMON);
        head[at::SEQUENCE..at::SEQUENCE + 4].copy_from_slice(&2800u32.to_be_bytes());
        assert_eq!(Data::parse(&head, 56 + 1400), Ok(Data { offset: 2800, ..data() }));
    }

    #[test]
    fn payload_must_be_inside_the_message() {
        let head = data().emit(&COMMON);
        let most = 56 + 100_000 - 1400;
        assert!(Data::parse(&head, most).is_ok());
        assert_eq!(Data::parse(&head, most + 1), Err(Malformed::Place));
        assert_eq!(Data::parse(&head, usize::MAX), Err(Malformed::Place));
        assert_eq!(Data::parse(&head, 56), Err(Malformed::Short));
        assert_eq!(Data::parse(&head, 0), Err(Malformed::Short));

        let mut wrapping = head;
        wrapping[52..].copy_from_slice(&(u32::MAX - 1).to_be_bytes());
        assert_eq!(Data::parse(&wrapping, 56 + 1400), Err(Malformed::Place));
    }

    #[test]
    fn length_must_be_a_messages() {
        let longest = Data { message_length: MAX_MESSAGE, ..data() };
        assert!(Data::parse(&longest.emit(&COMMON), 57).is_ok());
        for message_length in [0, MAX_MESSAGE + 1, u32::MAX] {
            let head = Data { message_length, ..data() }.emit(&COMMON);
            assert_eq!(Data::parse(&head, 57), Err(Malformed::Length));
        }
    }

    #[test]
    fn incoming_is_at_most_the_message() {
        let head = Data { incoming: u32::MAX, ..data() }.emit(&COMMON);
        assert_eq!(Data::parse(&head, 57).map(|data| data.incoming), Ok(100_000));
    }

    #[test]
    fn ports_are_never_zero() {
        for common in
            [Common { source_port: 0, ..COMMON }, Common { destination_port: 0, ..COMMON }]
        {
            assert_eq!(Packet::parse(&data().emit(&common), 57), Err(Malformed::Port));
        }
    }
}
