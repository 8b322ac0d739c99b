// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Packets of a session: sealed DATA, and control packets with a tag.
//!
//! Sealed DATA has plain DATA's header and four bytes more, 60 in all:
//!
//! ```text
//!   4  sequence 4: the payload's place in its segment, as sent
//!  14  window 2: payload bytes per packet
//!  20  sender id 8: message id, below 2^47
//!  28  message length 4: plaintext, with preamble and padding
//!  32  incoming 4: a stream offset
//!  36  zero 10   cutoff version 2   retransmit 1   response limit 1
//!  50  first record 2   segment offset 4: plaintext before the segment
//!  56  record size 2   seal flags 1   format version 1
//! ```
//!
//! A sealed control packet is the plain one with another type, the seal flags and the format
//! version in the sequence's place, and then the control counter (8 bytes) and a tag (16 bytes).
//!
//! Parsing believes nothing: it checks that the fields agree with each other and are within
//! bounds. Whether they are true is seen when a record, or the tag, authenticates.

use super::super::layout::Layout;
use super::super::session::epoch::Epoch;
use super::super::session::seq::MessageId;
use super::super::session::TlsVersion;
use super::super::window::ResponseLimit;
use super::bytes::{put, u16_at, u32_at, u64_at, u8_at};
use super::common::{at, Common, COMMON_LEN};
use super::control::{Control, Header};
use super::{
    Malformed, PacketType, FORMAT, MAX_HEADER, MAX_RECORD, MAX_RECORDS, MAX_SEALED_MESSAGE,
    MAX_SEGMENT, MIN_RECORD, MIN_SEALED_MESSAGE,
};

/// Length of the sealed DATA header.
pub const SEALED_DATA_LEN: usize = 60;

/// Length of the authentication tag of a control packet (and of a record): AES-GCM's.
pub const TAG_LEN: usize = 16;

/// What a sealed control packet adds to the plain one: counter and tag.
pub const SEALED_CONTROL_EXTRA: usize = 8 + TAG_LEN;

/// The byte that says how a packet was sealed.
///
/// Bits 0 and 1: key epoch; bit 2: TLS 1.3 (else 1.2); bit 3, DATA only: the place comes from
/// the IPv4 identification; bits 4 to 7: zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealFlags {
    /// Which of the session's keys.
    pub epoch: Epoch,
    /// Which kind of record and nonce.
    pub version: TlsVersion,
}

impl SealFlags {
    const TLS13: u8 = 1 << 2;
    pub(super) const PLACE_FROM_IP_ID: u8 = 1 << 3;

    fn to_wire(self) -> u8 {
        self.epoch.number()
            | match self.version {
                TlsVersion::Tls12 => 0,
                TlsVersion::Tls13 => Self::TLS13,
            }
    }

    /// The flags in `byte`, of which only the bits of `allowed` may be set beyond them.
    fn from_wire(byte: u8, allowed: u8) -> Result<Self, Malformed> {
        if byte & !(Epoch::MASK | Self::TLS13 | allowed) != 0 {
            return Err(Malformed::Reserved);
        }
        Ok(Self {
            epoch: Epoch::new(byte),
            version: if byte & Self::TLS13 != 0 { TlsVersion::Tls13 } else { TlsVersion::Tls12 },
        })
    }
}

/// A sealed DATA packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedData {
    /// Bytes of plaintext in the whole message: [`MIN_SEALED_MESSAGE`] to
    /// [`MAX_SEALED_MESSAGE`]. Not authenticated; the preamble tells the truth.
    pub message_length: u32,
    /// The sender sends everything below this stream offset without further grants; at most the
    /// length of the stream.
    pub incoming: u32,
    /// Version of the newest CUTOFFS that the sender has from the receiver; 0 for none.
    pub cutoff_version: u16,
    /// Was it sent before?
    pub retransmit: bool,
    /// Of a request: how little of the response shall be sent unasked. (Not authenticated: a forger could make it
    /// slower, which dropping packets does, too.)
    pub response_limit: ResponseLimit,
    /// How it was sealed.
    pub flags: SealFlags,
    /// Bytes of plaintext in every record but the last: [`MIN_RECORD`] to [`MAX_RECORD`].
    pub record_size: u16,
    /// Index of the first record of the segment that this packet belongs to. (The segment offset,
    /// which the packet also carries, is this times `record_size`.)
    pub first_record: u16,
    /// The payload's place in its segment, unless `place_from_ip_id`.
    pub sequence: u32,
    /// Bytes of payload in each packet of the segment but the last; may be 0 if nobody needs it.
    pub window: u16,
    /// The payload's place in its segment is the IPv4 identification times `window`.
    pub place_from_ip_id: bool,
    /// Bytes of payload, at least 1: what follows the header.
    pub payload: u32,
}

impl SealedData {
    /// Reads the header of a packet of `len` bytes, whose sender id is `sender_id`.
    ///
    /// # Errors
    ///
    /// - [`Malformed::Short`]: there is no payload;
    /// - [`Malformed::Format`]: another version of the format;
    /// - [`Malformed::Reserved`]: a reserved bit is set;
    /// - [`Malformed::Id`]: the sender id is not a message id;
    /// - [`Malformed::Length`]: the message's length is none that a message can have;
    /// - [`Malformed::Record`]: record size, first record and segment offset do not fit together
    ///   or into the message, or there are more than [`MAX_RECORDS`];
    /// - [`Malformed::Place`]: the payload is not inside the segment and the message.
    #[inline]
    pub fn parse(
        head: &[u8; SEALED_DATA_LEN],
        sender_id: u64,
        len: usize,
    ) -> Result<Self, Malformed> {
        const N: usize = SEALED_DATA_LEN;
        let payload = len.checked_sub(SEALED_DATA_LEN).filter(|payload| *payload != 0);
        let payload = payload.ok_or(Malformed::Short)?;
        let payload = u32::try_from(payload).map_err(|_| Malformed::Place)?;

        if u8_at::<{ at::FORMAT }, N>(head) != FORMAT {
            return Err(Malformed::Format);
        }
        let flags = u8_at::<{ at::SEAL_FLAGS }, N>(head);
        let place_from_ip_id = flags & SealFlags::PLACE_FROM_IP_ID != 0;
        let flags = SealFlags::from_wire(flags, SealFlags::PLACE_FROM_IP_ID)?;
        let response_limit = u8_at::<{ at::RESPONSE_LIMIT }, N>(head);
        if response_limit & 0xf0 != 0 {
            return Err(Malformed::Reserved);
        }
        if MessageId::new(sender_id).is_none() {
            return Err(Malformed::Id);
        }
        let message_length = u32_at::<{ at::MESSAGE_LENGTH }, N>(head);
        if !(MIN_SEALED_MESSAGE..=MAX_SEALED_MESSAGE).contains(&message_length) {
            return Err(Malformed::Length);
        }
        let mut data = Self {
            message_length,
            incoming: u32_at::<{ at::INCOMING }, N>(head),
            cutoff_version: u16_at::<{ at::CUTOFF_VERSION }, N>(head),
            retransmit: u8_at::<{ at::RETRANSMIT }, N>(head) != 0,
            response_limit: ResponseLimit::from_wire(response_limit),
            flags,
            record_size: u16_at::<{ at::RECORD_SIZE }, N>(head),
            first_record: u16_at::<{ at::FIRST_RECORD }, N>(head),
            sequence: u32_at::<{ at::SEQUENCE }, N>(head),
            window: u16_at::<{ at::WINDOW }, N>(head),
            place_from_ip_id,
            payload,
        };
        if !(MIN_RECORD..=MAX_RECORD).contains(&data.record_size)
            || u32_at::<{ at::SEGMENT_OFFSET }, N>(head) != data.segment_offset()
            || data.segment_offset() >= message_length
        {
            return Err(Malformed::Record);
        }
        let layout = data.layout().filter(|layout| layout.records() <= MAX_RECORDS);
        let layout = layout.ok_or(Malformed::Record)?;
        data.incoming = data.incoming.min(layout.stream_length());
        if !place_from_ip_id {
            data.offset_of(data.sequence, &layout)?;
        }
        Ok(data)
    }

    /// Bytes of plaintext before the segment.
    #[inline]
    pub fn segment_offset(&self) -> u32 {
        u32::from(self.first_record).wrapping_mul(u32::from(self.record_size))
    }

    /// How the message is cut into records; always `Some` for a parsed packet.
    #[inline]
    pub fn layout(&self) -> Option<Layout> {
        Layout::sealed(
            self.message_length,
            u32::from(self.record_size),
            self.flags.version.record_overhead(),
        )
    }

    /// Where the payload begins in the stream: the message's sealed bytes as they are sent.
    ///
    /// `ip_id` is the IPv4 identification, of which packets with `place_from_ip_id` have need;
    /// `None` for IPv6.
    ///
    /// # Errors
    ///
    /// [`Malformed::Place`]: the payload is not inside the segment and the message, or its place
    /// is told by an identification that there is not.
    #[inline]
    pub fn stream_offset(&self, ip_id: Option<u16>) -> Result<u32, Malformed> {
        self.stream_offset_in(&self.layout().ok_or(Malformed::Record)?, ip_id)
    }

    /// The same for who has the [`layout`](Self::layout) already.
    #[inline]
    pub fn stream_offset_in(&self, layout: &Layout, ip_id: Option<u16>) -> Result<u32, Malformed> {
        let place = if self.place_from_ip_id {
            let packet = ip_id.filter(|_| self.window != 0).ok_or(Malformed::Place)?;
            u32::from(packet).wrapping_mul(u32::from(self.window))
        } else {
            self.sequence
        };
        self.offset_of(place, layout)
    }

    /// The stream offset of `place` in the segment.
    #[inline]
    fn offset_of(&self, place: u32, layout: &Layout) -> Result<u32, Malformed> {
        match place.checked_add(self.payload) {
            Some(end) if end <= MAX_SEGMENT => {}
            _ => return Err(Malformed::Place),
        }
        let record = layout.record(u32::from(self.first_record)).ok_or(Malformed::Record)?;
        // No overflow: a stream and a segment are short.
        let offset = record.stream.start.wrapping_add(place);
        if offset.wrapping_add(self.payload) > layout.stream_length() {
            return Err(Malformed::Place);
        }
        Ok(offset)
    }

    /// Writes the header; `payload` is not part of it.
    #[inline]
    pub fn emit(&self, common: &Common) -> [u8; SEALED_DATA_LEN] {
        const N: usize = SEALED_DATA_LEN;
        let mut head = [0; N];
        common.write(&mut head, PacketType::SealedData, (SEALED_DATA_LEN / 4) as u8);
        put::<{ at::SEQUENCE }, 4, N>(&mut head, self.sequence.to_be_bytes());
        put::<{ at::WINDOW }, 2, N>(&mut head, self.window.to_be_bytes());
        put::<{ at::MESSAGE_LENGTH }, 4, N>(&mut head, self.message_length.to_be_bytes());
        put::<{ at::INCOMING }, 4, N>(&mut head, self.incoming.to_be_bytes());
        put::<{ at::CUTOFF_VERSION }, 2, N>(&mut head, self.cutoff_version.to_be_bytes());
        put::<{ at::RETRANSMIT }, 1, N>(&mut head, [u8::from(self.retransmit)]);
        put::<{ at::RESPONSE_LIMIT }, 1, N>(&mut head, [self.response_limit.to_wire()]);
        put::<{ at::FIRST_RECORD }, 2, N>(&mut head, self.first_record.to_be_bytes());
        put::<{ at::SEGMENT_OFFSET }, 4, N>(&mut head, self.segment_offset().to_be_bytes());
        put::<{ at::RECORD_SIZE }, 2, N>(&mut head, self.record_size.to_be_bytes());
        let place = if self.place_from_ip_id { SealFlags::PLACE_FROM_IP_ID } else { 0 };
        put::<{ at::SEAL_FLAGS }, 1, N>(&mut head, [self.flags.to_wire() | place]);
        put::<{ at::FORMAT }, 1, N>(&mut head, [FORMAT]);
        head
    }
}

/// A sealed control packet, not yet authenticated: nothing in it may be acted upon before its
/// tag was found right and its counter new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedControl {
    /// The plain packet's fields.
    pub inner: Control,
    /// How it was sealed.
    pub flags: SealFlags,
    /// The control counter, below 2^63.
    pub counter: u64,
    /// The tag.
    pub tag: [u8; TAG_LEN],
    /// The packet's first bytes that the tag is over: header and counter.
    pub aad_len: usize,
}

/// A sealed control packet that still lacks its tag.
#[derive(Clone, Copy, Debug)]
pub struct UntaggedControl {
    header: Header,
}

impl UntaggedControl {
    /// The associated data that the tag is to be computed over (with no plaintext).
    pub fn aad(&self) -> &[u8] {
        self.header.as_slice()
    }

    /// The packet, with its tag.
    pub fn finish(self, tag: &[u8; TAG_LEN]) -> Header {
        let mut header = self.header;
        let len = usize::from(header.len);
        if let Some(place) = header.bytes.get_mut(len..).and_then(<[u8]>::first_chunk_mut) {
            *place = *tag;
            header.len = header.len.saturating_add(TAG_LEN as u8);
        }
        header
    }
}

impl SealedControl {
    /// Reads the sealed control packet with the (plain) type `kind`; `head` is all of it and it
    /// is `len` bytes long.
    ///
    /// # Errors
    ///
    /// As for plain control packets, and:
    /// - [`Malformed::Trailing`]: it goes on after the tag;
    /// - [`Malformed::Format`]: another version of the format;
    /// - [`Malformed::Reserved`]: a reserved bit is set;
    /// - [`Malformed::Id`]: the sender id is not a message id.
    pub(super) fn parse(
        head: &[u8],
        sender_id: u64,
        kind: PacketType,
        len: usize,
    ) -> Result<Self, Malformed> {
        const N: usize = COMMON_LEN;
        let common: &[u8; N] = head.first_chunk().ok_or(Malformed::Short)?;
        if u8_at::<{ at::CONTROL_FORMAT }, N>(common) != FORMAT {
            return Err(Malformed::Format);
        }
        if u16_at::<{ at::SEQUENCE }, N>(common) != 0 {
            return Err(Malformed::Reserved);
        }
        let flags = SealFlags::from_wire(u8_at::<{ at::CONTROL_SEAL_FLAGS }, N>(common), 0)?;
        if MessageId::new(sender_id).is_none() {
            return Err(Malformed::Id);
        }
        let inner = Control::parse(head, kind)?;
        let end = inner.header_len();
        let rest = head.get(end..).ok_or(Malformed::Short)?;
        const EXTRA: usize = SEALED_CONTROL_EXTRA;
        let extra: &[u8; EXTRA] = rest.first_chunk().ok_or(Malformed::Short)?;
        if len != end.saturating_add(EXTRA) {
            return Err(Malformed::Trailing);
        }
        let counter = u64_at::<0, EXTRA>(extra);
        if counter >> 63 != 0 {
            return Err(Malformed::Reserved);
        }
        let (_, tag) = extra.split_last_chunk().ok_or(Malformed::Short)?;
        Ok(Self { inner, flags, counter, tag: *tag, aad_len: end.saturating_add(8) })
    }

    /// Writes the packet up to where its tag goes.
    ///
    /// `counter` is from [`ControlSender`](super::super::session::control::ControlSender).
    pub fn emit(
        inner: &Control,
        common: &Common,
        flags: SealFlags,
        counter: u64,
    ) -> UntaggedControl {
        const N: usize = MAX_HEADER;
        let mut header = inner.emit_as(common, inner.packet_type().sealed());
        put::<{ at::CONTROL_SEAL_FLAGS }, 1, N>(&mut header.bytes, [flags.to_wire()]);
        put::<{ at::CONTROL_FORMAT }, 1, N>(&mut header.bytes, [FORMAT]);
        let len = usize::from(header.len);
        if let Some(place) = header.bytes.get_mut(len..).and_then(<[u8]>::first_chunk_mut) {
            *place = counter.to_be_bytes();
            header.len = header.len.saturating_add(8);
        }
        UntaggedControl { header }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ack, Acks, Body, Packet};
    use super::*;
    use std::vec::Vec;

    const COMMON: Common =
        Common { source_port: 0x8001, destination_port: 99, sender_id: 0x0304_0506_0708 };
    const FLAGS: SealFlags = SealFlags { epoch: Epoch::new(2), version: TlsVersion::Tls13 };

    fn data() -> SealedData {
        SealedData {
            message_length: 10_008,
            incoming: 10_052,
            cutoff_version: 7,
            retransmit: false,
            response_limit: ResponseLimit::NONE,
            flags: FLAGS,
            record_size: 4096,
            first_record: 1,
            sequence: 1400,
            window: 1400,
            place_from_ip_id: false,
            payload: 1400,
        }
    }

    fn parse(data: &SealedData) -> Result<SealedData, Malformed> {
        let bytes = data.emit(&COMMON);
        let packet = Packet::parse(&bytes, SEALED_DATA_LEN + data.payload as usize)?;
        assert_eq!((packet.common, packet.header_len), (COMMON, SEALED_DATA_LEN));
        match packet.body {
            Body::SealedData(data) => Ok(data),
            body => panic!("not sealed DATA: {body:?}"),
        }
    }

    #[test]
    fn header_is_as_documented() {
        #[rustfmt::skip]
        let bytes = [
            0x80, 0x01, 0, 99,                  // ports
            0, 0, 0x05, 0x78,                   // sequence: place in the segment
            0, 0, 0, 0x20,                      // (ack), type
            0xf0, 0, 0x05, 0x78,                // 15 words, flags, window: payload per packet
            0, 0, 0, 0,                         // (checksum), (urgent)
            0, 0, 3, 4, 5, 6, 7, 8,             // message id
            0, 0, 0x27, 0x18, 0, 0, 0x27, 0x44, // message length, incoming
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0,       // zero
            0, 7, 0, 0,                         // cutoff version, retransmit, response limit
            0, 1, 0, 0, 0x10, 0,                // first record, segment offset
            0x10, 0, 0b110, 1,                  // record size, flags, format
        ];
        assert_eq!(data().emit(&COMMON), bytes);
        assert_eq!(parse(&data()), Ok(data()));
        // Record 1 begins after 4096 + 22 bytes.
        assert_eq!(data().stream_offset(None), Ok(4118 + 1400));
    }

    #[test]
    fn place_comes_from_the_ip_id_if_the_flag_says_so() {
        let data = SealedData { place_from_ip_id: true, sequence: 12_345_678, ..data() };
        assert_eq!(parse(&data), Ok(data));
        assert_eq!(data.emit(&COMMON)[at::SEAL_FLAGS], 0b1110);
        assert_eq!(data.stream_offset(Some(0)), Ok(4118));
        assert_eq!(data.stream_offset(Some(2)), Ok(4118 + 2800));
        assert_eq!(data.stream_offset(Some(40)), Err(Malformed::Place));
        assert_eq!(data.stream_offset(Some(u16::MAX)), Err(Malformed::Place));
        assert_eq!(data.stream_offset(None), Err(Malformed::Place));
        let nothing = SealedData { window: 0, ..data };
        assert_eq!(nothing.stream_offset(Some(1)), Err(Malformed::Place));
    }

    #[test]
    fn payload_must_be_inside_segment_and_message() {
        let stream = 10_008 + 3 * 22;
        let last = stream - 4118 - 1400;
        assert!(parse(&SealedData { sequence: last, ..data() }).is_ok());
        for sequence in [last + 1, MAX_SEGMENT, u32::MAX] {
            let data = SealedData { sequence, ..data() };
            assert_eq!(parse(&data), Err(Malformed::Place), "{sequence}");
        }
        let long = SealedData { message_length: 500_000, ..data() };
        assert!(parse(&SealedData { sequence: MAX_SEGMENT - 1400, ..long }).is_ok());
        let beyond = SealedData { sequence: MAX_SEGMENT - 1399, ..long };
        assert_eq!(parse(&beyond), Err(Malformed::Place));
    }

    #[test]
    fn records_must_fit_the_message() {
        for (record_size, first_record) in [(63, 1), (16_385, 0), (0, 0), (4096, 3)] {
            let data = SealedData { record_size, first_record, ..data() };
            assert_eq!(parse(&data), Err(Malformed::Record), "{record_size} {first_record}");
        }
        let long = SealedData { record_size: 64, sequence: 0, payload: 1, ..data() };
        assert!(parse(&SealedData { message_length: 65_536, ..long }).is_ok());
        let longer = SealedData { message_length: 65_537, ..long };
        assert_eq!(parse(&longer), Err(Malformed::Record));
        let mut bytes = data().emit(&COMMON);
        bytes[at::SEGMENT_OFFSET + 3] ^= 1;
        assert_eq!(Packet::parse(&bytes, 61), Err(Malformed::Record));
    }

    #[test]
    fn lengths_of_sealed_messages() {
        let base = SealedData { first_record: 0, sequence: 0, payload: 1, incoming: 1, ..data() };
        for message_length in [MIN_SEALED_MESSAGE, MAX_SEALED_MESSAGE] {
            assert!(parse(&SealedData { message_length, ..base }).is_ok());
        }
        for message_length in [0, MIN_SEALED_MESSAGE - 1, MAX_SEALED_MESSAGE + 1, u32::MAX] {
            let data = SealedData { message_length, ..base };
            assert_eq!(parse(&data), Err(Malformed::Length));
        }
    }

    #[test]
    fn max_stream_is_the_longest_stream() {
        let layout = Layout::sealed(MAX_SEALED_MESSAGE, 1024, 29).unwrap();
        assert_eq!(layout.records(), MAX_RECORDS);
        assert_eq!(layout.stream_length(), super::super::MAX_STREAM);
    }

    #[test]
    fn reserved_bits_format_and_id() {
        let bytes = data().emit(&COMMON);
        let with = |at: usize, value: u8| {
            let mut bytes = bytes;
            bytes[at] = value;
            Packet::parse(&bytes, SEALED_DATA_LEN + 1400).map(|_| ())
        };
        for bit in 4..8 {
            assert_eq!(with(at::SEAL_FLAGS, 1 << bit), Err(Malformed::Reserved));
        }
        assert_eq!(with(at::RESPONSE_LIMIT, 16), Err(Malformed::Reserved));
        assert_eq!(with(at::FORMAT, 0), Err(Malformed::Format));
        assert_eq!(with(at::FORMAT, 2), Err(Malformed::Format));
        assert_eq!(with(at::SENDER_ID, 1), Err(Malformed::Id));
        assert_eq!(with(at::SENDER_ID + 2, 0x80), Err(Malformed::Id));
        assert_eq!(with(at::SENDER_ID + 2, 0x7f), Ok(()));
    }

    fn controls() -> [Control; 9] {
        let mut acks = Acks::new();
        acks.push(Ack { client_id: 2, server_port: 99 });
        [
            Control::Grant { offset: 70_000, priority: 3 },
            Control::Resend { offset: 10, length: Some(20), priority: 1 },
            Control::Resend { offset: 0, length: None, priority: 1 },
            Control::Unknown,
            Control::Busy,
            Control::Cutoffs { cutoffs: [1, 2, 3, 4, 5, 6, 7, 8], version: 9 },
            Control::Freeze,
            Control::NeedAck,
            Control::Ack(acks),
        ]
    }

    #[test]
    fn control_is_the_plain_packet_then_counter_and_tag() {
        for inner in controls() {
            let untagged = SealedControl::emit(&inner, &COMMON, FLAGS, 0x0102_0304_0506_0708);
            let mut expected: Vec<u8> = inner.emit(&COMMON).as_slice().to_vec();
            expected[at::TYPE] += 0x10;
            expected[at::CONTROL_SEAL_FLAGS] = 0b110;
            expected[at::CONTROL_FORMAT] = 1;
            expected.extend([1, 2, 3, 4, 5, 6, 7, 8]);
            assert_eq!(untagged.aad(), expected);
            expected.extend([0xab; 16]);
            let packet = untagged.finish(&[0xab; 16]);
            assert_eq!(packet.as_slice(), expected);

            let parsed = Packet::parse(packet.as_slice(), expected.len()).unwrap();
            let control = SealedControl {
                inner,
                flags: FLAGS,
                counter: 0x0102_0304_0506_0708,
                tag: [0xab; 16],
                aad_len: expected.len() - 16,
            };
            assert_eq!(parsed.body, Body::SealedControl(control));
            assert_eq!(parsed.header_len, expected.len());
            assert_eq!(parsed.packet_type(), inner.packet_type().sealed());
        }
    }

    #[test]
    fn control_is_exact() {
        let packet = SealedControl::emit(&Control::Busy, &COMMON, FLAGS, 0).finish(&[0; 16]);
        let bytes = packet.as_slice();
        let len = bytes.len();
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Packet::parse(&longer, len + 1), Err(Malformed::Trailing));
        assert_eq!(Packet::parse(&bytes[..len - 1], len - 1), Err(Malformed::Short));
        let with = |at: usize, value: u8| {
            let mut bytes = bytes.to_vec();
            bytes[at] = value;
            Packet::parse(&bytes, len).map(|_| ())
        };
        assert_eq!(with(COMMON_LEN, 0x80), Err(Malformed::Reserved));
        assert_eq!(with(at::SEQUENCE, 1), Err(Malformed::Reserved));
        assert_eq!(with(at::CONTROL_SEAL_FLAGS, 8), Err(Malformed::Reserved));
        assert_eq!(with(at::CONTROL_FORMAT, 0), Err(Malformed::Format));
        assert_eq!(with(at::SENDER_ID, 1), Err(Malformed::Id));
        assert_eq!(with(at::TYPE, 0x29), Err(Malformed::Type));
    }

    #[test]
    fn the_longest_header_is_max_header() {
        let longest = controls().map(|c| c.header_len() + SEALED_CONTROL_EXTRA);
        assert_eq!(longest.iter().max(), Some(&MAX_HEADER));
    }
}
